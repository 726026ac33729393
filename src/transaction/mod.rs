//! Changes of the host that happen whole or not at all: a journal, the changes with their inverses, and recovery.
//!
//! Promise: what undoes a change is on the disk before the change is made, so that a run that is killed at any instant can
//! be undone by the next one. Undoing goes on after a step of it failed, and reports every such failure. What was running
//! before runs afterwards, on what it read before; it is restarted only if it was started since the run began.
//! Gap: kernel modules stay loaded. A file that is restored gets content, mode, owner and time back, and no extended attributes.

mod carry_out;
mod change;
pub mod journal;
mod perform;
mod recover;
mod sweep;
#[cfg(test)]
mod tests;
mod undo;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use carry_out::Undoing;
pub use change::{Change, Content};
use journal::{Header, Journal, JournalError};
pub use perform::started_unit;
pub use recover::{LeftBehind, Undone, recover};
pub use sweep::sweep;
pub use undo::{Prior, Undo};

use crate::{
    health::Healthy,
    host::{
        checkpoint::checkpoint,
        files::{self, FileError},
        journal::quoted,
        look,
        moment::Moment,
        mounts::{MountError, MountTableError, VolumesError},
        systemd::{JobFailed, Systemd, SystemdError},
    },
    output::{Event, Events},
    plan::Step,
};

/// A change could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The journal could not be written: nothing is changed without it.
    #[error("writing the journal: {0}")]
    Journal(#[from] JournalError),
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// systemd tried, and it failed.
    #[error("{failed}{}", quoted(&failed.journal))]
    Job {
        /// What, and how.
        failed: Box<JobFailed>,
    },
    /// A mount could not be changed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The mounts could not be read.
    #[error(transparent)]
    Mounts(#[from] MountTableError),
    /// Pods' volumes could not be listed or unmounted.
    #[error(transparent)]
    Volumes(#[from] VolumesError),
    /// A file that was copied is not the one that was meant.
    #[error("{} was replaced while hostlet ran; run it again", path.display())]
    Replaced {
        /// Which.
        path: PathBuf,
    },
    /// A kernel module could not be loaded.
    #[error("loading kernel module {name}: {said}; load it with `modprobe {name}`, or use a kernel that has it")]
    Module {
        /// Which.
        name: String,
        /// What modprobe said.
        said: String,
    },
    /// A directory or a device is where a file shall be.
    #[error("{} is not a file, so hostlet does not replace it; move it away and run again", path.display())]
    InTheWay {
        /// Where.
        path: PathBuf,
    },
    /// A unit was to be changed where there is no systemd.
    #[error("there is no connection to systemd")]
    NoSystemd,
}

impl From<JobFailed> for ChangeError {
    fn from(failed: JobFailed) -> Self {
        Self::Job { failed: Box::new(failed) }
    }
}

/// Where a transaction keeps its things, and whom it talks to.
#[derive(Debug, Clone)]
pub struct Ground {
    /// `/opt/hostlet`
    pub opt: PathBuf,
    /// `/var/lib/hostlet`
    pub state: PathBuf,
    /// The kubelet's root directory.
    pub root_directory: PathBuf,
    /// systemd; none where only files are changed.
    pub systemd: Option<Systemd>,
    /// How long systemd may take for a unit.
    pub job_deadline: Duration,
}

/// A run that changes the host. Dropped without [`commit`](Self::commit) or [`undo`](Self::undo), its journal stays, and the
/// next run undoes it.
pub struct Transaction {
    ground: Ground,
    backups: PathBuf,
    next_backup: u64,
    journal: Journal,
    undos: Vec<Undo>,
    since: Moment,
    events: Events,
}

impl Transaction {
    /// Begins: from here on every change is journalled.
    pub fn begin(ground: Ground, header: &Header, events: Events) -> Result<Self, ChangeError> {
        let backups = ground.state.join("backup");
        let missing = ground.state.ancestors().take_while(|path| !look::exists(path)).map(Path::to_owned);
        let missing: Vec<PathBuf> = missing.collect();
        checkpoint("transaction: before it begins");
        files::create_directory(&ground.state, 0o700)?;
        files::create_directory(&backups, 0o700)?;
        checkpoint("transaction: its directories");
        let since = Moment::now();
        let journal = Journal::create(&ground.state, &header.clone().begun(since.clone()))?;
        let mut transaction = Self { ground, backups, next_backup: 0, journal, undos: Vec::new(), since, events };
        if !missing.is_empty() {
            transaction.register(Undo::RemoveDirectories { paths: missing })?;
        }
        Ok(transaction)
    }

    /// Registers what undoes the starts and restarts of a plan before any of its changes is made: a unit may start by itself
    /// once what it reads has changed.
    pub async fn foresee(&mut self, steps: &[Step]) -> Result<(), ChangeError> {
        for step in steps {
            match &step.change {
                Change::StartUnit { unit } => self.register(Undo::StopUnit { unit: unit.clone() })?,
                Change::RestartUnit { .. } => {
                    for undo in self.inverse(&step.change).await? {
                        self.register(undo)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes one change of a plan.
    pub async fn apply(&mut self, step: &Step) -> Result<(), ChangeError> {
        let undos = self.inverse(&step.change).await?;
        for undo in undos {
            self.register(undo)?;
        }
        self.events.emit(Event::Change { description: step.change.to_string(), reason: step.reason.clone() });
        self.perform(&step.change).await?;
        checkpoint(format_args!("change: made: {}", step.change));
        Ok(())
    }

    /// Registers what undoes something that the caller is about to do itself.
    pub fn register(&mut self, undo: Undo) -> Result<(), ChangeError> {
        self.journal.record(&undo)?;
        self.undos.push(undo);
        Ok(())
    }

    /// Where generations and store lie.
    #[must_use]
    pub fn opt(&self) -> &Path {
        &self.ground.opt
    }

    /// The directories that this run made outside of hostlet's own, as far as they are undone by removing them when empty.
    #[must_use]
    pub fn directories_made(&self) -> Vec<PathBuf> {
        let own = [&self.ground.opt, &self.ground.state, &self.ground.root_directory];
        let made = self.undos.iter().filter_map(|undo| match undo {
            Undo::RemoveDirectories { paths } => Some(paths),
            _ => None,
        });
        made.flatten().filter(|path| !own.iter().any(|own| path.starts_with(own))).cloned().collect()
    }

    /// Writes a file of hostlet's own, such as what is committed: journalled like any change, and no event for people.
    pub fn remember(&mut self, path: &Path, content: &[u8]) -> Result<(), ChangeError> {
        let undo = self.restore(path)?;
        self.register(undo)?;
        files::write(path, content, 0o600)?;
        checkpoint(format_args!("transaction: remembered: {}", path.display()));
        Ok(())
    }

    /// Ends the run: what it did stays. It takes what the health gate gave for each unit that was started. A run that cannot be
    /// ended so is undone.
    pub async fn commit(self, _proof: &[Healthy]) -> Result<(), (ChangeError, Undone)> {
        match self.journal.close() {
            Ok(()) => {
                recover::remove_backups(&self.backups);
                checkpoint("transaction: ended");
                Ok(())
            }
            Err(error) => Err((error.into(), self.undo().await)),
        }
    }

    /// Undoes all that was done.
    pub async fn undo(self) -> Undone {
        let Self { ground, undos, since, events, .. } = self;
        recover::undo_all(&ground, undos, &Undoing { since, at_boot: false }, &events).await
    }

    fn systemd(&self) -> Result<&Systemd, ChangeError> {
        self.ground.systemd.as_ref().ok_or(ChangeError::NoSystemd)
    }
}
