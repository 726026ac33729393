//! Whether a mount made under the kubelet's root directory reaches those who need to see it: proved with a canary.
//!
//! The canary is a tiny tmpfs in a fresh directory under the root, as a secret is. It must appear, as the topmost mount
//! of its path, in a slave child of hostlet's namespace (what a container with HostToContainer propagation has) and with
//! each observer, and must disappear there after it was unmounted. Looking at `shared:` alone is not enough: a sandboxed
//! service that made its copy shared again shows `shared:55 master:54` and reaches nobody.
//!
//! Promise: nothing stays, also after a panic; what a killed run left is removed by the next one. Foreign files are not
//! touched. Gap: a root directory that links to elsewhere in an observer's namespace is looked for under hostlet's path.

mod canary;
mod finding;
mod look;
mod slave;
mod sweep;

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::host::{
    files::{self, FileError},
    mounts::{MountError, MountTable, MountTableError, Process},
    namespaces,
};

use canary::Canary;
pub use finding::{Defect, NotPropagated, Unreached};
pub use look::{Link, Look, look, resolve};
use slave::SlaveChild;

/// A process that has to see what is mounted under the root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer {
    /// As messages name it: `containerd`.
    pub name: String,
    /// Its main process.
    pub pid: u32,
}

/// Mounts under the root directory reach everybody asked for. Only the proof makes it.
#[derive(Debug, Clone)]
pub struct Proof {
    witnesses: Vec<String>,
    took: Duration,
}

impl Proof {
    /// Who saw the canary come and go.
    #[must_use]
    pub fn witnesses(&self) -> &[String] {
        &self.witnesses
    }

    /// How long it took.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }
}

/// It could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum PropagationError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Mounting or unmounting failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A table of mounts could not be had.
    #[error(transparent)]
    Table(#[from] MountTableError),
    /// The process that was to see, or to mount, has ended.
    #[error("{name} (pid {pid}) ended while propagation was proved with it")]
    Ended {
        /// Who.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// A namespace could not be made or entered.
    #[error("{doing}: {source}")]
    Namespace {
        /// What was tried, as a gerund.
        doing: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Another hostlet is proving under the same directory, and does not come to an end.
    #[error("another hostlet has been proving propagation under {} for {} s: wait for it or end it", .0.display(), PATIENCE.as_secs())]
    Busy(PathBuf),
    /// A thread of the proof panicked: a bug.
    #[error("a thread of the propagation proof panicked")]
    Panicked,
}

/// How long another proof under the same root is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the canary may take to come or to go. Propagation happens within mount(2); only the reading of tables can lag.
const DEADLINE: Duration = Duration::from_millis(500);

/// Removes the canaries that killed runs left under `root`, which need not exist. Blocking.
pub fn sweep_canaries(root: &Path) -> Result<(), PropagationError> {
    let root = resolve(root)?;
    if !root.is_dir() {
        return Ok(());
    }
    let _lock = lock(&root)?;
    sweep::sweep(&root)
}

/// Proves that what hostlet mounts under `root` is seen by a slave child namespace and by the observers. Blocking.
pub fn prove(root: &Path, observers: &[Observer]) -> Result<Result<Proof, NotPropagated>, PropagationError> {
    prove_with(root, None, observers)
}

/// Proves that what a process mounts under `root`, in its own mount namespace, is seen by the host, by a slave child
/// namespace and by the observers: with the running kubelet, that its secrets arrive. Blocking.
pub fn prove_from(
    root: &Path,
    mounter: &Observer,
    observers: &[Observer],
) -> Result<Result<Proof, NotPropagated>, PropagationError> {
    prove_with(root, Some(mounter), observers)
}

/// Both ways, for a running kubelet: the secrets that it mounts must come out to the host and the observers, and what the
/// host mounts (a storage driver's volumes) must come in. Blocking.
pub fn prove_both_ways(
    root: &Path,
    kubelet: &Observer,
    observers: &[Observer],
) -> Result<Result<Proof, NotPropagated>, PropagationError> {
    match prove_from(root, kubelet, observers)? {
        Ok(proof) => Ok(prove(root, std::slice::from_ref(kubelet))?.map(|_| proof)),
        Err(finding) => Ok(Err(finding)),
    }
}

fn prove_with(
    root: &Path,
    mounter: Option<&Observer>,
    observers: &[Observer],
) -> Result<Result<Proof, NotPropagated>, PropagationError> {
    let started = Instant::now();
    let root = resolve(root)?;
    if let Some(finding) = outside_of_the_hosts_namespace(&root)? {
        return Ok(Err(finding));
    }
    let _lock = lock(&root)?;
    sweep::sweep(&root)?;
    let slave = SlaveChild::start()?;
    let witnesses = Witness::all(mounter, &slave, observers);
    let canary = Canary::mount(&root, mounter)?;
    let blind = wait_until_none(&witnesses, |table| !canary.is_seen(table))?;
    let finding = NotPropagated::judge(Defect::NotSeen, &root, mounter, &blind)?;
    let source = canary.source().to_owned();
    canary.remove()?;
    if let Some(finding) = finding {
        return Ok(Err(finding));
    }
    let stuck = wait_until_none(&witnesses, |table| canary::is_present(&source, table))?;
    if let Some(finding) = NotPropagated::judge(Defect::NotGone, &root, mounter, &stuck)? {
        return Ok(Err(finding));
    }
    Ok(Ok(Proof { witnesses: witnesses.into_iter().map(|witness| witness.name).collect(), took: started.elapsed() }))
}

/// hostlet in a namespace of its own proves nothing about the host.
fn outside_of_the_hosts_namespace(root: &Path) -> Result<Option<NotPropagated>, PropagationError> {
    let own = namespaces::mount_namespace(Process::Own)?;
    let init = namespaces::mount_namespace(Process::Pid(1))?;
    Ok((own != init).then(|| NotPropagated::in_another_namespace(root, own, init)))
}

/// One proof at a time: what looks like a leftover could be another run's canary. The kernel gives the lock back when
/// its holder is killed.
fn lock(root: &Path) -> Result<File, PropagationError> {
    let directory = files::open(root)?;
    let started = Instant::now();
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Err(PropagationError::Busy(root.to_owned())),
            Err(TryLockError::Error(source)) => return Err(FileError::doing("locking", root)(source).into()),
        }
    }
}

/// Somebody whose table of mounts is looked at.
#[derive(Debug, Clone)]
struct Witness {
    name: String,
    process: Process,
}

impl Witness {
    fn all(mounter: Option<&Observer>, slave: &SlaveChild, observers: &[Observer]) -> Vec<Self> {
        let host = Self { name: "the host".to_owned(), process: Process::Pid(1) };
        let child = Self { name: "a slave child namespace".to_owned(), process: slave.process() };
        let others = observers.iter().map(|observer| Self { name: observer.name.clone(), process: Process::Pid(observer.pid) });
        mounter.map(|_| host).into_iter().chain([child]).chain(others).collect()
    }

    fn table(&self) -> Result<MountTable, PropagationError> {
        MountTable::of(self.process).map_err(|error| match (error, self.process) {
            (MountTableError::Gone(_), Process::Pid(pid)) => PropagationError::Ended { name: self.name.clone(), pid },
            (error, _) => error.into(),
        })
    }
}

/// The witnesses of whom the condition still holds when the deadline has passed.
fn wait_until_none(witnesses: &[Witness], condition: impl Fn(&MountTable) -> bool) -> Result<Vec<Witness>, PropagationError> {
    let started = Instant::now();
    loop {
        let mut remaining = Vec::new();
        for witness in witnesses {
            if condition(&witness.table()?) {
                remaining.push(witness.clone());
            }
        }
        if remaining.is_empty() || started.elapsed() > DEADLINE {
            return Ok(remaining);
        }
        thread::sleep(Duration::from_millis(10));
    }
}
