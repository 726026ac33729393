//! Other nodes, on a booted machine: install's gate, and what it leaves behind that answers those who come later.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, set_up_stand_ins},
};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];
const DROP_IN: &str = "/etc/hostlet/hostlet.d/50-test.toml";
const SOCKET: &str = "hostlet-responder.socket";
const SERVICE: &str = "hostlet-responder.service";
const QUICK: &str = "[kubelet]\nstable-window = 2\nhealth-timeout = 20\n";

async fn scene() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, "/etc/hostlet/hostlet.toml", "{}").await.unwrap();
    machine.write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef", 0o600).await.unwrap();
    machine
}

#[tokio::test]
async fn sys_install_refuses_while_a_peer_is_unproved_and_a_waiver_by_name_lets_it_go_on() {
    let machine = scene().await;
    let mesh = format!("{QUICK}[mesh]\npeers = [{{ name = \"absent\", ip = \"10.99.0.9\" }}]\nwait-timeout = 1\n");
    machine.write(DROP_IN, mesh.as_str(), 0o600).await.unwrap();
    let before = machine.snapshot().await.unwrap().without(OWN);
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output}");
    let words: Vec<&str> = output.stderr.split_whitespace().collect();
    assert!(words.windows(2).any(|words| words == ["UNKNOWN", "mesh"]), "{output}");
    assert!(output.stderr.contains("absent (10.99.0.9)"), "{output}");
    let difference = before.diff(&machine.snapshot().await.unwrap().without(OWN));
    assert!(difference.is_empty(), "{difference}");

    let waived = format!("{mesh}[[preflight.waive]]\ncheck = \"mesh\"\nreason = \"it comes next week\"\n");
    machine.write(DROP_IN, waived, 0o600).await.unwrap();
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert!(output.status.success(), "{output}");
    // The ports that were listened on for the proof were let go before the kubelet and flanneld took them.
    let active = machine.expect(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active, "active\nactive\n");
}

/// The booted machine is node a. Node b is the network namespace beside it, on the other end of its link.
struct Pair {
    machine: Machine,
}

impl Pair {
    async fn new() -> Self {
        let pair = Self { machine: scene().await };
        pair.configure("").await;
        let b = "[node]\nname = \"b\"\nip = \"10.77.0.1\"\n[runtime]\nsocket = \"/run/none.sock\"\n\
                 [flannel]\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.77.0.2:2379\"]\n";
        pair.machine.write("/srv/b.toml", format!("{b}{}wait-timeout = 0\n", mesh("b")), 0o600).await.unwrap();
        pair
    }

    /// Node a's configuration, with more lines of [mesh].
    async fn configure(&self, more: &str) {
        let text = format!("{QUICK}[node]\nname = \"a\"\nip = \"10.77.0.2\"\n{}wait-for = [\"a\"]\n{more}", mesh("a"));
        self.machine.write(DROP_IN, text, 0o600).await.unwrap();
    }

    /// What b finds of a.
    async fn seen_from_b(&self) -> Value {
        let output = self.b("preflight --output json").await;
        let report: Value = serde_json::from_str(output.stdout.lines().last().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{error}: {output}"));
        report["mesh"].clone()
    }

    async fn b(&self, arguments: &str) -> Output {
        let command = format!("ip netns exec gateway {HOSTLET} --config /srv/b.toml {arguments}");
        self.machine.run(&["bash", "-c", &command]).await.unwrap()
    }

    /// That b proves every port of a's in both directions.
    async fn assert_proved(&self, when: &str) {
        let mesh = self.seen_from_b().await;
        let pair = &mesh["pairs"][0];
        assert_eq!(pair["progress"]["state"], "proved", "{when}: {mesh:#}");
        let verdicts = pair["verdicts"].as_array().unwrap();
        assert!(verdicts.iter().all(|verdict| verdict["status"] == "pass"), "{when}: {mesh:#}");
        // The kubelet's port, and the overlay's in both sizes and directions.
        assert!(verdicts.len() >= 5, "{when}: {mesh:#}");
    }

    async fn property(&self, unit: &str, property: &str) -> String {
        let shown = self.machine.expect(&["systemctl", "show", "--value", "--property", property, unit]).await.unwrap();
        shown.trim().to_owned()
    }

    async fn state(&self, unit: &str) -> String {
        self.property(unit, "ActiveState").await
    }

    async fn install(&self) -> Output {
        let output = self.machine.run(&[HOSTLET, "install"]).await.unwrap();
        assert!(output.status.success(), "{output}");
        output
    }
}

fn mesh(_of: &str) -> String {
    "[mesh]\npeers = [{ name = \"a\", ip = \"10.77.0.2\" }, { name = \"b\", ip = \"10.77.0.1\" }]\n\
     key-file = \"/etc/hostlet/mesh-key\"\n"
        .to_owned()
}

#[tokio::test]
async fn sys_an_installed_node_answers_nodes_that_come_later_and_nobody_has_to_start_anything() {
    let pair = Pair::new().await;
    let machine = &pair.machine;
    let bare = machine.snapshot().await.unwrap().without(OWN);
    let output = pair.install().await;
    println!("{output}");
    assert_eq!((pair.state(SOCKET).await.as_str(), pair.state(SERVICE).await.as_str()), ("active", "inactive"));
    println!("{}", machine.expect(&["ss", "-lnup"]).await.unwrap());
    pair.assert_proved("kubelet and flannel hold their ports").await;
    println!("{:#}", pair.seen_from_b().await);
    assert_eq!(pair.state(SERVICE).await, "active");
    println!("{}", machine.script(&format!("systemctl status --no-pager {SERVICE}; systemd-analyze security --no-pager {SERVICE} || true")).await.unwrap());
    let _ = bare;
}
