//! What only a host with a systemd of its own can show of the local checks: units, what install sets by itself, and that the
//! program as a whole changes nothing.

use hostlet::rehearse::set_up_stand_ins;

use crate::{
    guard,
    machine::{HOSTLET, boot_with_hostlet},
    sys_preflight::{booted, ended, preflight},
};

/// That a unit of ours is not sandboxed, and what its drop-in and the runtime's may not say.
#[tokio::test]
async fn sys_sandboxed_units_are_named_with_the_file() {
    let machine = booted().await;
    let report = preflight(&machine).await;
    ended(&report, "kubelet-sandboxing", "pass", "none is set");
    ended(&report, "runtime-sandboxing", "pass", "none is set");
    machine
        .script(
            "for unit in kubelet containerd; do mkdir -p /etc/systemd/system/$unit.service.d
            printf '[Service]\\nPrivateTmp=yes\\n' > /etc/systemd/system/$unit.service.d/hardening.conf; done
            systemctl daemon-reload",
        )
        .await
        .unwrap();
    let report = preflight(&machine).await;
    let said = |unit: &str| format!("{unit}.service has PrivateTmp=yes in /etc/systemd/system/{unit}.service.d/hardening.conf");
    ended(&report, "kubelet-sandboxing", "failure", &said("kubelet"));
    ended(&report, "runtime-sandboxing", "warning", &said("containerd"));
}

/// Both programs are real, and so are their rules.
#[tokio::test]
async fn sys_iptables_rules_in_both_backends_are_warned_of() {
    let machine = booted().await;
    let settings = "sources.flannel-cni.trust-on-first-use = true\n[kubelet.config]\nfailCgroupV1 = false\n\
        [flannel]\ndatastore = \"etcd\"\n[flannel.etcd]\nendpoints = \"https://10.0.1.2:2379\"\n";
    machine.write("/etc/hostlet/hostlet.toml", settings, 0o644).await.unwrap();
    ended(&preflight(&machine).await, "iptables-backend", "pass", "/usr/sbin/iptables (nft)");
    machine.script("iptables-nft -t nat -A POSTROUTING -j ACCEPT").await.unwrap();
    ended(&preflight(&machine).await, "iptables-backend", "pass", "/usr/sbin/iptables (nft)");
    machine.script("iptables-legacy -A INPUT -j ACCEPT").await.unwrap();
    let said = "legacy has the tables ip filter; nft has rules in ip nat";
    ended(&preflight(&machine).await, "iptables-backend", "warning", said);
}

/// Under a booted systemd, with a runtime that answers: no system call of the program changes anything, it asks systemd and
/// does not tell, and files, units, mounts, links, routes, parameters and modules are afterwards what they were.
#[tokio::test]
async fn sys_the_whole_preflight_changes_nothing_by_call_or_by_effect() {
    let machine = booted().await;
    let before = machine.snapshot().await.unwrap();
    let trace = format!("strace {} --output=/dev/shm/trace {HOSTLET} preflight; cat /dev/shm/trace", guard::OPTIONS.join(" "));
    let printed = machine.script(&trace).await.unwrap();
    let (report, trace) = printed.split_at(printed.find(" execve(").unwrap_or_else(|| panic!("{printed}")));
    println!("{report}");
    assert!(report.contains("cri ") && trace.contains("recvmsg"), "{report}");
    assert_eq!(guard::changes(trace), Vec::<String>::new());
    assert_eq!(before.diff(&machine.snapshot().await.unwrap()).to_string(), "");
}

/// What install sets by itself is a change that `plan` shows, that the checks count on and do not make, and that stays.
#[tokio::test]
async fn sys_what_install_sets_by_itself_is_planned_passes_and_persists() {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, "/etc/hostlet/hostlet.toml", "{}").await.unwrap();
    let quick = "[kubelet]\nstable-window = 2\nhealth-timeout = 20\n";
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", quick, 0o600).await.unwrap();
    let values = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables";
    machine.script("sysctl -qw net.ipv4.ip_forward=0 net.bridge.bridge-nf-call-iptables=0").await.unwrap();
    let report = preflight(&machine).await;
    ended(&report, "ip-forward", "pass", "net.ipv4.ip_forward = 0: will be set by install");
    ended(&report, "bridge-nf", "pass", "net.bridge.bridge-nf-call-iptables = 0: will be set by install");
    let plan = machine.expect(&[HOSTLET, "plan"]).await.unwrap();
    for change in [
        "set net.ipv4.ip_forward = 1",
        "set net.bridge.bridge-nf-call-iptables = 1",
        "/etc/sysctl.d/90-hostlet.conf",
        "/etc/modules-load.d/hostlet.conf",
    ] {
        assert!(plan.contains(change), "{change}:\n{plan}");
    }
    assert_eq!(machine.script(values).await.unwrap(), "0\n0\n", "looking and planning set nothing");
    machine.expect(&[HOSTLET, "install"]).await.unwrap();
    assert_eq!(machine.script(values).await.unwrap(), "1\n1\n");
    let report = preflight(&machine).await;
    ended(&report, "ip-forward", "pass", "it does");
    ended(&report, "bridge-nf", "pass", "they do");
    let persisted = machine.read("/etc/sysctl.d/90-hostlet.conf").await.unwrap();
    assert!(persisted.contains("net.ipv4.ip_forward = 1\n") && persisted.contains("net.bridge.bridge-nf-call-iptables = 1\n"));
    let modules = machine.read("/etc/modules-load.d/hostlet.conf").await.unwrap();
    assert!(modules.contains("overlay\n") && modules.contains("br_netfilter\n"), "{modules}");
}

/// As at provisioning: neither the network nor the runtime is there yet when hostlet is started.
#[tokio::test]
async fn sys_waiting_lasts_until_network_and_runtime_are_there_and_no_longer() {
    let machine = booted().await;
    let gone = "systemctl stop containerd; ip route show default > /dev/shm/route; ip route delete default";
    machine.script(gone).await.unwrap();
    let output = machine.run(&[HOSTLET, "preflight"]).await.unwrap();
    assert_eq!(output.status.code(), Some(2), "without an address there is no node to look at: {output}");
    let later = "(sleep 2; ip route add $(cat /dev/shm/route); sleep 2; systemctl start containerd) >/dev/null 2>&1 &";
    machine.script(later).await.unwrap();
    let begun = std::time::Instant::now();
    let output = machine.run(&[HOSTLET, "--output", "json", "preflight", "--wait", "100s"]).await.unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{output}");
    assert!(output.stdout.contains("waiting up to 100 s for cri: "), "{output}");
    assert!(took.as_secs() >= 4 && took.as_secs() < 60, "{took:?}");
    let report = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    ended(&report, "cri", "pass", "is ready");
    ended(&report, "mount-propagation", "pass", "shares the host's mounts");
}
