//! Swap, control groups, memory and processors.

use crate::{
    host::kernel::{self, ControlGroups, Kernel},
    preflight::{
        Severity, Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Weight},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "swap",
        tests: "no swap is active, unless failSwapOn is false",
        weight: Weight::Depends { on: "error; warning where kubelet.config.failSwapOn is false", decide: swap_severity },
        remedy: "swapoff -a, and remove the entries from /etc/fstab; or set kubelet.config.failSwapOn = false",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(swap),
    },
    Check {
        id: "cgroup-version",
        tests: "control groups are version 2",
        weight: Weight::Depends {
            on: "error for kubelet 1.35 and later, unless kubelet.config.failCgroupV1 is false; else warning",
            decide: v1_severity,
        },
        remedy: "boot with systemd.unified_cgroup_hierarchy=1; or set kubelet.config.failCgroupV1 = false",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(version),
    },
    Check {
        id: "cgroup-controllers",
        tests: "the controllers cpu, cpuset, memory and pids can be used (and io)",
        weight: ERROR,
        remedy: "remove cgroup_disable= from the kernel's command line (on a Raspberry Pi add cgroup_enable=memory) and reboot",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(controllers),
    },
];

fn swap_severity(subject: &Subject) -> Severity {
    if subject.kubelet_flag("failSwapOn", true) { Severity::Error } else { Severity::Warning }
}

fn swap(subject: &Subject) -> Looked {
    let areas = kernel::swaps()?;
    if areas.is_empty() {
        return Ok(Judgement::pass("none"));
    }
    let names: Vec<_> = areas.iter().map(|area| format!("{} ({})", area.path, area.kind)).collect();
    let mut found = vec![names.join(", ")];
    // Where the kubelet runs with swap it mounts secrets as tmpfs with noswap, which the kernel has since 6.3.
    if !subject.kubelet_flag("failSwapOn", true) && Kernel::running()?.version().is_some_and(|version| version < (6, 3)) {
        found.push(
            "this kernel cannot keep a tmpfs out of swap (noswap, 6.3): secrets of pods may be written to the disk".to_owned(),
        );
    }
    let found = Judgement::failure(found.join("\n"));
    // The kubelet counts every line of /proc/swaps, compressed memory too; but fstab does not know of that one.
    Ok(if areas.iter().all(|area| area.path.contains("zram")) {
        found.remedy(
            "swapoff -a, and disable what sets up zram: systemctl mask systemd-zram-setup@zram0.service (or zramswap.service)",
        )
    } else {
        found
    })
}

fn v1_severity(subject: &Subject) -> Severity {
    if subject.refuses_cgroup_v1() { Severity::Error } else { Severity::Warning }
}

fn version(subject: &Subject) -> Looked {
    Ok(match kernel::control_groups()? {
        ControlGroups::V2 => Judgement::pass("version 2"),
        ControlGroups::V1 => Judgement::failure(format!("version 1, with kubelet {}", subject.settings.kubelet.version)),
    })
}

fn controllers(_: &Subject) -> Looked {
    let usable = kernel::controllers(kernel::control_groups()?)?;
    let missing = |names: &[&'static str]| -> Vec<_> {
        names.iter().copied().filter(|name| !usable.iter().any(|usable| usable == name)).collect()
    };
    let needed = missing(&["cpu", "cpuset", "memory", "pids"]);
    if !needed.is_empty() {
        return Ok(Judgement::failure(format!("missing: {}", needed.join(", "))));
    }
    let wished = missing(&["io"]);
    Ok(if wished.is_empty() { Judgement::pass(usable.join(", ")) } else { Judgement::warning("missing: io") })
}
