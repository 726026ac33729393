//! Preflight on a booted copy of this machine, with its own systemd, D-Bus and a real containerd.

use hostlet::rehearse::{Machine, set_up_stand_ins};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

/// What the whole preflight says there.
pub(crate) async fn preflight(machine: &Machine) -> Value {
    let output = machine.run(&[HOSTLET, "--output", "json", "preflight"]).await.unwrap();
    let mut values = output.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.rfind(|value| value.get("findings").is_some()).unwrap_or_else(|| panic!("{output}"))
}

/// Asserts how a check ended there, and what it said.
pub(crate) fn ended(report: &Value, id: &str, outcome: &str, said: &str) {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
    let observed = finding["observed"].as_str().unwrap();
    assert!(finding["outcome"] == outcome && observed.contains(said), "{finding:#}");
}

pub(crate) async fn booted() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, "/etc/hostlet/hostlet.toml", "{}").await.unwrap();
    machine.script("sed -i 's/^.flannel.$/&\\nenabled = false/' /etc/hostlet/hostlet.toml").await.unwrap();
    machine
}

#[tokio::test]
async fn sys_a_fresh_host_with_containerd_is_fit_and_looked_at_in_a_fraction_of_a_second() {
    let machine = booted().await;
    let before = machine.snapshot().await.unwrap();
    let report = preflight(&machine).await;
    println!("{report:#}");
    ended(&report, "init", "pass", "systemd 2");
    ended(&report, "cri", "pass", "containerd 1.");
    ended(&report, "mount-propagation", "pass", "shares the host's mounts");
    ended(&report, "port-bind", "pass", "4 of 4 are free");
    let blocking: Vec<_> =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["outcome"] == "failure").collect();
    assert!(blocking.is_empty(), "{blocking:#?}");
    assert!(report["duration-ms"].as_f64().unwrap() < 1000.0);
    assert_eq!(before.diff(&machine.snapshot().await.unwrap()).to_string(), "");
}

#[tokio::test]
async fn sys_what_is_wrong_with_units_is_named_by_unit() {
    let machine = booted().await;
    machine
        .script(
            "mkdir -p /etc/systemd/system/containerd.service.d
            printf '[Service]\\nProtectSystem=full\\n' > /etc/systemd/system/containerd.service.d/hardening.conf
            cp /bin/sleep /usr/local/bin/kubelet && systemd-run --quiet --unit=other-kubelet /usr/local/bin/kubelet 1000
            systemctl daemon-reload && systemctl restart containerd",
        )
        .await
        .unwrap();
    let report = preflight(&machine).await;
    ended(&report, "existing", "failure", ", other-kubelet.service) runs");
    let hardening = "has ProtectSystem=full in /etc/systemd/system/containerd.service.d/hardening.conf";
    ended(&report, "mount-propagation", "warning", hardening);

    machine.script("systemctl stop containerd && rm -f /run/containerd/containerd.sock").await.unwrap();
    ended(&preflight(&machine).await, "cri", "failure", "(unit containerd.service)");

    machine.script("systemctl stop dbus.socket dbus.service").await.unwrap();
    // Root reaches systemd over its private socket then.
    ended(&preflight(&machine).await, "init", "pass", "over its own socket: the system bus is down");
}

#[tokio::test]
async fn sys_a_port_held_by_another_unit_is_named_with_it() {
    let machine = booted().await;
    let settings = "[preflight]\nextra-ports = [\"tcp/8443\"]\n";
    machine.write("/etc/hostlet/hostlet.d/ports.toml", settings, 0o644).await.unwrap();
    ended(&preflight(&machine).await, "port-bind", "failure", "8443/tcp is held by hostlet (pid ");
    ended(&preflight(&machine).await, "port-bind", "failure", ", hostlet-mirror.service)");
}
