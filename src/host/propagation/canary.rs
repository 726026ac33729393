//! The canary: a tiny tmpfs in a fresh directory under the root, mounted and unmounted by a thread of its own.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::SystemTime,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::host::{
    checkpoint::checkpoint,
    files::{self, FileError},
    mounts::{MountTable, Process, TemporaryMount, Tmpfs},
};

use super::{Observer, PropagationError, sweep};

/// What the name of the directory starts with.
pub(super) const DIRECTORY: &str = ".hostlet-canary-";
/// What the source of the tmpfs starts with.
pub(super) const SOURCE: &str = "hostlet-canary-";

/// A mounted canary. It goes when this is dropped, whatever the reason.
#[derive(Debug)]
pub(super) struct Canary {
    path: PathBuf,
    source: String,
    release: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<Result<(), PropagationError>>>,
}

impl Canary {
    /// Mounts it, in the mounter's namespace where there is one. A thread does it: entering a namespace cannot be undone
    /// on the caller's, which may be a pool's.
    pub(super) fn mount(root: &Path, mounter: Option<&Observer>) -> Result<Self, PropagationError> {
        let name = unique();
        let path = root.join(format!("{DIRECTORY}{name}"));
        let source = format!("{SOURCE}{name}");
        let (release, released) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let keeper = Keeper { root: root.to_owned(), path: path.clone(), source: source.clone(), mounter: mounter.cloned() };
        let thread = thread::Builder::new()
            .name("canary".to_owned())
            .spawn(move || keeper.keep(&ready, &released))
            .map_err(|source| PropagationError::Namespace { doing: "starting a thread for the canary".to_owned(), source })?;
        let canary = Self { path, source, release: Some(release), thread: Some(thread) };
        // A thread that failed hangs up instead.
        if is_ready.recv().is_ok() { Ok(canary) } else { Err(canary.remove().err().unwrap_or(PropagationError::Panicked)) }
    }

    /// Its source, which no other mount has.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is what one finds at its path: hidden below another mount it is of no use.
    pub(super) fn is_seen(&self, table: &MountTable) -> bool {
        table
            .covering(&self.path)
            .is_some_and(|mount| mount.mount_point == self.path && mount.source.as_os_str() == self.source.as_str())
    }

    /// Unmounts it and removes its directory.
    pub(super) fn remove(mut self) -> Result<(), PropagationError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), PropagationError> {
        drop(self.release.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(PropagationError::Panicked),
            None => Ok(()),
        }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
    }
}

/// Whether the canary is anywhere in a table.
pub(super) fn is_present(source: &str, table: &MountTable) -> bool {
    table.iter().any(|mount| mount.source.as_os_str() == source)
}

/// What the thread works on.
struct Keeper {
    root: PathBuf,
    path: PathBuf,
    source: String,
    mounter: Option<Observer>,
}

impl Keeper {
    fn keep(&self, ready: &mpsc::Sender<()>, released: &mpsc::Receiver<()>) -> Result<(), PropagationError> {
        if let Some(mounter) = &self.mounter {
            enter(mounter)?;
            sweep::sweep(&self.root)?;
        }
        let directory = Directory::create(&self.path)?;
        checkpoint("canary: its directory is there");
        let mount = TemporaryMount::tmpfs(&self.path, &Tmpfs { source: &self.source, kibibytes: 4 })?;
        checkpoint("canary: it is mounted");
        if ready.send(()).is_ok() {
            // Nobody ever sends: the other side hangs up.
            let _ = released.recv();
        }
        mount.remove()?;
        checkpoint("canary: it is unmounted");
        directory.remove()
    }
}

/// The canary's directory; removed when dropped.
struct Directory<'a>(Option<&'a Path>);

impl<'a> Directory<'a> {
    fn create(path: &'a Path) -> Result<Self, PropagationError> {
        fs::DirBuilder::new().mode(0o700).create(path).map_err(FileError::doing("creating", path))?;
        Ok(Self(Some(path)))
    }

    fn remove(mut self) -> Result<(), PropagationError> {
        self.0.take().map_or(Ok(()), |path| Ok(fs::remove_dir(path).map_err(FileError::doing("removing", path))?))
    }
}

impl Drop for Directory<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Takes the calling thread into the mount namespace of a process.
fn enter(mounter: &Observer) -> Result<(), PropagationError> {
    let failed = |doing: &str| {
        let doing = format!("{doing} the mount namespace of {} (pid {})", mounter.name, mounter.pid);
        move |errno: nix::Error| PropagationError::Namespace { doing, source: errno.into() }
    };
    let path = Process::Pid(mounter.pid).directory().join("ns/mnt");
    let Some(namespace) = files::if_present(files::open(&path))? else {
        return Err(PropagationError::Ended { name: mounter.name.clone(), pid: mounter.pid });
    };
    // setns(2): a thread that shares its root and working directory with others cannot enter a mount namespace.
    unshare(CloneFlags::CLONE_FS).map_err(failed("preparing to enter"))?;
    setns(namespace, CloneFlags::CLONE_NEWNS).map_err(failed("entering"))
}

/// A name that no other canary has: process, time and count. It need not be hard to guess: the directory is created
/// anew, in a directory that only root writes to.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{count:x}", std::process::id(), now.as_nanos())
}
