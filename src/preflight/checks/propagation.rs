//! Whether what the kubelet mounts will be seen by the runtime and the host. Structure only: install and the health gate
//! prove it with a canary.

use std::{path::Path, sync::Arc, time::Instant};

use crate::{
    host::{
        cri::RuntimeService,
        detached, disk,
        mounts::{self, MountTable, Propagation},
        processes::{self, Process},
        systemd::{Effect, Sandboxing, Systemd},
    },
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Kind, Look, Looked, Looking, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "mount-propagation",
    tests: "mounts below the kubelet's root directory reach the host and the container runtime",
    weight: ERROR,
    remedy: "run the kubelet and the container runtime in the host's own mount namespace",
    deadline: USUAL,
    // A runtime that starts meanwhile may have mounts of its own.
    may_become_true: true,
    look: Look::Async(propagation),
}];

fn propagation(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        // Who listens on the socket is the runtime, whatever its unit is called. A runtime that is absent is cri's finding.
        let dialled = RuntimeService::dial(&subject.settings.runtime.socket);
        let (dialled, options) = tokio::join!(dialled, sandboxing(&subject));
        let listener = dialled.ok().and_then(|runtime| runtime.listener);
        let structure = detached::run("mount-propagation", move || structure(&subject, listener)).await?;
        structure.map(|judgement| with_options(judgement, &options))
    })
}

/// The options of the runtime's unit that give it mounts of its own, where systemd can be asked: it not answering is init's
/// finding.
async fn sandboxing(subject: &Subject) -> Vec<Sandboxing> {
    let Ok(systemd) = Systemd::connect().await else { return Vec::new() };
    let options = systemd.sandboxing(&subject.settings.runtime.unit).await.unwrap_or_default();
    options.into_iter().filter(|option| option.effect == Effect::OwnMountNamespace).collect()
}

/// Names the options that are to blame, or will be at the runtime's next start.
fn with_options(judgement: Judgement, options: &[Sandboxing]) -> Judgement {
    let [first, ..] = options else { return judgement };
    let named: Vec<_> = options.iter().map(ToString::to_string).collect();
    let observed = format!("{}\n{}", judgement.observed, named.join("\n"));
    let kind = if judgement.kind == Kind::Pass { Kind::Warning } else { judgement.kind };
    let mut files: Vec<_> = options.iter().filter_map(|option| option.file.as_ref()).map(|f| f.display().to_string()).collect();
    files.dedup();
    let files = if files.is_empty() { "the unit".to_owned() } else { files.join(" and ") };
    let remedy = format!("remove the options from {files}; systemctl daemon-reload && systemctl restart {}", first.unit);
    Judgement { kind, observed, ..judgement }.remedy(remedy)
}

fn structure(subject: &Subject, listener: Option<u32>) -> Looked {
    let root = &subject.settings.kubelet.root_directory;
    let host = processes::namespace("1", "mnt")?;
    if processes::namespace("self", "mnt")? != host {
        return Ok(Judgement::failure("hostlet runs in a mount namespace of its own, apart from that of process 1").remedy(
            "run it outside containers and sandboxed units; from inside one: nsenter --target 1 --mount -- hostlet ...",
        ));
    }
    let (existing, _) = disk::nearest_existing(root)?;
    let table = MountTable::of(mounts::Process::Pid(1))?;
    let covering = table.covering(&existing);
    let covering = covering.ok_or_else(|| Unclear(format!("no mount of process 1 covers {}", existing.display())))?;
    let (point, ours) = (covering.mount_point.display(), covering.propagation);
    if ours.unbindable && !ours.is_shared() {
        return Ok(Judgement::failure(format!("{} is on {point}, which is unbindable", root.display()))
            .remedy(format!("mount --make-rshared {point}, in the unit or the script that makes it unbindable")));
    }
    let seen = match ours.shared {
        Some(group) => format!("{} is on {point}, which is shared (peer group {group})", root.display()),
        None => format!("{} is on {point}, which is not shared: will be set by install", root.display()),
    };
    let Some(runtime) = runtime(subject, listener)? else {
        return Ok(Judgement::pass(format!("{seen}; no runtime runs yet")).again(Again::Yes));
    };
    if runtime.namespace("mnt")? == host {
        return Ok(Judgement::pass(format!("{seen}; {runtime} shares the host's mounts")));
    }
    let their_table = MountTable::of(mounts::Process::Pid(runtime.pid))?;
    let theirs = their_table.covering(&existing).map(|mount| mount.propagation).unwrap_or_default();
    Ok(apart(ours, theirs, &runtime, root, &seen))
}

/// The runtime has a mount namespace of its own: does what is mounted on the host reach it?
fn apart(ours: Propagation, theirs: Propagation, runtime: &Process, root: &Path, seen: &str) -> Judgement {
    let unit = runtime.unit().unwrap_or("its unit");
    let remedy = format!("find what gives it mounts of its own (systemctl cat {unit}), remove it and restart {unit}");
    if ours.is_shared() && theirs.shared == ours.shared {
        Judgement::pass(format!("{seen}; {runtime} has its own mount namespace, linked by peer group"))
    } else if ours.is_shared() && theirs.master == ours.shared {
        Judgement::warning(format!(
            "{runtime} has its own mount namespace, which receives the host's mounts and does not send its own:\n\
             what pods mount for the host (CSI drivers, Bidirectional volumes) will not be seen there"
        ))
        .remedy(remedy)
    } else {
        Judgement::failure(format!(
            "{runtime} has its own copy of the host's mounts, without a link: secrets that the kubelet mounts below {}\n\
             would be missing in pods",
            root.display()
        ))
        .remedy(remedy)
    }
}

/// The process that listens on the CRI socket; where systemd listens for it, the unit's oldest process.
fn runtime(subject: &Subject, listener: Option<u32>) -> Result<Option<Process>, Unclear> {
    if let Some(process) = listener.filter(|pid| *pid > 1).and_then(Process::look) {
        return Ok(Some(process));
    }
    let unit = subject.settings.runtime.unit.as_str();
    Ok(Process::all()?.into_iter().find(|process| process.unit() == Some(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(shared: Option<u32>, master: Option<u32>) -> Propagation {
        Propagation { shared, master, ..Propagation::default() }
    }

    #[test]
    fn a_runtime_apart_needs_a_link_by_peer_group() {
        let runtime = Process {
            pid: 7,
            name: "containerd".into(),
            executable: None,
            control_group: "/system.slice/containerd.service".into(),
        };
        let judge = |ours, theirs| apart(ours, theirs, &runtime, Path::new("/var/lib/kubelet"), "").kind;
        assert_eq!(judge(mount(Some(1), None), mount(Some(1), None)), Kind::Pass);
        assert_eq!(judge(mount(Some(1), None), mount(Some(55), Some(1))), Kind::Warning);
        assert_eq!(judge(mount(Some(1), None), mount(Some(55), None)), Kind::Failure);
        // Nothing is shared on either side: equal, and still no link.
        assert_eq!(judge(mount(None, None), mount(None, None)), Kind::Failure);
    }

    #[test]
    fn options_that_sandbox_the_runtime_are_named_with_their_file() {
        let option = Sandboxing {
            unit: "containerd.service".parse().unwrap(),
            option: "ProtectSystem",
            value: "full".to_owned(),
            effect: Effect::OwnMountNamespace,
            file: Some("/etc/systemd/system/containerd.service.d/hardening.conf".into()),
        };
        assert_eq!(with_options(Judgement::pass(""), &[]).kind, Kind::Pass);
        let judgement = with_options(Judgement::pass("all is well"), std::slice::from_ref(&option));
        assert_eq!(judgement.kind, Kind::Warning);
        assert!(
            judgement.observed.ends_with(
                "containerd.service has ProtectSystem=full in /etc/systemd/system/containerd.service.d/hardening.conf"
            )
        );
        assert!(judgement.remedy.unwrap().contains("hardening.conf; systemctl daemon-reload"));
        assert_eq!(with_options(Judgement::failure(""), &[option]).kind, Kind::Failure);
    }
}
