//! The container runtime: that it is there, speaks CRI v1, is ready, and manages control groups as the kubelet does.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::{sleep, timeout_at};

use crate::{
    host::cri::{CriError, Readiness, RuntimeService, RuntimeVersion},
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Look, Looking},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cri",
        tests: "the container runtime's socket answers CRI v1, and RuntimeReady is true",
        weight: ERROR,
        remedy: "start the container runtime",
        deadline: Duration::from_millis(1_500),
        may_become_true: true,
        look: Look::Async(ready),
    },
    Check {
        id: "cgroup-driver",
        tests: "runtime and kubelet let the same one manage control groups",
        weight: ERROR,
        remedy: "set SystemdCgroup = true in containerd's configuration (runc.options), and restart it",
        deadline: Duration::from_secs(1),
        may_become_true: true,
        look: Look::Async(driver),
    },
];

/// What is left of the deadline for saying what was seen last.
const TO_ANSWER: Duration = Duration::from_millis(150);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// What one attempt saw.
enum Seen {
    Ready(RuntimeVersion, Readiness),
    NotReady(RuntimeVersion, Readiness),
    Failed(CriError),
    /// It took the connection, and the question's answer did not come in time.
    Silent,
}

/// A unit that is active is not ready yet (containerd#8468): tries again as long as there is time.
fn ready(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let last_moment = until.checked_sub(TO_ANSWER).unwrap_or(until);
        let mut before = None;
        loop {
            let socket = &subject.settings.runtime.socket;
            let Ok(seen) = timeout_at(last_moment.into(), attempt(socket)).await else {
                // An attempt cut short tells less than the one before it.
                return Ok(judge(&subject, &before.unwrap_or(Seen::Silent)));
            };
            let lasting = match &seen {
                Seen::Ready(..) => true,
                Seen::Failed(error) => !error.is_transient(),
                Seen::NotReady(..) | Seen::Silent => false,
            };
            if lasting || Instant::now() + PAUSE >= last_moment {
                return Ok(judge(&subject, &seen));
            }
            before = Some(seen);
            sleep(PAUSE).await;
        }
    })
}

async fn attempt(socket: &Path) -> Seen {
    let asked = async {
        let mut runtime = RuntimeService::dial(socket).await?;
        let version = runtime.version().await?;
        Ok((version, runtime.readiness().await?))
    };
    match asked.await {
        Ok((version, readiness)) if readiness.runtime.as_ref().is_some_and(|condition| condition.holds) => {
            Seen::Ready(version, readiness)
        }
        Ok((version, readiness)) => Seen::NotReady(version, readiness),
        Err(error) => Seen::Failed(error),
    }
}

fn judge(subject: &Subject, seen: &Seen) -> Judgement {
    let unit = &subject.settings.runtime.unit;
    let socket = subject.settings.runtime.socket.display();
    match seen {
        Seen::Ready(version, readiness) => {
            let network = readiness.network.as_ref().is_some_and(|condition| condition.holds);
            let network = if network { "" } else { ", its network not yet: install lays the CNI configuration" };
            Judgement::pass(format!("{} {} (CRI {}) is ready{network}", version.name, version.version, version.api))
        }
        Seen::NotReady(version, readiness) => {
            let why = readiness.runtime.as_ref().map_or("it does not say RuntimeReady", |condition| &condition.explanation);
            Judgement::failure(format!("{} {} is not ready: {why}", version.name, version.version))
                .remedy(format!("journalctl --unit {unit}; systemctl restart {unit}"))
        }
        Seen::Silent => Judgement::failure(format!("{socket} takes connections and does not answer"))
            .remedy(format!("journalctl --unit {unit}; systemctl restart {unit}")),
        Seen::Failed(error) => {
            let again = if error.is_transient() { Again::IfItBlocks } else { Again::No };
            let judgement = Judgement::failure(format!("{error} (unit {unit})")).again(again);
            match error {
                CriError::Absent(_) | CriError::Refused(_) => judgement.remedy(format!(
                    "systemctl start {unit}; where the runtime's socket is elsewhere, set runtime.socket and runtime.unit"
                )),
                CriError::NotASocket { .. } => judgement.remedy(format!("remove it and systemctl restart {unit}")),
                CriError::OnlyAlpha { .. } => judgement.remedy("upgrade the runtime: containerd 1.6 and later speak v1"),
                // containerd's packages by Docker come with the cri plugin switched off.
                CriError::Call { status, .. } if status.code() == tonic::Code::Unimplemented => judgement.remedy(format!(
                    "take \"cri\" out of disabled_plugins in /etc/containerd/config.toml and systemctl restart {unit}"
                )),
                CriError::Call { .. } | CriError::Protocol { .. } | CriError::Dial { .. } => {
                    judgement.remedy(format!("journalctl --unit {unit}; systemctl restart {unit}"))
                }
            }
        }
    }
}

/// Since 1.31 the kubelet follows the runtime where that tells (RuntimeConfig), so that only older runtimes can differ.
fn driver(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        // hostlet's default for the kubelet.
        let configured = subject.kubelet_field("cgroupDriver").and_then(Value::as_str).unwrap_or("systemd").to_owned();
        Ok(compare(&subject, &configured).await)
    })
}

async fn compare(subject: &Subject, configured: &str) -> Judgement {
    let asked = async { RuntimeService::dial(&subject.settings.runtime.socket).await?.cgroup_driver().await };
    match asked.await {
        // Whether a runtime answers at all is cri's finding: said once is enough.
        Err(error) => Judgement::warning(format!("the runtime does not tell: {error}")).remedy("see cri").again(Again::Yes),
        Ok(None) => {
            Judgement::warning(format!("the kubelet: {configured}; the runtime cannot tell (containerd can since 2.0)"))
        }
        Ok(Some(driver)) if driver.as_str() == configured => Judgement::pass(format!("both: {configured}")),
        Ok(Some(driver)) => Judgement::failure(format!("the kubelet: {configured}; the runtime: {}", driver.as_str())),
    }
}
