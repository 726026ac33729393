//! Whether what the kubelet mounts will be seen by the runtime and the host. Structure only: install and the health gate
//! prove it with a canary.

use std::{path::Path, sync::Arc, time::Instant};

use crate::{
    host::{
        cri::RuntimeService,
        detached, disk,
        mount_view::{self, Covering},
        processes::{self, Process},
    },
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, Looking, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "mount-propagation",
    tests: "mounts below the kubelet's root directory reach the host and the container runtime",
    weight: ERROR,
    remedy: "run the kubelet and the container runtime in the host's own mount namespace",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Async(propagation),
}];

fn propagation(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        // Who listens on the socket is the runtime, whatever its unit is called. A runtime that is absent is cri's finding.
        let listener = RuntimeService::dial(&subject.settings.runtime.socket).await.ok().and_then(|runtime| runtime.listener);
        detached::run("mount-propagation", move || structure(&subject, listener)).await?
    })
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
    let covering = mount_view::covering(1, &existing)?;
    let covering = covering.ok_or_else(|| Unclear(format!("no mount of process 1 covers {}", existing.display())))?;
    let point = covering.mount_point.display();
    if covering.unbindable && covering.shared.is_none() {
        return Ok(Judgement::failure(format!("{} is on {point}, which is unbindable", root.display()))
            .remedy(format!("mount --make-rshared {point}, in the unit or the script that makes it unbindable")));
    }
    let seen = match covering.shared {
        Some(group) => format!("{} is on {point}, which is shared (peer group {group})", root.display()),
        None => format!("{} is on {point}, which is not shared: will be set by install", root.display()),
    };
    let Some(runtime) = runtime(subject, listener)? else {
        return Ok(Judgement::pass(format!("{seen}; no runtime runs yet")));
    };
    if runtime.namespace("mnt")? == host {
        return Ok(Judgement::pass(format!("{seen}; {runtime} shares the host's mounts")));
    }
    let theirs = mount_view::covering(runtime.pid, &existing)?;
    Ok(apart(&covering, theirs.as_ref(), &runtime, &existing, &seen))
}

/// The runtime has a mount namespace of its own: does what is mounted on the host reach it?
fn apart(ours: &Covering, theirs: Option<&Covering>, runtime: &Process, root: &Path, seen: &str) -> Judgement {
    let unit = runtime.unit().unwrap_or("its unit").to_owned();
    let remedy = format!(
        "find what sandboxes it: systemctl cat {unit} (PrivateMounts, PrivateTmp, PrivateDevices, ProtectSystem, ProtectHome,\n\
         ReadOnlyPaths, MountFlags ...); remove that by a drop-in and systemctl restart {unit}"
    );
    let both_ways = ours.shared.is_some() && theirs.is_some_and(|theirs| theirs.shared == ours.shared);
    let receives = ours.shared.is_some() && theirs.is_some_and(|theirs| theirs.master == ours.shared);
    if both_ways {
        Judgement::pass(format!("{seen}; {runtime} has its own mount namespace, linked by peer group"))
    } else if receives {
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
    use crate::preflight::check::Kind;

    fn mount(shared: Option<u32>, master: Option<u32>) -> Covering {
        Covering {
            mount_point: "/".into(),
            source: "/dev/vda".into(),
            file_system: "ext4".into(),
            shared,
            master,
            unbindable: false,
        }
    }

    #[test]
    fn a_runtime_apart_needs_a_link_by_peer_group() {
        let runtime = Process {
            pid: 7,
            name: "containerd".into(),
            executable: None,
            control_group: "/system.slice/containerd.service".into(),
        };
        let judge = |ours, theirs| apart(&ours, Some(&theirs), &runtime, Path::new("/var/lib/kubelet"), "").kind;
        assert_eq!(judge(mount(Some(1), None), mount(Some(1), None)), Kind::Pass);
        assert_eq!(judge(mount(Some(1), None), mount(Some(55), Some(1))), Kind::Warning);
        assert_eq!(judge(mount(Some(1), None), mount(Some(55), None)), Kind::Failure);
        // Nothing is shared on either side: equal, and still no link.
        assert_eq!(judge(mount(None, None), mount(None, None)), Kind::Failure);
    }
}
