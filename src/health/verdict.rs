//! What the gate comes to.

use std::{fmt, time::Duration};

use crate::{
    host::{
        propagation::{NotPropagated, PropagationError},
        systemd::{SystemdError, UnitState},
    },
    model::UnitName,
};

/// A unit is healthy. Only the gate makes it.
#[derive(Debug, Clone)]
pub struct Healthy {
    pub(super) unit: UnitName,
    pub(super) pid: u32,
    pub(super) restarts: u32,
    pub(super) waited: Duration,
    pub(super) witnesses: Vec<String>,
}

impl Healthy {
    /// Which unit.
    #[must_use]
    pub const fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// Its main process, the same over the whole window.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// How often it was restarted before it became stable.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// How long it took.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// Who saw what it mounts; empty where that was not asked for.
    #[must_use]
    pub fn witnesses(&self) -> &[String] {
        &self.witnesses
    }
}

/// Why a unit is not healthy.
#[derive(Debug, Clone)]
pub enum Cause {
    /// It cannot run as it is: it does not exist, is masked, has failed, or is down.
    Down,
    /// It crashes and is started again, over and over.
    CrashLoop {
        /// How often, while we watched.
        restarts: u32,
    },
    /// It was still on its way up.
    NotRunning,
    /// It ran, and not long enough without a restart.
    Unstable,
    /// It runs and does not answer as it should.
    Healthz {
        /// Where it was asked.
        url: String,
        /// What came, as a clause: "it did not answer within 2 s".
        answer: String,
    },
    /// It runs, and what it mounts does not arrive.
    NotPropagated(Box<NotPropagated>),
}

/// A unit is not healthy: what was found, with everything that explains it.
#[derive(Debug, Clone)]
pub struct Unhealthy {
    /// Which unit.
    pub unit: UnitName,
    /// Why.
    pub cause: Cause,
    /// Its state at the end: Result, exit status, NRestarts.
    pub state: Box<UnitState>,
    /// The state right after its last crash, where one was seen: a unit that runs again no longer tells why it died.
    pub crash: Option<Box<UnitState>>,
    /// The last lines in the journal of the run that failed. Control characters are as they were.
    pub journal: Vec<String>,
    /// How long it was given.
    pub waited: Duration,
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = &self.unit;
        let waited = self.waited.as_secs_f32();
        match &self.cause {
            Cause::Down => write!(f, "{unit} does not run")?,
            Cause::CrashLoop { restarts } => write!(f, "{unit} crashes again and again: {restarts} restarts in {waited:.0} s")?,
            Cause::NotRunning => write!(f, "{unit} did not come up within {waited:.0} s")?,
            Cause::Unstable => write!(f, "{unit} did not stay up: it kept being restarted for {waited:.0} s")?,
            Cause::Healthz { url, answer } => write!(f, "{unit} runs and is not healthy after {waited:.0} s: {url}: {answer}")?,
            Cause::NotPropagated(finding) => return write!(f, "{unit} runs, but {finding}"),
        }
        write!(f, "; {}", self.state)?;
        match &self.crash {
            Some(crash) if crash.exit.is_some() && self.state.exit.is_none() => write!(f, "; when it last crashed: {crash}"),
            _ => Ok(()),
        }
    }
}

/// It could not be found out whether a unit is healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// systemd did not tell.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The canary could not be tried.
    #[error(transparent)]
    Propagation(#[from] PropagationError),
    /// A unit that must see the mounts does not run.
    #[error("{0} does not run, so whether it sees what {1} mounts cannot be proved: start it first")]
    ReceiverDown(UnitName, UnitName),
    /// A task of the gate panicked: a bug.
    #[error("a task of the health gate ended by itself")]
    Task(#[from] tokio::task::JoinError),
}
