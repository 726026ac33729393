//! Options of the units of kubelet and runtime that keep mounts from travelling, with the file that sets them.

use std::{sync::Arc, time::Instant};

use crate::{
    host::systemd::{LoadState, Sandboxing, Systemd, waiting},
    model::UnitName,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, Looking, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-sandboxing",
        tests: "no option of kubelet.service gives it a mount namespace of its own or keeps it from mounting",
        weight: ERROR,
        remedy: "remove the option from the file named; a kubelet cannot be sandboxed: pods' secrets would be invisible",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Async(kubelet),
    },
    Check {
        id: "runtime-sandboxing",
        tests: "no option of the container runtime's unit gives it a mount namespace of its own",
        weight: WARNING,
        remedy: "remove the option from the file named, then `systemctl daemon-reload` and restart the runtime",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Async(runtime),
    },
];

fn kubelet(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        // The unit that is there, and its drop-ins, are moved aside.
        if subject.adopt && !super::existing::is_installed(&subject) {
            return Ok(Judgement::pass("the unit that is there now is replaced"));
        }
        sandboxing(UnitName::known("kubelet.service")).await
    })
}

fn runtime(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move { sandboxing(subject.settings.runtime.unit.clone()).await })
}

async fn sandboxing(unit: UnitName) -> Looked {
    let systemd = Systemd::connect().await.map_err(|error| Unclear(error.to_string()))?;
    let state = systemd.unit(&unit).await.map_err(|error| Unclear(error.to_string()))?;
    let found = if state.load_state == LoadState::Loaded {
        systemd.sandboxing(&unit).await.map_err(|error| Unclear(error.to_string()))?
    } else {
        waiting(&unit)?
    };
    Ok(match found.as_slice() {
        [] => Judgement::pass("none is set"),
        found => Judgement::failure(found.iter().map(Sandboxing::to_string).collect::<Vec<_>>().join("\n")),
    })
}
