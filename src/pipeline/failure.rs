//! Why a run ended without doing what it should, and the exit code that says so (the design's table).

use super::{CannotRemember, NoWayBack};
use crate::{
    config::{ConfigError, kubeadm::NotAJoin},
    facts::FactsError,
    fetch::{FetchError, TrustedError},
    generation::StageError,
    health::{HealthError, Unhealthy, chain::Readiness},
    host::{api_server::NotDiscovered, capabilities, files::FileError, journal::quoted, lock::Held},
    mesh::MeshError,
    model::Component,
    output::Outcome,
    plan::{NotAskedFor, PlanError},
    preflight::Refused,
    rehearse::RehearseError,
    transaction::{
        ChangeError, LeftBehind, Undone,
        journal::{Header, JournalError},
    },
    uninstall::{UninstallError, Uninstalled},
};

impl From<TrustedError> for Failure {
    fn from(error: TrustedError) -> Self {
        match error {
            TrustedError::File(error) => Self::File(error),
            TrustedError::Line(error) => Self::Configuration(error),
        }
    }
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is not what it should be.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// There is no configuration.
    #[error(
        "there is no configuration at {0}; write one (`hostlet config example` prints a commented one), or name another with --config"
    )]
    NoConfiguration(String),
    /// What kubeadm has cannot be turned into a configuration.
    #[error(transparent)]
    NotAJoin(#[from] NotAJoin),
    /// A file of the user's is there already.
    #[error(
        "{0} is there already, and would be replaced; look at what would be written with --print, and replace it with --force"
    )]
    WouldReplace(String),
    /// The configuration does not fit this host.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file that the configuration names, or something about the host, cannot be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A file cannot be read or written before anything was changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cluster's authority was not found.
    #[error("discovering the authority of {server}: {error}\n  {}", error.remedy())]
    NotDiscovered {
        /// The API server.
        server: String,
        /// Why.
        error: Box<NotDiscovered>,
    },
    /// hostlet does not run as root.
    #[error("hostlet has to run as root to change the host; run it with sudo")]
    NotRoot,
    /// systemd does not answer.
    #[error("systemd does not answer: {0}; hostlet sets up units, so it needs a host that runs systemd (`systemctl status`)")]
    NoSystemd(String),
    /// The host is not fit.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A step between versions that has to be asked for.
    #[error(transparent)]
    NotAskedFor(#[from] NotAskedFor),
    /// The configuration does not let a version be remembered.
    #[error(transparent)]
    CannotRemember(#[from] CannotRemember),
    /// There is no previous generation to go back to, or it is damaged.
    #[error(transparent)]
    NoWayBack(#[from] NoWayBack),
    /// A bundle to standard output, and JSON as well.
    #[error("standard output cannot carry both the bundle and JSON; write the bundle to a file, or leave out --output json")]
    StreamWithJson,
    /// A digest of one processor's file, and a bundle for several.
    #[error(
        "sources.{0}.digest is of one processor's file, and the bundle shall be for several; make one bundle for each (--arch), \
         or leave the digest to a catalog: sources.catalog-file takes one of your own"
    )]
    PinnedForOne(Component),
    /// An artifact could not be obtained.
    #[error("{error}\n{}", error.remedy())]
    Fetch {
        /// Why.
        #[from]
        error: FetchError,
    },
    /// The journal of an earlier run cannot be read, so it cannot be undone.
    #[error("an earlier run did not finish, and its journal cannot be used: {0}")]
    Journal(#[from] JournalError),
    /// The host was changed, something failed, and the host is as it was.
    #[error("{0}\nwhat this run had changed is undone: the host is as it was")]
    Undone(Cause),
    /// The host was changed, something failed, and not everything could be undone.
    #[error("{cause}\nrestoring the host failed too; a person is needed:{}", list(left_behind))]
    LeftBehind {
        /// What failed first.
        cause: Cause,
        /// What could not be undone.
        left_behind: Vec<LeftBehind>,
    },
    /// An earlier run did not finish, and not everything of it could be undone.
    #[error(
        "the run of {run} did not finish, and undoing it failed; a person is needed:{}\nwhen that is mended, run `hostlet \
         recover`: it goes on with what is left",
        list(left_behind)
    )]
    Unrecovered {
        /// Which run.
        run: String,
        /// What could not be undone.
        left_behind: Vec<LeftBehind>,
    },
    /// Another run is under way.
    #[error(transparent)]
    Locked(#[from] Held),
    /// Uninstalling could not go on.
    #[error(transparent)]
    Uninstall(#[from] UninstallError),
    /// Something of hostlet's could not be removed.
    #[error("not everything could be removed; a person is needed:{}\nthen run `hostlet uninstall` again: it goes on from there", left(.0))]
    NotRemoved(Box<Uninstalled>),
    /// The user or systemd ended the run before anything was changed.
    #[error("interrupted; nothing was changed")]
    Interrupted,
    /// A rehearsal could not take place, or what was rehearsed failed.
    #[error(transparent)]
    Rehearsal(#[from] RehearseError),
    /// There are no peers to answer.
    #[error(
        "there is no [mesh] in the configuration, so there is nobody to answer; name the nodes under mesh.peers (`hostlet config example`)"
    )]
    NoMesh,
    /// The node cannot answer its peers.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The versions lack a digest that nobody knows, and so on: should have been found before.
    #[error("this is a bug in hostlet: {0}")]
    Bug(String),
}

/// What made a run fail after the host had been changed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The generation could not be laid.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A change could not be made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A unit is not healthy.
    #[error("{unhealthy}{}", quoted(&unhealthy.journal))]
    Unhealthy {
        /// What was found.
        unhealthy: Box<Unhealthy>,
    },
    /// Whether a unit is healthy cannot be found out.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The Node was Ready before, and is not Ready any more.
    #[error("the Node was Ready before this run, and is not after it\n{0}")]
    NotReady(Box<Readiness>),
    /// The user or systemd ended the run.
    #[error("interrupted")]
    Interrupted,
    /// A thread was ended.
    #[error("a part of hostlet ended early: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

impl Failure {
    /// How a run that ended with it is counted: each outcome has its exit code.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Configuration(_)
            | Self::NoConfiguration(_)
            | Self::NotAJoin(_)
            | Self::WouldReplace(_)
            | Self::NoMesh
            | Self::Mesh(_)
            | Self::Plan(_)
            | Self::CannotRemember(_)
            | Self::NoWayBack(NoWayBack::NoPrevious)
            | Self::PinnedForOne(_)
            | Self::StreamWithJson
            | Self::Facts(
                FactsError::Token { .. } | FactsError::NoToken | FactsError::Identity { .. } | FactsError::Authority { .. },
            ) => Outcome::Misconfigured,
            Self::Facts(_)
            | Self::File(_)
            | Self::NotDiscovered { .. }
            | Self::NotRoot
            | Self::NoSystemd(_)
            | Self::NotAskedFor(_)
            | Self::NoWayBack(_)
            | Self::Refused(_)
            | Self::Uninstall(UninstallError::NotOnTheHost) => Outcome::Refused,
            Self::Fetch { .. } => Outcome::FetchFailed,
            Self::Undone(_) => Outcome::Restored,
            Self::LeftBehind { .. }
            | Self::Unrecovered { .. }
            | Self::Journal(_)
            | Self::Uninstall(_)
            | Self::NotRemoved(_) => Outcome::Broken,
            Self::Locked(_) => Outcome::Busy,
            Self::Interrupted => Outcome::Interrupted,
            Self::Bug(_) | Self::Rehearsal(_) => Outcome::Bug,
        }
    }

    /// How far the Node came, where that was what failed.
    #[must_use]
    pub fn readiness(&self) -> Option<&Readiness> {
        match self {
            Self::Undone(Cause::NotReady(readiness)) | Self::LeftBehind { cause: Cause::NotReady(readiness), .. } => {
                Some(readiness)
            }
            _ => None,
        }
    }

    /// What preflight found, where it was preflight that refused.
    #[must_use]
    pub fn findings(&self) -> Vec<serde_json::Value> {
        let Self::Refused(refused) = self else { return Vec::new() };
        refused.report().findings.iter().filter_map(|finding| serde_json::to_value(finding).ok()).collect()
    }

    /// The failure to undo a run that was killed.
    #[must_use]
    pub fn unrecovered(run: &Header, left_behind: Vec<LeftBehind>) -> Self {
        Self::Unrecovered { run: format!("`hostlet {}` of {}", run.command, run.started), left_behind }
    }

    /// The failure of a run whose changes were undone, as far as they could be.
    pub(super) fn undone(cause: Cause, undone: Undone) -> Self {
        if undone.is_complete() { Self::Undone(cause) } else { Self::LeftBehind { cause, left_behind: undone.left_behind } }
    }
}

/// Changing the host needs root, whatever else it needs.
pub fn as_root() -> Result<(), Failure> {
    if capabilities::is_root() { Ok(()) } else { Err(Failure::NotRoot) }
}

fn left(done: &Uninstalled) -> String {
    done.left.iter().fold(String::new(), |text, left| text + "\n  " + &left.to_string())
}

fn list(left_behind: &[LeftBehind]) -> String {
    left_behind.iter().fold(String::new(), |mut text, left| {
        text.push_str(&format!("\n  could not {}: {}", left.undo, left.why));
        text
    })
}
