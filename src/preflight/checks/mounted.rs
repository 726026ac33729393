//! How the file systems are mounted, and how they were made.

use std::path::Path;

use crate::{
    host::{
        disk::{self, FileSystem},
        mounts::{self, MountTable},
    },
    model::layout,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "exec-mount",
        tests: "the kubelet's root, hostlet's own tree and the CNI plugins are not on file systems mounted noexec, nosuid or ro; nor \
            is what else is written to mounted ro",
        weight: ERROR,
        remedy: "mount -o remount,rw,exec,suid MOUNT, and the same in /etc/fstab",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(mounted_how),
    },
    Check {
        id: "xfs-ftype",
        tests: "the file system of the runtime's images tells the kinds of entries (XFS: ftype=1), which overlay needs",
        weight: ERROR,
        remedy: "make the file system anew: mkfs.xfs -n ftype=1 DEVICE",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(kinds),
    },
];

/// What matters of how a directory is mounted.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// Programs lie there.
    Executed,
    /// Files are written there.
    Written,
}

fn mounted_how(subject: &Subject) -> Looked {
    let places = &subject.places;
    let directories: [(&Path, Use); 5] = [
        (&subject.settings.kubelet.root_directory, Use::Executed),
        (&places.home, Use::Executed),
        (&places.cni_executables, Use::Executed),
        (&places.cni_configuration, Use::Written),
        (Path::new(layout::UNITS), Use::Written),
    ];
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    for (directory, used) in directories {
        let FileSystem { read_only, no_exec, no_suid, existing, .. } = FileSystem::of(directory)?;
        let executed = used == Use::Executed;
        let flags: Vec<_> =
            [(read_only, "ro", "rw"), (no_exec && executed, "noexec", "exec"), (no_suid && executed, "nosuid", "suid")]
                .into_iter()
                .filter_map(|(set, name, inverse)| set.then_some((name, inverse)))
                .collect();
        if flags.is_empty() {
            continue;
        }
        let table = MountTable::of(mounts::Process::Own)?;
        let (point, source) = table.covering(&existing).map_or((existing, String::new()), |mount| {
            (mount.mount_point.clone(), mount.source.to_string_lossy().into_owned())
        });
        let names: Vec<_> = flags.iter().map(|(name, _)| *name).collect();
        let inverses: Vec<_> = flags.iter().map(|(_, inverse)| *inverse).collect();
        found.push(format!("{} is on {} ({source}), mounted {}", directory.display(), point.display(), names.join(",")));
        let remedy = format!("mount -o remount,{} {}, and the same in /etc/fstab", inverses.join(","), point.display());
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    Ok(if found.is_empty() {
        Judgement::pass("writable, and programs there can be executed")
    } else {
        Judgement::failure(found.join("\n")).remedy(remedies.join("\n"))
    })
}

fn kinds(subject: &Subject) -> Looked {
    let images = &subject.places.images;
    let (existing, _) = disk::nearest_existing(images)?;
    let table = MountTable::of(mounts::Process::Own)?;
    let covering = table.covering(&existing).ok_or_else(|| Unclear(format!("no mount covers {}", existing.display())))?;
    let (kind, point) = (covering.fs_type.as_str(), covering.mount_point.display());
    let seen = format!("{} is on {point} ({kind})", images.display());
    Ok(match disk::tells_kinds(images)? {
        Some(true) => Judgement::pass(format!("{seen}, which tells them")),
        Some(false) => {
            Judgement::failure(format!("{seen}, which does not tell them: containers' root file systems would be corrupt"))
        }
        // Everything but XFS of before 2015 does, unless it was asked not to.
        None if kind == "xfs" => Judgement::warning(format!("{seen}, with nothing on it yet that could tell"))
            .remedy(format!("xfs_info {point} | grep ftype=1")),
        None => Judgement::pass(format!("{seen}, with nothing on it yet")),
    })
}
