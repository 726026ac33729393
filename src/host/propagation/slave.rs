//! A mount namespace that only receives, as a container's with HostToContainer propagation, held by a thread.

use std::{
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, unshare};

use crate::host::mounts::{Process, make_slave};

use super::PropagationError;

/// The namespace lives as long as this.
#[derive(Debug)]
pub(super) struct SlaveChild {
    tid: u32,
    release: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<Result<(), PropagationError>>>,
}

impl SlaveChild {
    /// Makes the namespace: before the canary, or it would be copied instead of received.
    pub(super) fn start() -> Result<Self, PropagationError> {
        let (release, released) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("slave-child".to_owned())
            .spawn(move || hold(&ready, &released))
            .map_err(|source| PropagationError::Namespace { doing: "starting a thread for a namespace".to_owned(), source })?;
        if let Ok(tid) = is_ready.recv() {
            return Ok(Self { tid, release: Some(release), thread: Some(thread) });
        }
        match thread.join() {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(PropagationError::Panicked),
        }
    }

    /// Whose table to look at.
    pub(super) const fn process(&self) -> Process {
        Process::Thread(self.tid)
    }
}

impl Drop for SlaveChild {
    fn drop(&mut self) {
        drop(self.release.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn hold(ready: &mpsc::Sender<u32>, released: &mpsc::Receiver<()>) -> Result<(), PropagationError> {
    // It takes a copy of the root and working directory as well: unshare(2), CLONE_NEWNS implies CLONE_FS.
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| PropagationError::Namespace {
        doing: "making a mount namespace (it needs root with CAP_SYS_ADMIN)".to_owned(),
        source: errno.into(),
    })?;
    make_slave(Path::new("/"))?;
    let tid = u32::try_from(nix::unistd::gettid().as_raw()).unwrap_or_default();
    if ready.send(tid).is_ok() {
        let _ = released.recv();
    }
    Ok(())
}
