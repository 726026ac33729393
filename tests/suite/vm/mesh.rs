//! Other nodes, on a machine with a kernel of its own: the responder's socket is back after a boot, and WireGuard's port, which the
//! kernel holds, is proved truly.

use hostlet::rehearse::Scene as _;
use serde_json::Value;

use super::Node;
use crate::machine::HOSTLET;

const KEY: &str = "key-file = \"/etc/hostlet/mesh-key\"";

/// The machine becomes a node with a peer: the network namespace at the other end of its link.
pub(crate) async fn join(node: &Node) {
    let machine = &node.machine;
    machine.write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef".to_owned(), 0o600).await.unwrap();
    let drop_in = "/etc/hostlet/hostlet.d/50-test.toml";
    let mesh = format!(
        "[mesh]\n{KEY}\nwait-timeout = 0\npeers = [{{ name = \"b\", ip = \"10.77.0.1\", role = \"control-plane\" }}]\n"
    );
    let settings = machine.script(&format!("cat {drop_in}")).await.unwrap();
    machine.write(drop_in, settings + &mesh, 0o600).await.unwrap();
    let install = machine.run(&[HOSTLET, "install"]).await;
    assert!(install.status.success(), "{install}");
    let peer = configuration("b", "10.77.0.1", "control-plane", "vxlan", "{ name = \"node\", ip = \"10.77.0.2\" }");
    machine.write("/srv/b.toml", peer, 0o600).await.unwrap();
}

fn configuration(name: &str, ip: &str, role: &str, backend: &str, peer: &str) -> String {
    format!(
        "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"{name}\"\nip = \"{ip}\"\nrole = \"{role}\"\n\
         [flannel]\nbackend = \"{backend}\"\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.77.0.2:2379\"]\n\
         [mesh]\n{KEY}\nwait-timeout = 10\npeers = [{peer}]\n"
    )
}

/// Nobody started anything since the boot but systemd.
pub(crate) async fn assert_answers_after_a_boot(node: &Node) {
    assert_eq!(node.unit("hostlet-responder.socket").await["ActiveState"], "active");
    assert_eq!(node.unit("hostlet-responder.service").await["ActiveState"], "inactive");
    let pair = found(node, "gateway", "/srv/b.toml").await;
    assert_eq!((pair["progress"]["state"].as_str(), causes(&pair)), (Some("proved"), Vec::new()), "{pair:#}");
    assert_eq!(pair["verdicts"].as_array().unwrap().len(), 6, "{pair:#}");
    assert_eq!(node.unit("hostlet-responder.service").await["ActiveState"], "active");
}

/// Two nodes in network namespaces of their own, in each of which WireGuard's device has the port.
pub(crate) async fn assert_wireguards_port_is_proved(node: &Node) {
    let lay_out = "for n in 1 2; do
            ip netns add w$n
            ip link add w$n type veth peer name eth0 netns w$n
            ip -n w$n address add 10.78.0.$n/24 dev eth0
            ip -n w$n link set eth0 up
            ip -n w$n link set lo up
        done
        ip link add wires type bridge && ip link set wires up
        for n in 1 2; do
            ip link set w$n master wires up
            ip -n w$n link add flannel-wg type wireguard
            ip netns exec w$n wg set flannel-wg listen-port 51820 private-key <(wg genkey)
            ip -n w$n address add 10.244.$n.0/32 dev flannel-wg
            ip -n w$n link set flannel-wg up
        done
        until ip -n w1 link show eth0 | grep --quiet 'state UP'; do sleep 0.1; done";
    node.machine.script(lay_out).await.unwrap();
    for (n, peer) in [(1, 2), (2, 1)] {
        let peer = format!("{{ name = \"w{peer}\", ip = \"10.78.0.{peer}\" }}");
        let text = configuration(&format!("w{n}"), &format!("10.78.0.{n}"), "worker", "wireguard", &peer);
        node.machine.write(&format!("/srv/w{n}.toml"), text, 0o600).await.unwrap();
    }
    let respond = format!("systemd-run --quiet --unit=w1 ip netns exec w1 {HOSTLET} --config /srv/w1.toml respond");
    node.machine.script(&respond).await.unwrap();
    let pair = found(node, "w2", "/srv/w2.toml").await;
    assert_eq!((pair["progress"]["state"].as_str(), causes(&pair)), (Some("proved"), Vec::new()), "{pair:#}");
    let verdicts = pair["verdicts"].as_array().unwrap();
    let is_taken = |one: &Value| one["port"] == 51_820 && one["protocol"] == "udp" && one["listening"] == "taken";
    assert!(verdicts.len() == 4 && verdicts.iter().all(is_taken), "{pair:#}");

    let drop = "nft 'add table inet f; add chain inet f in { type filter hook input priority 0; }; add rule inet f in udp dport 51820 drop'";
    node.machine.script(&format!("ip netns exec w1 {drop}")).await.unwrap();
    let pair = found(node, "w2", "/srv/w2.toml").await;
    assert_eq!(causes(&pair), ["w2 to w1: receivers-firewall", "w2 to w1: receivers-firewall"], "{pair:#}");
    // The device has taken no probe for a packet of its own.
    let received = node.machine.script("ip -n w1 -s -j link show flannel-wg").await.unwrap();
    assert!(received.contains("\"rx\":{\"bytes\":0,\"packets\":0"), "{received}");
}

async fn found(node: &Node, namespace: &str, configuration: &str) -> Value {
    let command = ["ip", "netns", "exec", namespace, HOSTLET, "--config", configuration, "preflight", "--output", "json"];
    let output = node.machine.run(&command).await;
    let report: Result<Value, _> = serde_json::from_str(output.stdout.lines().last().unwrap_or_default());
    report.unwrap_or_else(|error| panic!("{error}: {output}"))["mesh"]["pairs"][0].clone()
}

fn causes(pair: &Value) -> Vec<String> {
    let failed = pair["verdicts"].as_array().unwrap().iter().filter(|one| one["status"] != "pass");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    failed
        .map(|one| format!("{} to {}: {}", text(&one["from"]["name"]), text(&one["to"]["name"]), text(&one["cause"])))
        .collect()
}
