//! The container runtime: that it is there, speaks CRI v1, is ready, and manages control groups as the kubelet does.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{sleep, timeout_at};

use crate::{
    host::cri::{CriError, Readiness, RuntimeService, RuntimeVersion},
    model::Version,
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Kind, Look, Looking, USUAL},
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
        deadline: USUAL,
        may_become_true: true,
        look: Look::Async(driver),
    },
];

/// What is left of the deadline for saying what was seen last.
const TO_ANSWER: Duration = Duration::from_millis(150);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Where runtimes listen by default, and the unit of each.
const RUNTIMES: [(&str, &str); 6] = [
    ("/run/containerd/containerd.sock", "containerd.service"),
    ("/run/crio/crio.sock", "crio.service"),
    ("/run/cri-dockerd.sock", "cri-docker.service"),
    ("/run/k3s/containerd/containerd.sock", "k3s.service"),
    ("/run/k0s/containerd.sock", "k0sworker.service"),
    ("/var/snap/microk8s/common/run/containerd.sock", "snap.microk8s.daemon-containerd.service"),
];
/// A second runtime that does not answer in this time is not in the way.
const OTHER: Duration = Duration::from_millis(300);

/// A runtime beside the one that is configured.
struct Other {
    socket: &'static str,
    unit: &'static str,
    version: RuntimeVersion,
}

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
        let (judgement, others) = tokio::join!(configured(&subject, until), others(&subject.settings.runtime.socket));
        Ok(with_others(&subject, judgement, &others))
    })
}

async fn configured(subject: &Subject, until: Instant) -> Judgement {
    let last_moment = until.checked_sub(TO_ANSWER).unwrap_or(until);
    let mut before = None;
    loop {
        let socket = &subject.settings.runtime.socket;
        let Ok(seen) = timeout_at(last_moment.into(), attempt(socket)).await else {
            // An attempt cut short tells less than the one before it.
            return judge(subject, &before.unwrap_or(Seen::Silent));
        };
        let lasting = match &seen {
            Seen::Ready(..) => true,
            Seen::Failed(error) => !error.is_transient(),
            Seen::NotReady(..) | Seen::Silent => false,
        };
        if lasting || Instant::now() + PAUSE >= last_moment {
            return judge(subject, &seen);
        }
        before = Some(seen);
        sleep(PAUSE).await;
    }
}

/// The other runtimes of this host that answer CRI.
async fn others(configured: &Path) -> Vec<Other> {
    let real = |path: &Path| path.canonicalize().ok();
    let own = real(configured);
    let asked = RUNTIMES.into_iter().filter(|(socket, _)| real(Path::new(socket)).is_some_and(|path| Some(path) != own)).map(
        async |(socket, unit)| {
            let version = async { RuntimeService::dial(Path::new(socket)).await?.version().await };
            let version = tokio::time::timeout(OTHER, version).await.ok()?.ok()?;
            Some(Other { socket, unit, version })
        },
    );
    join_all(asked).await.into_iter().flatten().collect()
}

/// Several runtimes on one host confuse people and tools (kubeadm refuses to choose); the kubelet takes the one that is
/// configured.
fn with_others(subject: &Subject, judgement: Judgement, others: &[Other]) -> Judgement {
    let [first, ..] = others else { return judgement };
    let runtime = &subject.settings.runtime;
    let named = others.iter().map(|Other { socket, version, .. }| format!("{} {} on {socket}", version.name, version.version));
    let named = named.collect::<Vec<_>>().join(", ");
    let observed = format!(
        "{}\n{named} answers as well; the kubelet would use what is configured, {} of {}",
        judgement.observed,
        runtime.socket.display(),
        runtime.unit
    );
    let meant =
        format!("set runtime.socket = \"{}\" and runtime.unit = \"{}\" where that one is meant", first.socket, first.unit);
    if judgement.kind == Kind::Pass {
        let units = others.iter().map(|other| other.unit).collect::<Vec<_>>().join(" ");
        return Judgement::warning(observed).remedy(format!("systemctl disable --now {units}; or {meant}"));
    }
    let remedy = judgement.remedy.iter().chain([&meant]).cloned().collect::<Vec<_>>().join("\n");
    Judgement { observed, ..judgement }.remedy(remedy)
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

/// Source: KEP-4033, and kubernetes#139121: a kubelet that cannot ask takes cgroupDriver up to 1.37, and does not start from
/// 1.38 on (planned; that version is not out). Kubernetes 1.35 is the last that its makers test with containerd 1.
fn cannot_tell(kubelet: &Version, configured: &str) -> Judgement {
    let upgrade = "upgrade the runtime: containerd tells since 2.0, CRI-O since 1.28";
    if (kubelet.major(), kubelet.minor()) >= (1, 38) {
        return Judgement::failure(format!("the runtime cannot tell, and kubelet {kubelet} does not start without"))
            .remedy(upgrade);
    }
    let tested = if kubelet.minor() > 35 { "; Kubernetes after 1.35 is not tested with such a runtime" } else { "" };
    let observed = format!("the kubelet: {configured}; the runtime cannot tell (containerd can since 2.0){tested}");
    Judgement::warning(observed).remedy(format!("let both use {configured}; or {upgrade}"))
}

async fn compare(subject: &Subject, configured: &str) -> Judgement {
    let asked = async { RuntimeService::dial(&subject.settings.runtime.socket).await?.cgroup_driver().await };
    match asked.await {
        // Whether a runtime answers at all is cri's finding: said once is enough.
        Err(error) => Judgement::warning(format!("the runtime does not tell: {error}")).remedy("see cri").again(Again::Yes),
        Ok(None) => cannot_tell(&subject.settings.kubelet.version, configured),
        Ok(Some(driver)) if driver.as_str() == configured => Judgement::pass(format!("both: {configured}")),
        Ok(Some(driver)) => Judgement::failure(format!("the kubelet: {configured}; the runtime: {}", driver.as_str())),
    }
}
