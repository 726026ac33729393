//! The machine: its processor, its kernel, its operating system, its ids.

use std::path::Path;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    config::Backend,
    host::{
        files::{self, if_present},
        hardware,
        kernel::Kernel,
        os_release::OsRelease,
    },
    model::Architecture,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "arch",
        tests: "the processor is one that every artifact is released for; flannel's udp backend is amd64 only",
        weight: ERROR,
        remedy: "use an amd64 or arm64 machine",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(architecture),
    },
    Check {
        id: "kernel",
        tests: "the kernel is 5.4 or later (5.10 or later is better)",
        weight: ERROR,
        remedy: "upgrade the kernel and reboot",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(kernel),
    },
    Check {
        id: "os",
        tests: "os-release names a distribution that keeps what is written to /etc, and that its maker still supports (a warning)",
        weight: ERROR,
        remedy: "use a distribution with systemd and a writable /etc: Debian, Ubuntu, Fedora, RHEL and its kin, SUSE",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(operating_system),
    },
    Check {
        id: "machine-id",
        tests: "/etc/machine-id holds 32 hexadecimal digits",
        weight: ERROR,
        remedy: "systemd-machine-id-setup",
        deadline: USUAL,
        // Empty or "uninitialized" until the first boot has come that far.
        may_become_true: true,
        look: Look::Blocking(machine_id),
    },
    Check {
        id: "product-uuid",
        tests: "the firmware's id of the machine is readable, and not one that many machines have",
        weight: WARNING,
        remedy: "set the machine's UUID in its firmware, or in the hypervisor that clones it (qemu: -uuid)",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(product_uuid),
    },
];

fn architecture(subject: &Subject) -> Looked {
    let machine = Kernel::running()?.machine;
    let Some(found) = Architecture::from_machine(&machine) else {
        return Ok(Judgement::failure(machine));
    };
    if found != subject.identity.architecture {
        return Ok(Judgement::failure(format!("{found}, and the artifacts are for {}", subject.identity.architecture)));
    }
    let backend = subject.settings.flannel.as_ref().map(|flannel| flannel.backend);
    match (found, backend) {
        (Architecture::Arm64, Some(Backend::Udp { .. })) => Ok(Judgement::failure("arm64, with flannel's udp backend")
            .remedy("set flannel.backend to vxlan, host-gw or wireguard")),
        _ => Ok(Judgement::pass(found.to_string())),
    }
}

fn kernel(_: &Subject) -> Looked {
    let kernel = Kernel::running()?;
    Ok(match kernel.version() {
        None => Judgement::warning(format!("{}, which does not begin with a version", kernel.release)),
        Some(version) if version < (5, 4) => Judgement::failure(kernel.release),
        Some(version) if version < (5, 10) => Judgement::warning(kernel.release),
        Some(_) => Judgement::pass(kernel.release),
    })
}

/// Distributions that make /etc anew from elsewhere, so that units written there would be gone at the next boot.
const MADE_ANEW: [&str; 4] = ["nixos", "guix", "talos", "bottlerocket"];

fn operating_system(_: &Subject) -> Looked {
    let Some(found) = OsRelease::look()? else {
        return Ok(Judgement::warning("there is no os-release that would tell"));
    };
    if MADE_ANEW.contains(&found.id.as_str()) {
        return Ok(Judgement::failure(format!("{}, which makes /etc anew from its own configuration", found.pretty_name)));
    }
    let over = found.support_end.as_deref().and_then(|day| day.parse::<Date>().ok()).filter(|day| *day < today());
    Ok(match over {
        Some(day) => Judgement::warning(format!("{}, which has had no support since {day}", found.pretty_name))
            .remedy("upgrade to a release that is supported"),
        None => Judgement::pass(found.pretty_name),
    })
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn machine_id(_: &Subject) -> Looked {
    let Some(text) = if_present(files::read_text(Path::new("/etc/machine-id")))? else {
        return Ok(Judgement::failure("there is no /etc/machine-id"));
    };
    let id = text.trim();
    Ok(match id {
        "" => Judgement::failure("/etc/machine-id is empty"),
        "uninitialized" => Judgement::failure("/etc/machine-id says uninitialized: the first boot is not over"),
        _ if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) => Judgement::failure(format!("{id:?}")),
        _ if id.bytes().all(|b| b == b'0') => Judgement::failure("it is all zeros"),
        _ => Judgement::pass(id),
    })
}

/// Without firmware that tells one (arm, containers) the kubelet takes the machine-id.
fn product_uuid(_: &Subject) -> Looked {
    let Some(uuid) = hardware::product_uuid()? else {
        return Ok(Judgement::pass("the firmware has none: the kubelet goes by the machine-id"));
    };
    let digits: Vec<char> = uuid.chars().filter(|c| *c != '-').collect();
    let uniform = digits.windows(2).all(|pair| pair[0] == pair[1]);
    Ok(if digits.len() != 32 || !digits.iter().all(char::is_ascii_hexdigit) {
        Judgement::failure(format!("{uuid:?} is no UUID"))
    } else if uniform || PLACEHOLDERS.contains(&uuid.to_lowercase().as_str()) {
        Judgement::failure(format!("{uuid}, which is what boards come with that nobody gave one"))
    } else {
        Judgement::pass(uuid)
    })
}

/// What board makers ship (American Megatrends' sample, and one of Supermicro's and others').
const PLACEHOLDERS: [&str; 2] = ["03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"];
