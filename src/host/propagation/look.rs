//! Propagation as the tables tell it, without mounting anything: for checks that must not change the host.
//!
//! Gap: what looks linked may still not arrive (facts: shared again after it was made a slave). Only the canary proves.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::host::{
    files::{self, FileError},
    mounts::{Mount, MountTable, MountTableError, Need, Process, need},
    namespaces,
};

use super::{Observer, PropagationError};

/// How the namespace of an observer hangs together with the host's, at the root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It is the same namespace.
    SameNamespace,
    /// Another namespace in the same peer group: mounts travel both ways.
    Peer,
    /// It receives the host's mounts; what is mounted there reaches nobody on the host. Enough for a container runtime,
    /// not for a kubelet.
    ReceivesOnly,
    /// Nothing travels.
    Severed,
}

impl Link {
    /// Whether what is mounted on the host arrives there.
    #[must_use]
    pub const fn receives(self) -> bool {
        !matches!(self, Self::Severed)
    }

    /// Whether what is mounted there arrives on the host.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SameNamespace | Self::Peer)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameNamespace => "in the host's mount namespace",
            Self::Peer => "in a mount namespace of its own, linked both ways",
            Self::ReceivesOnly => "in a mount namespace of its own, which only receives",
            Self::Severed => "in a mount namespace of its own, which is cut off",
        })
    }
}

/// What the tables tell.
#[derive(Debug, Clone)]
pub struct Look {
    /// The root directory with links in its path resolved; it may not exist yet.
    pub root: PathBuf,
    /// The mount that covers it on the host.
    pub covering: Mount,
    /// What it needs to be shared.
    pub need: Need,
    /// hostlet is in PID 1's mount namespace. Where it is not, the rest says little.
    pub on_the_host: bool,
    /// The observers; none for one that has ended.
    pub links: Vec<(Observer, Option<Link>)>,
}

impl Look {
    /// Whether mounts below the root directory are shared by the host as it is.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.covering.propagation.is_shared()
    }
}

/// Looks at the root directory, which may not exist yet, and at how the observers are linked to the host. Blocking, brief.
pub fn look(root: &Path, observers: &[Observer]) -> Result<Look, PropagationError> {
    let root = resolve(root)?;
    let table = MountTable::of(Process::Pid(1))?;
    let covering = table.covering(&root).cloned().ok_or_else(|| PropagationError::Namespace {
        doing: format!("looking for the mount that covers {}", root.display()),
        source: io::Error::from(io::ErrorKind::NotFound),
    })?;
    let links = observers
        .iter()
        .map(|observer| Ok((observer.clone(), link(&root, &covering, observer)?)))
        .collect::<Result<_, PropagationError>>()?;
    let on_the_host = namespaces::mount_namespace(Process::Own)? == namespaces::mount_namespace(Process::Pid(1))?;
    Ok(Look { need: need(&table, &root), root, covering, on_the_host, links })
}

fn link(root: &Path, host: &Mount, observer: &Observer) -> Result<Option<Link>, PropagationError> {
    let process = Process::Pid(observer.pid);
    let Some(namespace) = files::if_present(namespaces::mount_namespace(process))? else { return Ok(None) };
    if namespace == namespaces::mount_namespace(Process::Pid(1))? {
        return Ok(Some(Link::SameNamespace));
    }
    match MountTable::of(process) {
        Ok(table) => Ok(Some(table.covering(root).map_or(Link::Severed, |there| compare(host, there)))),
        Err(MountTableError::Gone(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Two mounts of different namespaces are linked through the number of a peer group.
fn compare(host: &Mount, there: &Mount) -> Link {
    let Some(group) = host.propagation.shared else { return Link::Severed };
    let there = there.propagation;
    if there.shared == Some(group) {
        Link::Peer
    } else if there.master == Some(group) || there.propagate_from == Some(group) {
        Link::ReceivesOnly
    } else {
        Link::Severed
    }
}

/// Resolves the links in a path of which the end may not exist yet.
pub fn resolve(path: &Path) -> files::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(resolved) => Ok(resolved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
            _ => Ok(path.to_owned()),
        },
        Err(error) => Err(FileError::doing("resolving", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(propagation: &str) -> Mount {
        let line = format!("21 1 8:1 / / rw {propagation}- ext4 a rw\n");
        MountTable::parse(line.as_bytes()).unwrap().covering(Path::new("/")).unwrap().clone()
    }

    #[test]
    fn namespaces_are_linked_through_their_peer_groups() {
        let host = mount("shared:54 ");
        assert_eq!(compare(&host, &mount("shared:54 ")), Link::Peer);
        assert_eq!(compare(&host, &mount("shared:54 master:1 ")), Link::Peer);
        assert_eq!(compare(&host, &mount("master:54 ")), Link::ReceivesOnly);
        assert_eq!(compare(&host, &mount("master:60 propagate_from:54 ")), Link::ReceivesOnly);
        assert_eq!(compare(&host, &mount("shared:55 master:54 ")), Link::ReceivesOnly, "the false pass: shared again");
        assert_eq!(compare(&host, &mount("shared:55 ")), Link::Severed);
        assert_eq!(compare(&host, &mount("")), Link::Severed);
        assert_eq!(compare(&mount(""), &mount("")), Link::Severed);
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        std::os::unix::fs::symlink(".", real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/new/kubelet")).unwrap(), real.join("new/kubelet"));
    }
}
