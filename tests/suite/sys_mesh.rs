//! Other nodes, on a booted machine: install's gate, and what it leaves behind that answers those who come later.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, set_up_stand_ins},
};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];
/// Values of kernel parameters stay after an uninstallation, until the next boot, and modules loaded.
const KERNEL: &[&str] = &["net/ipv4/ip_forward", "net/ipv4/conf", "net/bridge", "br_netfilter", "overlay", "net/ipv4/neigh"];
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
    // Somebody else's process on the port at which nodes agree is named, before the responder's socket could not be opened.
    let script =
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7470)); time.sleep(100)";
    machine.expect(&["systemd-run", "--quiet", "--unit=foreign", "python3", "-c", script]).await.unwrap();
    machine.script("until ss -lnu | grep -q :7470; do sleep 0.1; done").await.unwrap();
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output}");
    let named = |text: &str| text.contains("7470/udp is held by python3 (pid ") && text.contains("foreign.service)");
    assert!(named(&output.stderr) && output.stderr.contains("systemctl disable --now foreign.service"), "{output}");
    machine.script("systemctl stop foreign; until ! ss -lnu | grep -q :7470; do sleep 0.1; done").await.unwrap();
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

/// The booted machine is node a, a worker. Node b, of the control plane, is the network namespace beside it, on the other end
/// of its link.
struct Pair {
    machine: Machine,
}

const BOTH: &str = "[mesh]\nkey-file = \"/etc/hostlet/mesh-key\"\npeers = [{ name = \"a\", ip = \"10.77.0.2\" }, \
    { name = \"b\", ip = \"10.77.0.1\", role = \"control-plane\" }]\n";
const A: &str = "[node]\nname = \"a\"\nip = \"10.77.0.2\"\n";
const B: &str = "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"b\"\nip = \"10.77.0.1\"\nrole = \"control-plane\"\n\
    [runtime]\nsocket = \"/run/containerd/containerd.sock\"\n\
    [flannel]\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.77.0.2:2379\"]\n";

impl Pair {
    async fn new() -> Self {
        let pair = Self { machine: scene().await };
        pair.configure(BOTH, "wait-for = [\"a\"]\n").await;
        pair.machine.write("/srv/b.toml", format!("{B}{BOTH}wait-timeout = 0\n"), 0o600).await.unwrap();
        pair
    }

    /// Node a's configuration.
    async fn configure(&self, mesh: &str, more: &str) {
        self.machine.write(DROP_IN, format!("{QUICK}{A}{mesh}{more}"), 0o600).await.unwrap();
    }

    /// What b finds of a.
    async fn seen_from_b(&self) -> Value {
        let command = format!("ip netns exec gateway {HOSTLET} --config /srv/b.toml preflight --output json");
        let output = self.machine.run(&["bash", "-c", &command]).await.unwrap();
        let report: Result<Value, _> = serde_json::from_str(output.stdout.lines().last().unwrap_or_default());
        let report = report.unwrap_or_else(|error| panic!("{error}: {output}"));
        report["mesh"]["pairs"][0].clone()
    }

    /// That b proves every port of a's, and a every port of b's.
    async fn assert_proved(&self, when: &str) -> String {
        let pair = self.seen_from_b().await;
        let log = self.log().await;
        assert_eq!(pair["progress"]["state"], "proved", "{when}: {pair:#}\n{log}");
        let verdicts = pair["verdicts"].as_array().unwrap();
        assert!(verdicts.iter().all(|verdict| verdict["status"] == "pass"), "{when}: {pair:#}\n{log}");
        // The kubelet's port, the API server's, and the overlay's in both sizes and directions.
        assert_eq!(verdicts.len(), 6, "{when}: {pair:#}");
        pair.to_string()
    }

    async fn assert_silent(&self, when: &str) {
        let pair = self.seen_from_b().await;
        assert_ne!(pair["progress"]["state"], "proved", "{when}: {pair:#}");
    }

    async fn log(&self) -> String {
        self.machine.script(&format!("journalctl --no-pager --lines=40 --unit={SERVICE} --unit={SOCKET}")).await.unwrap()
    }

    async fn property(&self, unit: &str, property: &str) -> String {
        let shown = self.machine.expect(&["systemctl", "show", "--value", "--property", property, unit]).await.unwrap();
        shown.trim().to_owned()
    }

    /// The states of socket and service.
    async fn states(&self) -> (String, String) {
        (self.property(SOCKET, "ActiveState").await, self.property(SERVICE, "ActiveState").await)
    }

    async fn succeeds(&self, command: &str) -> Output {
        let output = self.machine.run(&["bash", "-c", command]).await.unwrap();
        assert!(output.status.success(), "{output}");
        output
    }

    /// How often the service was started, and the processor time of it and of systemd, in milliseconds.
    async fn work(&self) -> (usize, u64, u64) {
        let script = format!(
            "journalctl --no-pager --output=cat --unit={SERVICE} | grep -c '^Started ' || true
            pid=$(systemctl show --value --property=MainPID {SERVICE})
            awk '{{ print ($14 + $15) * 1000 / '$(getconf CLK_TCK)' }}' /proc/$pid/stat 2>/dev/null || echo 0
            awk '{{ print ($14 + $15) * 1000 / '$(getconf CLK_TCK)' }}' /proc/1/stat"
        );
        let said = self.machine.script(&script).await.unwrap();
        let numbers: Vec<u64> = said.lines().map(|line| line.parse().unwrap_or(0)).collect();
        (usize::try_from(numbers[0]).unwrap(), numbers[1], numbers[2])
    }
}

fn both(first: &str, second: &str) -> (String, String) {
    (first.to_owned(), second.to_owned())
}

#[tokio::test]
async fn sys_an_installed_node_answers_nodes_that_come_later_and_nobody_has_to_start_anything() {
    let pair = Pair::new().await;
    let bare = pair.machine.snapshot().await.unwrap().without(OWN).without(KERNEL);
    pair.succeeds("hostlet install").await;
    answers_while_ports_are_held(&pair).await;
    shares_the_host_with_runs(&pair).await;
    outlives_what_strangers_send(&pair).await;
    follows_the_configuration(&pair).await;
    pair.succeeds("hostlet uninstall").await;
    let difference = bare.diff(&pair.machine.snapshot().await.unwrap().without(OWN).without(KERNEL));
    assert!(difference.is_empty(), "{difference}");
}

async fn answers_while_ports_are_held(pair: &Pair) {
    assert_eq!(pair.states().await, both("active", "inactive"));
    let proved = pair.assert_proved("kubelet and flannel hold their ports").await;
    assert!(proved.contains("connected to what holds the port on a") && proved.contains("\"listening\":\"taken\""), "{proved}");
    assert_eq!(pair.states().await, both("active", "active"));
    let exposure = pair.succeeds(&format!("systemd-analyze security --no-pager {SERVICE}")).await;
    let exposure = exposure.stdout.lines().last().unwrap_or_default().to_owned();
    println!("{exposure}");
    assert!(exposure.contains(" OK ") || exposure.contains("SAFE"), "{exposure}");

    pair.succeeds(&format!("kill -9 $(systemctl show --value --property MainPID {SERVICE})")).await;
    pair.assert_proved("the responder was killed").await;
    // As at a boot: what is enabled for sockets.target comes with it.
    let reboot = format!("systemctl stop {SOCKET}; systemctl daemon-reexec; systemctl start sockets.target");
    pair.succeeds(&reboot).await;
    assert_eq!(pair.states().await, both("active", "inactive"));
    pair.assert_proved("its socket was opened again").await;
}

/// Runs on the same host leave the responder alone, and are not kept by it from anything.
async fn shares_the_host_with_runs(pair: &Pair) {
    assert_eq!(pair.states().await, both("active", "active"));
    let output = pair.succeeds("hostlet preflight").await;
    assert!(output.stdout.contains("7470/udp is held by hostlet"), "{output}");
    let plan = pair.succeeds("hostlet plan --exit-code && hostlet status --exit-code").await;
    assert!(plan.stdout.contains("hostlet-responder.socket"), "{plan}");
    // By hand it shares the port, with the unit that systemd may start at any time.
    let by_hand =
        "systemd-run --quiet --unit=by-hand hostlet respond && sleep 0.5 && hostlet preflight && hostlet install --reinstall";
    pair.succeeds(by_hand).await;
    assert_eq!(pair.property("by-hand.service", "ActiveState").await, "active");
    pair.assert_proved("somebody answers by hand as well").await;
    pair.succeeds("systemctl stop by-hand").await;
    pair.assert_proved("nobody answers by hand any more").await;
    assert_eq!(pair.property("kubelet.service", "NRestarts").await, "0");
}

/// Datagrams from b's address and from one that nobody knows, for some seconds, as fast as they can be sent.
const FLOOD: &str = "ip -n gateway address add 10.77.0.99/24 dev node0 2>/dev/null || true
    cat >/srv/flood.py <<'END'
import os, socket, sys, time
sockets = []
for address in ('10.77.0.1', '10.77.0.99'):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, 0)); sockets.append(s)
until, count = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    for s in sockets:
        try: s.sendto(os.urandom(100), ('10.77.0.2', 7470)); count += 1
        except OSError: pass
print(count)
END
    ip netns exec gateway python3 /srv/flood.py ";

async fn outlives_what_strangers_send(pair: &Pair) {
    let drop_in = |lines: &str| {
        format!("mkdir -p /run/systemd/system/{SERVICE}.d; printf '[Service]\\n{lines}' >/run/systemd/system/{SERVICE}.d/50-test.conf
            systemctl daemon-reload; systemctl stop {SERVICE}")
    };
    let flood = async |seconds: u32| {
        let (starts, _, systemd) = pair.work().await;
        let sent = pair.succeeds(&format!("{FLOOD}{seconds}")).await.stdout;
        let (after, service, systemd_after) = pair.work().await;
        println!(
            "{} datagrams in {seconds} s: {} starts, {service} ms of it, {} ms of systemd",
            sent.trim(),
            after - starts,
            systemd_after - systemd
        );
        (after - starts, systemd_after - systemd)
    };
    // It ends when no peer has said anything for a while, whatever strangers say, and is started again by the next word.
    pair.succeeds(&drop_in("ExecStart=\\nExecStart=/opt/hostlet/bin/hostlet respond --idle 2s\\n")).await;
    let (starts, systemd) = flood(5).await;
    assert!((1..=4).contains(&starts) && systemd < 1_000, "{starts} starts, {systemd} ms");
    assert_eq!(pair.property(SOCKET, "ActiveState").await, "active");
    pair.assert_proved("a flood").await;
    pair.succeeds(&format!("until [ $(systemctl is-active {SERVICE}) = inactive ]; do sleep 0.2; done")).await;
    pair.assert_proved("it was idle, and ended").await;

    // One that cannot answer says why, and is not started for every datagram.
    pair.succeeds("mv /etc/hostlet/mesh-key /srv").await;
    pair.succeeds(&format!("systemctl stop {SERVICE}")).await;
    let (starts, systemd) = flood(2).await;
    assert!(starts == 1 && systemd < 1_000, "{starts} starts, {systemd} ms");
    let log = pair.log().await;
    assert!(log.contains("openssl rand -hex 32"), "{log}");
    pair.succeeds("mv /srv/mesh-key /etc/hostlet").await;
    // One that crashes is started once a second, for as long as it takes.
    pair.succeeds(&drop_in("ExecStart=\\nExecStart=/bin/false\\n")).await;
    let (starts, systemd) = flood(4).await;
    assert!((2..=6).contains(&starts) && systemd < 1_000, "{starts} starts, {systemd} ms");
    assert_eq!(pair.property(SOCKET, "ActiveState").await, "active");
    pair.succeeds(&format!("rm -r /run/systemd/system/{SERVICE}.d; systemctl daemon-reload; systemctl stop {SERVICE}")).await;
    pair.assert_proved("the responder is as it was").await;
}

async fn follows_the_configuration(pair: &Pair) {
    let process = pair.property(SERVICE, "MainPID").await;
    // Who is listed is asked for at each start, and while it runs: no unit changes with it.
    pair.configure("[mesh]\nkey-file = \"/etc/hostlet/mesh-key\"\npeers = [{ name = \"a\", ip = \"10.77.0.2\" }]\n", "").await;
    pair.succeeds("hostlet plan --exit-code; sleep 3").await;
    pair.assert_silent("b is listed no more").await;
    pair.configure(BOTH, "wait-for = [\"a\"]\n").await;
    pair.succeeds("hostlet plan --exit-code; sleep 3").await;
    pair.assert_proved("b is listed again").await;
    assert_eq!(pair.property(SERVICE, "MainPID").await, process);

    pair.configure(BOTH, "wait-for = [\"a\"]\nport = 7471\n").await;
    let output = pair.succeeds("hostlet install").await;
    assert!(
        output.stderr.contains("restart hostlet-responder.socket") && !output.stderr.contains("restart kubelet"),
        "{output}"
    );
    pair.machine.write("/srv/b.toml", format!("{B}{BOTH}wait-timeout = 0\nport = 7471\n"), 0o600).await.unwrap();
    pair.assert_proved("on another port").await;
    pair.succeeds("hostlet rollback").await;
    pair.machine.write("/srv/b.toml", format!("{B}{BOTH}wait-timeout = 0\n"), 0o600).await.unwrap();
    pair.configure(BOTH, "wait-for = [\"a\"]\n").await;
    pair.assert_proved("back on the port of before").await;

    let kubelet = pair.property("kubelet.service", "MainPID").await;
    pair.configure("", "").await;
    pair.succeeds("hostlet install && hostlet status --exit-code").await;
    pair.assert_silent("there is no [mesh]").await;
    let left = pair
        .machine
        .script("find /etc/systemd/system -name '*responder*'; systemctl list-units --all --plain | grep responder || true");
    assert_eq!(left.await.unwrap(), "");
    assert_eq!(pair.property("kubelet.service", "MainPID").await, kubelet);
    pair.configure(BOTH, "wait-for = [\"a\"]\n").await;
    pair.succeeds("hostlet install").await;
    pair.assert_proved("[mesh] is back").await;
}
