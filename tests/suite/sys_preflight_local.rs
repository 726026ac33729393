//! What only a host with a systemd of its own can show of the local checks: units, what install sets by itself, and that the
//! program as a whole changes nothing.

use crate::sys_preflight::{booted, ended, preflight};

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
