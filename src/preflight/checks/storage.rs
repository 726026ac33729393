//! Room on the file systems: for what an installation writes, above the line below which the kubelet evicts pods.
//!
//! Gap: where the runtime keeps its images is taken to be where it does by default.

use std::path::PathBuf;

use super::eviction;
use crate::{
    host::disk::FileSystem,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "disk",
        tests: "every file system concerned is writable and stays above the kubelet's eviction line after the installation",
        weight: ERROR,
        remedy: "free space, or put the directory on a larger file system",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(room),
    },
    Check {
        id: "inodes",
        tests: "every file system concerned has more free inodes than the kubelet's eviction line, 5% unless evictionHard says otherwise",
        weight: ERROR,
        remedy: "remove small files, or make the file system anew with more inodes",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(inodes),
    },
];

const MEBIBYTE: u64 = 1 << 20;

/// What an installation adds: the artifacts unpacked in the store, next to those of the generation it replaces; and as
/// they are downloaded. kubelet, flanneld and the plugins of the current releases are about 200 MiB unpacked.
const STORE: u64 = 400 * MEBIBYTE;
const DOWNLOADS: u64 = 200 * MEBIBYTE;
/// What the kubelet itself writes soon: checkpoints, logs of pods, their volumes.
const KUBELET: u64 = 100 * MEBIBYTE;

/// One file system, and what will be put on it.
struct Target {
    file_system: FileSystem,
    directories: Vec<PathBuf>,
    needed: u64,
    /// The signals of the kubelet's that watch it: `nodefs`, `imagefs`. It evicts pods when the file system runs full.
    signals: Vec<&'static str>,
}

fn targets(subject: &Subject) -> Result<Vec<Target>, Unclear> {
    let root = &subject.settings.kubelet.root_directory;
    let places = &subject.places;
    let all = [
        (&places.home, STORE, None),
        (&places.cache, DOWNLOADS, None),
        (root, KUBELET, Some("nodefs")),
        (&places.images, 0, Some("imagefs")),
    ];
    let mut targets: Vec<Target> = Vec::new();
    for (directory, needed, signal) in all {
        let file_system = FileSystem::of(directory)?;
        let known = targets.iter_mut().find(|target| target.file_system.device == file_system.device);
        if let Some(target) = known {
            target.directories.push(directory.clone());
            target.needed += needed;
            target.signals.extend(signal);
            // One file system may be mounted twice, once writable.
            target.file_system.read_only |= file_system.read_only;
        } else {
            let signals = signal.into_iter().collect();
            targets.push(Target { file_system, directories: vec![directory.clone()], needed, signals });
        }
    }
    Ok(targets)
}

impl Target {
    fn names(&self) -> String {
        self.directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The highest line of the signals that watch it.
    fn line(&self, subject: &Subject, what: &str, total: u64) -> u64 {
        let of = |signal: &&str| eviction::line(subject, &format!("{signal}.{what}")).of(total);
        self.signals.iter().map(of).max().unwrap_or_default()
    }
}

fn room(subject: &Subject) -> Looked {
    let (mut failures, mut warnings, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    for target in targets(subject)? {
        let FileSystem { free, total, read_only, .. } = target.file_system;
        let evicts_below = target.line(subject, "available", total);
        let needed = target.needed + evicts_below;
        let seen = format!("{}: {} free of {}", target.names(), size(free), size(total));
        if read_only {
            failures.push(format!("{}: the file system is mounted read-only", target.names()));
        } else if free < needed - needed / 20 {
            // 5% of slack: sizes on paper are not sizes on disk (kubespray#2123).
            failures.push(format!("{seen}, needed {}{}", size(needed), reason(evicts_below)));
        } else if free < needed + needed / 4 {
            warnings.push(format!("{seen}, barely more than the {} needed{}", size(needed), reason(evicts_below)));
        } else {
            passes.push(seen);
        }
    }
    Ok(match (failures.is_empty(), warnings.is_empty()) {
        (false, _) => {
            let remount = failures.iter().any(|failure| failure.ends_with("read-only"));
            let judgement = Judgement::failure(failures.join("\n"));
            if remount { judgement.remedy("mount -o remount,rw it; or set another directory") } else { judgement }
        }
        (true, false) => Judgement::warning(warnings.join("\n")),
        (true, true) => Judgement::pass(passes.join("\n")),
    })
}

fn reason(evicts_below: u64) -> String {
    if evicts_below == 0 { String::new() } else { format!(" (below {} the kubelet evicts pods)", size(evicts_below)) }
}

fn size(bytes: u64) -> String {
    if bytes >= 10 * 1024 * MEBIBYTE {
        format!("{} GiB", bytes / (1024 * MEBIBYTE))
    } else {
        format!("{} MiB", bytes / MEBIBYTE)
    }
}

/// An installation itself makes a few hundred files, on any file system.
const FILES: u64 = 1000;

fn inodes(subject: &Subject) -> Looked {
    let (mut seen, mut low) = (Vec::new(), Vec::new());
    for target in targets(subject)? {
        let FileSystem { free_inodes: Some(free), total_inodes: total, .. } = target.file_system else { continue };
        let evicts_below = target.line(subject, "inodesFree", total);
        let line = format!("{}: {free} free of {total}", target.names());
        if free < evicts_below + FILES.min(total / 20) {
            low.push(if evicts_below > 0 { format!("{line} (below {evicts_below} the kubelet evicts pods)") } else { line });
        } else {
            seen.push(line);
        }
    }
    Ok(if !low.is_empty() {
        Judgement::failure(low.join("\n"))
    } else if seen.is_empty() {
        Judgement::pass("these file systems do not count them")
    } else {
        Judgement::pass(seen.join("\n"))
    })
}
