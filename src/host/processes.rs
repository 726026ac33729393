//! What can be learnt of a process: its name, program, mount namespace and unit.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use crate::{
    host::{
        files::{self, FileError},
        mounts::Process,
    },
    model::UnitName,
};

/// A mount namespace: two are the same exactly when these are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MountNamespace {
    device: u64,
    inode: u64,
}

impl MountNamespace {
    /// The number that `/proc/<pid>/ns/mnt` shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.inode
    }
}

/// The mount namespace of a process.
pub fn mount_namespace(process: Process) -> files::Result<MountNamespace> {
    let path = process.directory().join("ns/mnt");
    let metadata = fs::metadata(&path).map_err(FileError::doing("looking at", path))?;
    Ok(MountNamespace { device: metadata.dev(), inode: metadata.ino() })
}

/// The program that a process runs. A program whose file was replaced has ` (deleted)` at its end.
pub fn program(pid: u32) -> files::Result<PathBuf> {
    let path = directory(pid).join("exe");
    fs::read_link(&path).map_err(FileError::doing("looking at", path))
}

/// The short name of a process, at most 15 bytes.
pub fn name(pid: u32) -> files::Result<String> {
    let path = directory(pid).join("comm");
    let name = fs::read(&path).map_err(FileError::doing("reading", path))?;
    Ok(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// The unit that a process belongs to, where it belongs to one.
pub fn unit(pid: u32) -> files::Result<Option<UnitName>> {
    let path = directory(pid).join("cgroup");
    let content = fs::read(&path).map_err(FileError::doing("reading", path))?;
    Ok(unit_of_cgroup(&String::from_utf8_lossy(&content)))
}

/// Whether a process of this number exists. Zombies count.
#[must_use]
pub fn exists(pid: u32) -> bool {
    !matches!(fs::metadata(directory(pid)), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn directory(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// systemd's tree is that of the unified hierarchy (`0::`) or, with cgroup v1, that of `name=systemd`. Below the slices,
/// the first name is the unit's; a name that could be taken for a kernel file has `_` before it (systemd's cg_escape).
fn unit_of_cgroup(content: &str) -> Option<UnitName> {
    let tree = |wanted: fn(&str, &str) -> bool| {
        content.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            wanted(hierarchy, controllers).then_some(path)
        })
    };
    let path = tree(|_, controllers| controllers == "name=systemd").or_else(|| tree(|hierarchy, _| hierarchy == "0"))?;
    Path::new(path)
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .map(|name| name.strip_prefix('_').unwrap_or(name))
        .find(|name| Path::new(name).extension().is_none_or(|kind| kind != "slice"))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_first_name_below_the_slices() {
        let unit = |content: &str| unit_of_cgroup(content).map(|unit| unit.to_string());
        assert_eq!(unit("0::/system.slice/containerd.service\n").as_deref(), Some("containerd.service"));
        assert_eq!(unit("0::/user.slice/user-0.slice/session-1.scope\n").as_deref(), Some("session-1.scope"));
        assert_eq!(
            unit("0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-ab.scope/x\n").as_deref(),
            Some("cri-containerd-ab.scope")
        );
        assert_eq!(unit("12:cpu:/\n1:name=systemd:/system.slice/crio.service\n0::/\n").as_deref(), Some("crio.service"));
        assert_eq!(unit("0::/init.scope\n").as_deref(), Some("init.scope"));
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit("0::/docker/0123\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn a_process_knows_itself() {
        let own = std::process::id();
        assert_eq!(program(own).unwrap(), std::env::current_exe().unwrap());
        assert!(!name(own).unwrap().is_empty());
        assert_eq!(mount_namespace(Process::Pid(own)).unwrap(), mount_namespace(Process::Own).unwrap());
        assert!(exists(own) && !exists(u32::MAX));
        assert!(program(u32::MAX).unwrap_err().is_absent());
    }
}
