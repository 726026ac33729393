//! Mounts as another process sees them, from its mountinfo: which one covers a path, and where its events go.
//!
//! Structure only. That propagation works is proved with a canary, elsewhere; this look changes nothing.

use std::path::{Path, PathBuf};

use procfs::{
    ProcError,
    process::{MountInfo, MountOptFields, Process},
};

/// The mount that covers a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// What is mounted there.
    pub source: String,
    /// `ext4`, `tmpfs` ...
    pub file_system: String,
    /// The peer group that it is a member of (`shared:N`).
    pub shared: Option<u32>,
    /// The peer group that it receives from (`master:N`).
    pub master: Option<u32>,
    /// Whether binding it is forbidden.
    pub unbindable: bool,
}

/// The mount that covers an absolute, resolved path in the namespace of a process.
pub fn covering(pid: u32, path: &Path) -> Result<Option<Covering>, ProcError> {
    let pid = i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?;
    let mounts: Vec<_> = Process::new(pid)?.mountinfo()?.into_iter().collect();
    Ok(top(&mounts, path).map(describe))
}

/// Walks the path as the kernel does: from the root, at each mount into the child whose mount point comes first on the
/// path. A mount that something was mounted over is left that way, and one hidden below it is never entered.
fn top<'a>(mounts: &'a [MountInfo], path: &Path) -> Option<&'a MountInfo> {
    let is_root = |mount: &&MountInfo| {
        mount.mount_point == Path::new("/")
            && (mount.pid == mount.mnt_id || !mounts.iter().any(|other| other.mnt_id == mount.pid))
    };
    let mut current = mounts.iter().find(is_root)?;
    // Each step enters another mount: there cannot be more steps than mounts.
    for _ in 0..mounts.len() {
        let children = mounts.iter().filter(|mount| mount.pid == current.mnt_id && mount.mnt_id != current.mnt_id);
        match children
            .filter(|mount| path.starts_with(&mount.mount_point))
            .min_by_key(|mount| mount.mount_point.as_os_str().len())
        {
            Some(child) => current = child,
            None => break,
        }
    }
    Some(current)
}

fn describe(mount: &MountInfo) -> Covering {
    let mut covering = Covering {
        mount_point: mount.mount_point.clone(),
        source: mount.mount_source.clone().unwrap_or_default(),
        file_system: mount.fs_type.clone(),
        shared: None,
        master: None,
        unbindable: false,
    };
    for field in &mount.opt_fields {
        match field {
            MountOptFields::Shared(group) => covering.shared = Some(*group),
            MountOptFields::Master(group) => covering.master = Some(*group),
            MountOptFields::Unbindable => covering.unbindable = true,
            MountOptFields::PropagateFrom(_) => {}
        }
    }
    covering
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(lines: &[&str]) -> Vec<MountInfo> {
        lines.iter().map(|line| MountInfo::from_line(line).unwrap()).collect()
    }

    #[test]
    fn the_top_of_a_stack_covers_and_what_is_hidden_below_it_does_not() {
        let table = mounts(&[
            "21 1 8:1 / / rw shared:1 - ext4 /dev/a rw",
            "30 21 8:2 / /var/lib/kubelet rw shared:5 - ext4 /dev/b rw",
            "31 21 8:3 / /var rw - ext4 /dev/c rw",
            "32 31 8:4 / /var/lib rw master:9 - ext4 /dev/d rw",
            "33 32 8:4 / /var/lib rw unbindable - ext4 /dev/e rw",
        ]);
        let found = describe(top(&table, Path::new("/var/lib/kubelet")).unwrap());
        assert_eq!((found.source.as_str(), found.unbindable), ("/dev/e", true));
        assert_eq!(describe(top(&table, Path::new("/variable")).unwrap()).shared, Some(1));
    }

    #[test]
    fn this_process_has_a_mount_that_covers_proc() {
        let found = covering(std::process::id(), Path::new("/proc/self")).unwrap().unwrap();
        assert_eq!(found.mount_point, Path::new("/proc"));
    }
}
