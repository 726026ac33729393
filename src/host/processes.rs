//! Running processes, and the systemd unit or container that each belongs to.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::files::{self, FileError};

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id in this pid namespace.
    pub pid: u32,
    /// The kernel's name for it, at most 15 characters.
    pub name: String,
    /// The file it executes, where that can be seen.
    pub executable: Option<PathBuf>,
    /// Its control group.
    pub control_group: String,
}

impl Process {
    /// What is known of a process; `None` when it has ended.
    #[must_use]
    pub fn look(pid: u32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let name = files::read_text(&directory.join("comm")).ok()?.trim_end().to_owned();
        let groups = files::read_text(&directory.join("cgroup")).unwrap_or_default();
        Some(Self {
            pid,
            name,
            executable: fs::read_link(directory.join("exe")).ok(),
            control_group: control_group(&groups).to_owned(),
        })
    }

    /// All processes of this pid namespace.
    pub fn all() -> Result<Vec<Self>, FileError> {
        Ok(pids()?.into_iter().filter_map(Self::look).collect())
    }

    /// The systemd unit it belongs to.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        unit(&self.control_group)
    }

    /// Its arguments; empty for a kernel thread.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let raw = files::read(Path::new(&format!("/proc/{}/cmdline", self.pid))).unwrap_or_default();
        let text = String::from_utf8_lossy(&raw).into_owned();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// The variables it was started with, as `NAME=value`.
    #[must_use]
    pub fn environment(&self) -> Vec<String> {
        let raw = files::read(Path::new(&format!("/proc/{}/environ", self.pid))).unwrap_or_default();
        String::from_utf8_lossy(&raw).split_terminator('\0').map(str::to_owned).collect()
    }

    /// Which of the kernel's namespaces of this kind (`mnt`, `net` ...) it is in, as the kernel names it.
    pub fn namespace(&self, kind: &str) -> Result<PathBuf, FileError> {
        namespace(&self.pid.to_string(), kind)
    }

    /// Whether its control group is that of a pod or of a container.
    #[must_use]
    pub fn is_in_container(&self) -> bool {
        ["kubepods", "docker", "cri-containerd", "crio-", "libpod", "/lxc", "nspawn"]
            .iter()
            .any(|mark| self.control_group.contains(mark))
    }

    /// Whether its control group is that of a pod.
    #[must_use]
    pub fn is_in_pod(&self) -> bool {
        self.control_group.contains("kubepods")
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit() {
            Some(unit) => write!(f, "{} (pid {}, {unit})", self.name, self.pid),
            None => write!(f, "{} (pid {})", self.name, self.pid),
        }
    }
}

/// The processes that have something at or below a path open, executed, mapped, or as their directory: those that keep a
/// mount busy. Processes that end meanwhile are left out.
#[must_use]
pub fn users_of(path: &Path) -> Vec<Process> {
    pids().unwrap_or_default().into_iter().filter(|pid| uses(*pid, path)).filter_map(Process::look).collect()
}

fn uses(pid: u32, path: &Path) -> bool {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let leads_there = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(path));
    let descriptors = || files::names(&directory.join("fd")).unwrap_or_default();
    let mapped = || {
        let maps = files::read(&directory.join("maps")).unwrap_or_default();
        let maps = String::from_utf8_lossy(&maps).into_owned();
        maps.lines()
            .filter_map(|line| line.find('/').map(|at| line[at..].to_owned()))
            .any(|file| Path::new(&file).starts_with(path))
    };
    ["cwd", "root", "exe"].iter().any(|name| leads_there(directory.join(name)))
        || descriptors().iter().any(|name| leads_there(directory.join("fd").join(name)))
        || mapped()
}

/// The namespace of a process, or of `self`.
pub fn namespace(process: &str, kind: &str) -> Result<PathBuf, FileError> {
    let path = PathBuf::from(format!("/proc/{process}/ns/{kind}"));
    fs::read_link(&path).map_err(FileError::doing("reading", path))
}

/// The ids of all processes, ascending.
pub fn pids() -> Result<Vec<u32>, FileError> {
    let mut pids: Vec<u32> = files::names(Path::new("/proc"))?.iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The path in systemd's own hierarchy: the only one of cgroup v2, or the named one of v1.
fn control_group(groups: &str) -> &str {
    let paths = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (controllers == wanted && path != "/").then_some(path)
        })
    };
    paths("name=systemd").or_else(|| paths("")).unwrap_or("/")
}

/// The outermost component that is a unit and no slice, as systemd itself finds it (cg_path_get_unit).
fn unit(control_group: &str) -> Option<&str> {
    let component =
        control_group.split('/').find(|part| !part.is_empty() && *part != ".." && part.strip_suffix(".slice").is_none())?;
    [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|kind| component.ends_with(kind)).then_some(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_outermost_one_that_is_no_slice() {
        for (group, expected) in [
            ("/system.slice/containerd.service", Some("containerd.service")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", Some("user@1000.service")),
            ("/kubepods.slice/kubepods-burstable.slice/cri-containerd-ab.scope", Some("cri-containerd-ab.scope")),
            ("/init.scope", Some("init.scope")),
            ("/docker/ab", None),
            ("/", None),
        ] {
            assert_eq!(unit(group), expected, "{group}");
        }
    }

    #[test]
    fn the_control_group_is_read_from_either_version() {
        assert_eq!(control_group("0::/system.slice/a.service\n"), "/system.slice/a.service");
        assert_eq!(control_group("4:memory:/b\n1:name=systemd:/system.slice/a.service\n0::/\n"), "/system.slice/a.service");
        assert_eq!(control_group("4:memory:/b\n1:name=systemd:/\n0::/system.slice/a.service\n"), "/system.slice/a.service");
        assert_eq!(control_group(""), "/");
    }

    #[test]
    fn this_process_is_among_all_processes() {
        let own = Process::look(std::process::id()).unwrap();
        assert!(Process::all().unwrap().iter().any(|process| process.pid == own.pid));
        assert!(own.executable.is_some() && !own.arguments().is_empty());
    }
}
