//! Preflight changes nothing: no system call of the whole program does, on a host on which as many checks as possible get to
//! look at something.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    guard,
    ns_preflight_world::{on_a_fresh_host, sh, until},
};

const HOSTLET: &str = env!("CARGO_BIN_EXE_hostlet");

/// Everything that checks look at, as far as it can be had here.
fn configure() {
    fs::create_dir_all("/etc/hostlet").unwrap();
    let settings = "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"node-07\"\n[kubelet]\nroot-dir = \"/mnt/host/kubelet\"\n\
        [kubelet.config]\nprotectKernelDefaults = true\n\
        [flannel]\nbackend = \"udp\"\ndatastore = \"etcd\"\n[flannel.etcd]\nendpoints = \"https://10.0.1.2:2379\"\n\
        [runtime]\nsocket = \"/mnt/host/cri.sock\"\n";
    fs::write("/etc/hostlet/hostlet.toml", settings).unwrap();
}

/// The guard itself sees what it should.
#[test]
fn ns_the_guard_sees_a_program_that_changes_its_host() {
    on_a_fresh_host(|| {
        for (script, call) in [
            ("echo 0 > /proc/sys/net/ipv4/ip_forward", "openat"),
            ("mkdir /mnt/made", "mkdir"),
            ("rmdir /mnt/made", "rmdir"),
            ("mount -t tmpfs tmpfs /mnt/etc", "mount"),
            ("ip link add made type bridge", "netlink"),
            ("nft add table inet made", "netlink"),
            ("kill -CONT $$", "kill"),
            ("chmod 700 /mnt/host", "chmod"),
        ] {
            let (printed, changes) = guard::run(&["sh", "-c", &format!("sleep 0; {script}")]);
            assert!(changes.iter().any(|change| change.contains(call)), "{script}: {printed}\n{changes:#?}");
        }
    });
}

#[test]
fn ns_no_system_call_of_the_whole_preflight_changes_the_host() {
    on_a_fresh_host(|| {
        sh("mkdir -p /run/systemd/system && mount -t tmpfs -o size=2g tmpfs /mnt/host");
        configure();
        let (printed, changes) = guard::run(&[HOSTLET, "--output", "json", "preflight"]);
        let mut values = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let report = values.rfind(|value| value.get("findings").is_some()).unwrap_or_else(|| panic!("{printed}"));
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(findings.len(), hostlet::preflight::list().len(), "{printed}");
        let slow: Vec<_> =
            findings.iter().filter(|finding| finding["observed"].as_str().unwrap().starts_with("no answer")).collect();
        assert!(slow.is_empty(), "these did not get to look: {slow:#?}");
        assert!(changes.is_empty(), "{changes:#?}");
    });
}

/// Reading a named pipe that nobody writes to never ends, and no signal of the program's own ends it: the threads that do are
/// left behind.
#[test]
fn ns_the_program_ends_within_two_seconds_whatever_its_checks_hang_on() {
    on_a_fresh_host(|| {
        configure();
        sh("for file in hosts resolv.conf machine-id os-release nsswitch.conf; do rm -f /etc/$file; mkfifo /etc/$file; done
            mkfifo /mnt/pipe; for file in swaps meminfo cgroups; do mount --bind /mnt/pipe /proc/$file; done");
        let start = Instant::now();
        let output = Command::new(HOSTLET).args(["--output", "json", "preflight"]).output().unwrap();
        let took = start.elapsed();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{printed}");
        let report: Value = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).next_back().unwrap();
        let hung = |id: &str| report["findings"].as_array().unwrap().iter().any(|f| f["id"] == id && f["outcome"] == "unknown");
        for id in ["hostname", "resolv-conf", "machine-id", "os", "swap", "memory"] {
            assert!(hung(id), "{id}: {report:#}");
        }
        println!("with eight files that hang, the program ended after {} ms", took.as_millis());
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    });
}

/// Both while it waits for an address to go by, and while it waits for checks.
#[test]
fn ns_a_wait_ends_at_once_when_hostlet_is_told_to_end() {
    on_a_fresh_host(|| {
        configure();
        sh("ip route delete default");
        for arguments in [["--wait", "10m"].as_slice(), &["--wait", "10m", "--set", "node.ip=10.0.1.7"]] {
            let child = Command::new(HOSTLET).arg("preflight").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
            // It catches signals from the moment that it has read its configuration.
            let status = format!("/proc/{}/status", child.id());
            let catches = |line: &str| {
                line.strip_prefix("SigCgt:").is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 0x4000 != 0)
            };
            until("catching SIGTERM", || fs::read_to_string(&status).is_ok_and(|text| text.lines().any(catches)));
            let told = Instant::now();
            sh(&format!("kill -TERM {}", child.id()));
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
        }
    });
}
