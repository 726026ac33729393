//! The power goes during an upgrade, and while that is recovered from: the machine boots again, hostlet-recover.service is
//! done before the kubelet starts, and a kubelet comes up. One machine for all cuts: each boot is the trial of the cut before.
//! The last boot is also that of a node that answers other nodes, and its kernel is one that has WireGuard.

use std::time::Instant;

use hostlet::rehearse::Scene as _;

use crate::{
    machine::HOSTLET,
    vm::{NEW, Node, OLD, mesh},
};

const DROP_IN: &str = "/etc/hostlet/hostlet.d/90-upgrade.toml";
/// Before the switch, after it and before the restart, and at the health gate.
const POINTS: [&str; 3] = ["stage: staged", "change: made: switch from generation 1 to 2", "stage: active"];
const RECOVERY: &str = "hostlet-recover.service";
/// When all is undone and the journal still there: the whole recovery is repeated.
const IN_RECOVERY: &str = "undo: before the journal's end";

#[tokio::test]
async fn vm_after_a_power_cut_at_any_point_of_an_upgrade_the_old_or_the_new_kubelet_comes_up() {
    let mut node = Node::install(Vec::new(), "").await;
    // Each takes a minute and more: the suite takes one of them, HOSTLET_CUTS=3 all.
    let cuts = std::env::var("HOSTLET_CUTS").map_or(1, |cuts| cuts.parse().expect("HOSTLET_CUTS is a number"));
    let first = fastrand::usize(..POINTS.len());
    for point in (first..).take(cuts).map(|number| POINTS[number % POINTS.len()]) {
        node.upgrade_until(point).await;
        node.machine.power_cut();
        boot(&mut node, point).await;
        assert_recovered_before_the_kubelet(&node, point).await;
        assert_old(&node, point).await;
    }

    node.upgrade_until("stage: healthy").await;
    node.machine.power_cut();
    node.machine.power_on(&Node::hold_at_boot(IN_RECOVERY));
    node.machine.wait_until_reachable().await;
    node.wait_for_hold(RECOVERY, IN_RECOVERY).await;
    assert_eq!(node.unit("kubelet.service").await["ActiveState"], "inactive", "it waits for the recovery");
    node.machine.power_cut();
    boot(&mut node, IN_RECOVERY).await;
    assert_recovered_before_the_kubelet(&node, IN_RECOVERY).await;
    assert_old(&node, IN_RECOVERY).await;

    let committed = "journal: after its end";
    node.upgrade_until(committed).await;
    node.machine.power_cut();
    boot(&mut node, committed).await;
    assert_no_recovery(&node, committed).await;
    // Copies that nobody needs any more are for the next run to remove.
    let install = node.machine.expect(&[HOSTLET, "install"]).await.unwrap();
    assert!(install.contains("Nothing to do"), "{install}");
    assert_new(&node, 2, committed).await;

    // With a mesh the node consists of more: another generation.
    mesh::join(&node).await;
    let begun = Instant::now();
    node.machine.reboot().await;
    println!("rebooting took {} s", begun.elapsed().as_secs());
    assert_no_recovery(&node, "rebooting").await;
    assert_new(&node, 3, "rebooting").await;
    let plan = node.machine.run(&[HOSTLET, "plan", "--exit-code"]).await;
    assert!(plan.status.success(), "{plan}");
    let begun = Instant::now();
    mesh::assert_answers_after_a_boot(&node).await;
    mesh::assert_wireguards_port_is_proved(&node).await;
    println!("proving other nodes took {} s", begun.elapsed().as_secs());
}

async fn boot(node: &mut Node, after: &str) {
    let begun = Instant::now();
    node.machine.power_on("");
    node.machine.wait_until_up().await;
    println!("booting after a cut at {after:?} took {} s", begun.elapsed().as_secs());
}

async fn assert_old(node: &Node, when: &str) {
    node.assert_runs(OLD, when).await;
    let files = "readlink /opt/hostlet/current; ls /opt/hostlet/generations; ls /etc/hostlet/hostlet.d";
    assert_eq!(node.machine.script(files).await.unwrap(), "generations/1\n1\n50-test.toml\n", "{when}");
}

async fn assert_new(node: &Node, generation: u64, when: &str) {
    node.assert_runs(NEW, when).await;
    assert_eq!(
        node.machine.script("readlink /opt/hostlet/current").await.unwrap(),
        format!("generations/{generation}\n"),
        "{when}"
    );
    assert!(node.machine.script(&format!("cat {DROP_IN}")).await.unwrap().contains(NEW), "{when}");
}

async fn assert_recovered_before_the_kubelet(node: &Node, when: &str) {
    let recovery = node.unit(RECOVERY).await;
    let log = node.machine.expect(&["journalctl", "--boot", "--no-pager", "--unit", RECOVERY]).await.unwrap();
    assert_eq!((recovery["ConditionResult"].as_str(), recovery["Result"].as_str()), ("yes", "success"), "{when}: {log}");
    assert!(log.contains("did not finish") && log.contains("Undone"), "{when}: {log}");
    let time = |properties: &std::collections::BTreeMap<String, String>, name: &str| properties[name].parse::<u64>().unwrap();
    let done = time(&recovery, "ExecMainExitTimestampMonotonic");
    for unit in ["kubelet.service", "flanneld.service"] {
        let started = time(&node.unit(unit).await, "ExecMainStartTimestampMonotonic");
        assert!(done > 0 && done <= started, "{when}: {unit} started at {started} us, recovery ended at {done} us");
    }
}

/// systemd looked, and there was nothing to recover from; hostlet has not run since the boot.
async fn assert_no_recovery(node: &Node, when: &str) {
    let recovery = node.unit(RECOVERY).await;
    assert_eq!((recovery["ConditionResult"].as_str(), recovery["ExecMainPID"].as_str()), ("no", "0"), "{when}");
    assert_ne!(recovery["ConditionTimestampMonotonic"], "0", "{when}");
    assert_eq!(node.unit("kubelet.service").await["NRestarts"], "0", "{when}");
    let result = node.machine.run(&["test", "-e", "/run/hostlet/result.json"]).await;
    assert!(!result.status.success(), "{when}");
}
