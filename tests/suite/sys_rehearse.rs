//! `hostlet rehearse` installs for real, shows it, and leaves nothing behind.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::machine::{HOSTLET, boot_with_hostlet, left_behind};

fn hostlet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hostlet"))
}

#[test]
fn sys_a_rehearsal_ends_with_a_healthy_node_and_the_machine_as_it_was() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let begun = Instant::now();
    let child = hostlet().arg("rehearse").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let name = format!("hostlet-rehearsal-{}-", child.id());
    let output = child.wait_with_output().unwrap();
    let summary = String::from_utf8_lossy(&output.stdout);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{summary}\n{shown}");
    for expected in ["installed and healthy", "kubelet.service    active/running", "flanneld.service   active/running"] {
        assert!(summary.contains(expected), "{expected:?} is not in\n{summary}");
    }
    assert!(summary.contains("seen by the host and containerd"), "{summary}");
    assert!(summary.contains("/opt/hostlet/current/bin/kubelet"), "{summary}");
    assert!(shown.contains("stand-ins"), "{shown}");
    assert!(begun.elapsed() < Duration::from_mins(4), "{:?}", begun.elapsed());
    assert_eq!(left_behind(&name), [""; 0]);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
}

#[test]
fn sys_an_interrupted_rehearsal_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = hostlet().arg("rehearse").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let name = format!("hostlet-rehearsal-{}-", child.id());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("a copy of this machine is up")));
        assert!(!left_behind(&name).is_empty());
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "{status}");
        assert!(lines.any(|line| line.contains("interrupted; the copy is gone")));
        assert_eq!(left_behind(&name), [""; 0]);
    }
}

/// What a person has at home: systemd is process 1 there, and gives out a scope.
#[tokio::test]
async fn sys_a_machine_with_systemd_can_be_rehearsed_on() {
    let machine = boot_with_hostlet().await;
    let output = machine.invocation(&[HOSTLET, "rehearse"]).deadline(Duration::from_secs(90)).run().await.unwrap();
    assert!(output.stdout.contains("installed and healthy"), "{output}");
    let left = "systemctl list-units --all --no-legend 'hostlet-rehearsal*' kubelet.service; find /sys/fs/cgroup -name 'hostlet-rehearsal*'";
    assert_eq!(machine.script(left).await.unwrap(), "");
}
