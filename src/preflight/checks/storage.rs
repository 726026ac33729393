//! Room on the file systems, and how they are mounted.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    host::{
        disk::FileSystem,
        mounts::{self, MountTable},
    },
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
        tests: "every file system concerned has more free inodes than the kubelet's eviction line of 5%",
        weight: ERROR,
        remedy: "remove small files, or make the file system anew with more inodes",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(inodes),
    },
    Check {
        id: "exec-mount",
        tests: "the kubelet's root, hostlet's own tree and the CNI plugins are not on file systems mounted noexec, nosuid or ro",
        weight: ERROR,
        remedy: "mount -o remount,rw,exec,suid MOUNT, and the same in /etc/fstab",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(mounted_how),
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
    /// The kubelet watches it, and evicts pods when it runs full.
    watched: bool,
}

fn targets(subject: &Subject) -> Result<Vec<Target>, Unclear> {
    let root = &subject.settings.kubelet.root_directory;
    let all = [
        (subject.places.home.as_path(), STORE, false),
        (subject.places.cache.as_path(), DOWNLOADS, false),
        (root.as_path(), KUBELET, true),
    ];
    let mut targets: Vec<Target> = Vec::new();
    for (directory, needed, watched) in all {
        let file_system = FileSystem::of(directory)?;
        match targets.iter_mut().find(|target| target.file_system.device == file_system.device) {
            Some(target) => {
                target.directories.push(directory.to_owned());
                target.needed += needed;
                target.watched |= watched;
                // One file system may be mounted twice, once writable.
                target.file_system.read_only |= file_system.read_only;
            }
            None => targets.push(Target { file_system, directories: vec![directory.to_owned()], needed, watched }),
        }
    }
    Ok(targets)
}

impl Target {
    fn names(&self) -> String {
        self.directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn room(subject: &Subject) -> Looked {
    let line = eviction_line(subject);
    let (mut failures, mut warnings, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    for target in targets(subject)? {
        let FileSystem { free, total, read_only, .. } = target.file_system;
        let evicts_below = if target.watched { line.of(total) } else { 0 };
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

/// Below what the kubelet evicts: a share of the file system, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    Share(f64),
    Bytes(u64),
}

impl Line {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "sizes of disks")]
    fn of(self, total: u64) -> u64 {
        match self {
            Self::Share(share) => (total as f64 * share) as u64,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// `nodefs.available` of the configured evictionHard, else the kubelet's default of 10%.
fn eviction_line(subject: &Subject) -> Line {
    let configured = subject.kubelet_field("evictionHard").and_then(|map| map.get("nodefs.available")).and_then(Value::as_str);
    configured.and_then(parse_line).unwrap_or(Line::Share(0.10))
}

/// A percentage, or a quantity with one of the suffixes that Kubernetes has for bytes.
fn parse_line(text: &str) -> Option<Line> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(|p| Line::Share(p / 100.0));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).map(Line::Bytes)
}

fn inodes(subject: &Subject) -> Looked {
    let mut seen = Vec::new();
    for target in targets(subject)? {
        let FileSystem { free_inodes: Some(free), total_inodes: total, .. } = target.file_system else { continue };
        if free < total / 20 {
            return Ok(Judgement::failure(format!("{}: {free} free of {total}", target.names())));
        }
        seen.push(format!("{}: {free} free of {total}", target.names()));
    }
    Ok(Judgement::pass(if seen.is_empty() { "these file systems do not count them".to_owned() } else { seen.join("\n") }))
}

fn mounted_how(subject: &Subject) -> Looked {
    let directories: [&Path; 3] =
        [&subject.settings.kubelet.root_directory, &subject.places.home, &subject.places.cni_executables];
    let mut found = Vec::new();
    let mut remedies = Vec::new();
    for directory in directories {
        let FileSystem { read_only, no_exec, no_suid, existing, .. } = FileSystem::of(directory)?;
        let flags: Vec<_> = [(read_only, "ro", "rw"), (no_exec, "noexec", "exec"), (no_suid, "nosuid", "suid")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eviction_line_is_a_share_or_a_size() {
        assert_eq!(parse_line("15%"), Some(Line::Share(0.15)));
        assert_eq!(parse_line("1Gi"), Some(Line::Bytes(1 << 30)));
        assert_eq!(parse_line("500M"), Some(Line::Bytes(500_000_000)));
        for bad in ["", "x", "1Gib", "101%", "-5%", "99999999999999999999"] {
            assert_eq!(parse_line(bad), None, "{bad}");
        }
        assert_eq!(Line::Share(0.1).of(1000), 100);
    }
}
