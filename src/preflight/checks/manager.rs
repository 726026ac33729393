//! What hostlet itself needs of the host: privileges, and systemd.

use std::{path::Path, sync::Arc, time::Instant};

use crate::{
    host::{
        capabilities::{Capability, Privileges},
        look,
        processes::Process,
        systemd::{Systemd, SystemdError},
    },
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Look, Looked, Looking, USUAL},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "privileges",
        tests: "the effective user is root, with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW",
        weight: ERROR,
        remedy: "run hostlet as root: sudo hostlet ...",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(privileges),
    },
    Check {
        id: "init",
        tests: "process 1 is systemd and answers over D-Bus",
        weight: ERROR,
        remedy: "hostlet needs a host booted with systemd",
        deadline: USUAL,
        may_become_true: true,
        look: Look::Async(manager),
    },
];

fn privileges(_: &Subject) -> Looked {
    let own = Privileges::own()?;
    if !own.is_root() {
        return Ok(Judgement::failure(format!("the effective user id is {}", own.user)));
    }
    let missing: Vec<_> = [Capability::SysAdmin, Capability::NetAdmin, Capability::NetRaw]
        .into_iter()
        .filter(|capability| !own.has(*capability))
        .map(Capability::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(Judgement::pass("root, with all capabilities needed"));
    }
    Ok(Judgement::failure(format!("root, but without {}", missing.join(", ")))
        .remedy("run hostlet outside the container or the unit (CapabilityBoundingSet=) that takes them away"))
}

fn manager(_: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async {
        let first = Process::look(1).map_or_else(|| "unknown".to_owned(), |process| process.name);
        // sd_booted(3)
        if !look::exists(Path::new("/run/systemd/system")) {
            return Ok(
                Judgement::failure(format!("process 1 is {first}, and the host was not booted with systemd")).again(Again::No)
            );
        }
        let asked = async {
            let systemd = Systemd::connect().await?;
            Ok::<_, SystemdError>((systemd.version().await?, systemd.is_private()))
        };
        Ok(match asked.await {
            Ok((version, false)) => Judgement::pass(format!("systemd {version}, over the system bus")),
            Ok((version, true)) => Judgement::pass(format!("systemd {version}, over its own socket: the system bus is down")),
            Err(error) => Judgement::failure(format!("systemd runs and does not answer: {error}"))
                .remedy("systemctl start dbus.socket dbus.service"),
        })
    })
}
