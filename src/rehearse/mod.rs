//! The whole install, for real, on a throwaway copy of this machine; and the machines that tests use.

mod layer;
mod machine;
mod outcome;
mod rehearsal;
mod scenery;
mod snapshot;

pub use layer::Layer;
pub use machine::{ADDRESS, GATEWAY, INTERFACE, MARKER, Machine, MachineOptions};
pub use outcome::{Installed, Outcome, Unit};
pub use rehearsal::{Rehearsal, RehearsalOptions, run};
pub use scenery::{Scene, serve_stand_ins, set_up_stand_ins};
pub use snapshot::{Difference, Snapshot};

use crate::host::{container::ContainerError, files::FileError, process::ProcessError};

/// A rehearsal could not take place.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// The copy could not be made.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A program could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another rehearsal prepares the same packages, and waiting for it failed.
    #[error("waiting for another rehearsal to prepare its packages: {0}")]
    Lock(std::io::Error),
    /// Ctrl-C, or another signal to end.
    #[error("interrupted; the copy is gone and this machine is as it was")]
    Interrupted,
    /// Signals cannot be watched for.
    #[error("watching for signals: {0}")]
    Signal(std::io::Error),
    /// The artifacts that the mirror serves are not those that were to be made.
    #[error("reading which artifacts were made: {0}")]
    Artifacts(serde_json::Error),
    /// Not a Debian.
    #[error(
        "/var/lib/dpkg/status does not exist: a rehearsal installs containerd into its copy with apt, and needs Debian or Ubuntu"
    )]
    NoApt,
}
