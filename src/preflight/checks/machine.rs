//! The machine: processor, kernel, names.

use std::path::Path;

use crate::{
    config::Backend,
    host::{
        files::{self, if_present},
        kernel::Kernel,
    },
    model::Architecture,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL},
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
        id: "hostname",
        tests: "the node's name is one that no other machine has by default",
        weight: ERROR,
        remedy: "hostnamectl set-hostname NAME, or set node.name",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(host_name),
    },
    Check {
        id: "machine-id",
        tests: "/etc/machine-id holds 32 hexadecimal digits",
        weight: ERROR,
        remedy: "systemd-machine-id-setup",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(machine_id),
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

/// That the name is well-formed is what its type says; what is left are the names that images come with.
fn host_name(subject: &Subject) -> Looked {
    let name = subject.identity.name.as_str();
    if name == "localhost" || name.starts_with("localhost.") {
        return Ok(Judgement::failure(format!("the node's name would be {name}, as that of every unnamed machine")));
    }
    let host = Kernel::running()?.host_name;
    Ok(Judgement::pass(if host == name { name.to_owned() } else { format!("{name} (the host is called {host})") }))
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
