//! Other nodes, where Debian's own firewalld or ufw filters: each is recognised, and the command that hostlet prints opens
//! the port, run as it is printed.

use std::{collections::BTreeSet, path::Path};

use hostlet::rehearse::{Layer, Machine, MachineOptions};
use serde_json::Value;

use crate::machine::HOSTLET;

/// The booted machine is node a, which answers; node b is the network namespace at the other end of its link.
struct Filtered {
    machine: Machine,
}

fn configuration(name: &str) -> String {
    let (own, role) = if name == "a" { ("10.77.0.2", "worker") } else { ("10.77.0.1", "control-plane") };
    format!(
        "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"{name}\"\nip = \"{own}\"\nrole = \"{role}\"\n\
         [runtime]\nsocket = \"/run/containerd/containerd.sock\"\n\
         [flannel]\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.77.0.2:2379\"]\n\
         [mesh]\nkey-file = \"/etc/hostlet/mesh-key\"\nwait-timeout = 0\npeers = [{{ name = \"a\", ip = \"10.77.0.2\" }}, \
         {{ name = \"b\", ip = \"10.77.0.1\", role = \"control-plane\" }}]\n"
    )
}

impl Filtered {
    async fn boot() -> Self {
        let layer = Layer::prepare(&["firewalld", "ufw"]).await.unwrap_or_else(|error| panic!("{error}"));
        let machine = Machine::boot(&layer, MachineOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
        machine.copy_in(Path::new(env!("CARGO_BIN_EXE_hostlet")), HOSTLET, 0o755).await.unwrap();
        machine.write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef", 0o600).await.unwrap();
        for name in ["a", "b"] {
            machine.write(&format!("/srv/{name}.toml"), configuration(name), 0o600).await.unwrap();
        }
        let filtered = Self { machine };
        filtered.run("systemctl disable --now firewalld ufw").await;
        filtered.run(&format!("systemd-run --quiet --unit=answers {HOSTLET} --config /srv/a.toml respond")).await;
        filtered.run("until ss -lnu | grep -q :7470; do sleep 0.1; done").await;
        filtered
    }

    async fn run(&self, command: &str) -> String {
        self.machine.script(command).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What b finds of a: how many passed, of those that did not port and cause, and the commands that are to be run on a.
    async fn seen_from_b(&self) -> (usize, BTreeSet<String>, BTreeSet<String>) {
        let command = format!("ip netns exec gateway {HOSTLET} --config /srv/b.toml preflight --output json");
        let output = self.machine.run(&["bash", "-c", &command]).await.unwrap();
        let report: Result<Value, _> = serde_json::from_str(output.stdout.lines().last().unwrap_or_default());
        let report = report.unwrap_or_else(|error| panic!("{error}: {output}"));
        let pair = &report["mesh"]["pairs"][0];
        assert_eq!(pair["progress"]["state"], "proved", "{pair:#}");
        let verdicts = pair["verdicts"].as_array().unwrap();
        let failed = || verdicts.iter().filter(|verdict| verdict["status"] != "pass");
        let cause =
            |one: &Value| format!("{}/{} {}", one["protocol"].as_str().unwrap(), one["port"], one["cause"].as_str().unwrap());
        let command = |one: &Value| {
            let remedy = one["remedy"].as_str().unwrap();
            remedy.strip_prefix("on a: ").unwrap_or_else(|| panic!("{remedy}")).to_owned()
        };
        (verdicts.len() - failed().count(), failed().map(cause).collect(), failed().map(command).collect())
    }
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn sys_firewalld_and_ufw_are_recognised_and_the_printed_commands_open_what_they_block() {
    let node = Filtered::boot().await;
    assert_eq!(node.seen_from_b().await, (6, set(&[]), set(&[])));

    node.run("systemctl start firewalld && firewall-cmd --permanent --add-port=7470/udp --add-port=7470/tcp && firewall-cmd --reload").await;
    let (passed, causes, commands) = node.seen_from_b().await;
    // It rejects with ICMP administratively prohibited.
    assert_eq!((passed, causes), (3, set(&["tcp/10250 rejected", "udp/8472 rejected"])));
    let opens = |port| format!("firewall-cmd --permanent --add-port={port} && firewall-cmd --reload");
    assert_eq!(commands, set(&[&opens("10250/tcp"), &opens("8472/udp")]));
    for command in &commands {
        node.run(command).await;
    }
    assert_eq!(node.seen_from_b().await, (6, set(&[]), set(&[])));
    node.run("systemctl stop firewalld").await;

    node.run("ufw allow 7470 && ufw --force enable").await;
    let (passed, causes, commands) = node.seen_from_b().await;
    assert_eq!((passed, causes), (3, set(&["tcp/10250 receivers-firewall", "udp/8472 receivers-firewall"])));
    let opens = |protocol, port| format!("ufw allow proto {protocol} from 10.77.0.1 to any port {port}");
    assert_eq!(commands, set(&[&opens("tcp", 10250), &opens("udp", 8472)]));
    for command in &commands {
        node.run(command).await;
    }
    assert_eq!(node.seen_from_b().await, (6, set(&[]), set(&[])));
}
