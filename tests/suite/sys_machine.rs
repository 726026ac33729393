//! The copy that the other tests stand on does what it promises.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::machine::{boot, left_behind};

#[tokio::test]
async fn sys_a_copy_of_this_machine_boots_with_containerd_and_a_default_route() {
    let machine = boot().await;
    assert_eq!(machine.expect(&["systemctl", "is-active", "containerd", "dbus"]).await.unwrap(), "active\nactive\n");
    assert_eq!(machine.expect(&["systemctl", "list-units", "--failed", "--no-legend"]).await.unwrap(), "");
    let route = machine.expect(&["ip", "-oneline", "route", "get", "192.0.2.1"]).await.unwrap();
    assert!(route.starts_with("192.0.2.1 via 10.77.0.1 dev node0 src 10.77.0.2"), "{route}");
    let output = machine.run(&["bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/9"]).await.unwrap();
    assert!(output.stderr.contains("Connection refused"), "{output}");
}

#[tokio::test]
async fn sys_commands_in_a_copy_run_in_its_cgroup_and_set_no_parameters_of_the_machines_kernel() {
    let machine = boot().await;
    let cgroup = machine.read("/proc/self/cgroup").await.unwrap();
    assert!(cgroup.contains("::/init.scope\n"), "{cgroup}");
    let output = machine.run(&["sysctl", "-w", "net.ipv4.ip_forward=1"]).await.unwrap();
    assert!(output.status.success(), "{output}");
    let output = machine.run(&["sh", "-c", "echo 1 > /proc/sys/kernel/sysrq"]).await.unwrap();
    assert!(!output.status.success(), "{output}");
    // What a kubelet sets lands in a file of the copy's own, and it can watch for the kernel's log.
    let machines = || std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let before = machines();
    let own = machine.script("echo 47 >/proc/sys/kernel/panic; cat /proc/sys/kernel/panic; : </dev/kmsg").await.unwrap();
    assert_eq!((own.as_str(), machines()), ("47\n", before));
}

#[tokio::test]
async fn sys_a_snapshot_differs_exactly_in_what_changed() {
    let machine = boot().await;
    machine.write("/etc/hostlet/a", "a", 0o600).await.unwrap();
    machine.write("/etc/hostlet/b", "b", 0o600).await.unwrap();
    let before = machine.snapshot().await.unwrap();
    assert_eq!(before.diff(&machine.snapshot().await.unwrap()).to_string(), "");

    let change = "echo c >/etc/hostlet/a; rm /etc/hostlet/b; mount -t tmpfs canary /opt; systemctl stop containerd
        ip link add here type veth peer name there; sysctl --quiet --write net.ipv4.ip_forward=1";
    machine.script(change).await.unwrap();
    let difference = before.diff(&machine.snapshot().await.unwrap()).to_string();
    for expected in [
        "- file /etc/hostlet/b: ",
        "~ digest /etc/hostlet/a: ",
        "+ mount /opt #1: ",
        "~ unit containerd.service: ",
        "+ link here@there:: ",
        "~ sysctl net/ipv4/ip_forward: 0 -> 1",
    ] {
        assert!(difference.contains(expected), "{expected:?} is not in\n{difference}");
    }
}

#[tokio::test]
async fn sys_nothing_is_left_of_a_copy_that_was_dropped() {
    let machine = boot().await;
    let name = format!("hostlet-rehearsal-{}-", std::process::id());
    let leader = machine.leader();
    assert!(!left_behind(&name).is_empty());
    machine.script("sleep infinity </dev/null >/dev/null 2>&1 & mount -t tmpfs canary /opt").await.unwrap();
    let begun = Instant::now();
    drop(machine);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(left_behind(&name), [""; 0]);
    assert!(!std::path::Path::new(&format!("/proc/{leader}")).exists());
}

/// Runs this very test again in a process of its own, which boots a copy and holds it until it is killed.
#[tokio::test]
async fn sys_nothing_is_left_of_a_copy_whose_owner_was_killed() {
    const HOLD: &str = "HOSTLET_TEST_HOLD";
    if std::env::var_os(HOLD).is_some() {
        let machine = boot().await;
        println!("\nbooted {}", machine.leader());
        std::future::pending::<()>().await;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sys_machine::sys_nothing_is_left_of_a_copy_whose_owner_was_killed", "--nocapture"])
        .env(HOLD, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let leader = lines.find_map(|line| line.strip_prefix("booted ").map(str::to_owned)).unwrap();
    let name = format!("hostlet-rehearsal-{}-", owner.id());
    assert!(!left_behind(&name).is_empty());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let begun = Instant::now();
    while !left_behind(&name).is_empty() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left_behind(&name), [""; 0]);
    assert!(!std::path::Path::new(&format!("/proc/{leader}")).exists());
}
