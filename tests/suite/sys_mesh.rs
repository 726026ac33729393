//! install's gate and the other nodes, on a booted machine.

use hostlet::rehearse::set_up_stand_ins;

use crate::machine::{HOSTLET, boot_with_hostlet};

const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];

#[tokio::test]
async fn sys_install_refuses_while_a_peer_is_unproved_and_a_waiver_by_name_lets_it_go_on() {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, "/etc/hostlet/hostlet.toml", "{}").await.unwrap();
    machine.write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef", 0o600).await.unwrap();
    let mesh = "[kubelet]\nstable-window = 2\nhealth-timeout = 20\n\
                [mesh]\npeers = [{ name = \"absent\", ip = \"10.99.0.9\" }]\nwait-timeout = 1\n";
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", mesh, 0o600).await.unwrap();
    let before = machine.snapshot().await.unwrap().without(OWN);
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output}");
    let words: Vec<&str> = output.stderr.split_whitespace().collect();
    assert!(words.windows(2).any(|words| words == ["UNKNOWN", "mesh"]), "{output}");
    assert!(output.stderr.contains("absent (10.99.0.9)"), "{output}");
    let difference = before.diff(&machine.snapshot().await.unwrap().without(OWN));
    assert!(difference.is_empty(), "{difference}");

    let waived = format!("{mesh}[[preflight.waive]]\ncheck = \"mesh\"\nreason = \"it comes next week\"\n");
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", waived, 0o600).await.unwrap();
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert!(output.status.success(), "{output}");
    // The ports that were listened on for the proof were let go before the kubelet and flanneld took them.
    let active = machine.expect(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active, "active\nactive\n");
}
