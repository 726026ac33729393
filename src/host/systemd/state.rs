//! The state of a unit, as systemd tells it.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::model::UnitName;

use super::{
    SystemdError,
    bus::{Properties, take},
};

/// Whether a unit's files could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadState {
    /// They were.
    Loaded,
    /// There are none.
    NotFound,
    /// The unit is masked: a link to /dev/null keeps it from being started.
    Masked,
    /// `bad-setting`, `error` ...
    Other(String),
}

/// What a unit does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActiveState {
    /// It is up.
    Active,
    /// It is on its way up: also while systemd waits before it starts a crashed service again.
    Activating,
    /// It is on its way down.
    Deactivating,
    /// It is down.
    Inactive,
    /// It is down because it failed.
    Failed,
    /// `reloading`, `maintenance` ...
    Other(String),
}

/// How a main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// A unit, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitState {
    /// Its name.
    pub name: UnitName,
    /// Whether its files could be read.
    pub load_state: LoadState,
    /// Why not.
    pub load_error: Option<String>,
    /// What it does.
    pub active_state: ActiveState,
    /// What it does, in words of its type: `running`, `auto-restart`, `mounted`.
    pub sub_state: String,
    /// `enabled`, `disabled`, `static` ...; empty without a file.
    pub unit_file_state: String,
    /// The running main process.
    pub main_pid: Option<u32>,
    /// How often systemd has started it again by itself since somebody did.
    pub n_restarts: u32,
    /// `success`, or why it failed: `exit-code`, `signal`, `timeout`, `watchdog`, `start-limit-hit`, `oom-kill` ...
    pub result: String,
    /// How the last main process ended.
    pub exit: Option<Exit>,
    /// The unit file in effect.
    pub fragment_path: Option<PathBuf>,
    /// The drop-ins in effect, in the order they are read.
    pub drop_in_paths: Vec<PathBuf>,
    /// Its files changed since systemd read them.
    pub need_daemon_reload: bool,
    /// The current or, between two, the last run.
    pub invocation_id: Option<String>,
    /// When the main process was started: microseconds since 1970.
    pub exec_main_start: Option<u64>,
    /// The same by CLOCK_MONOTONIC: microseconds since the boot, which nobody sets.
    pub exec_main_start_monotonic: Option<u64>,
}

impl UnitState {
    /// It is up.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active_state == ActiveState::Active
    }

    /// It is down, for whatever reason.
    #[must_use]
    pub fn is_inactive(&self) -> bool {
        matches!(self.active_state, ActiveState::Inactive | ActiveState::Failed)
    }

    /// It is up and has a main process that runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_active() && self.sub_state == "running" && self.main_pid.is_some()
    }

    pub(super) fn from_properties(
        unit: &UnitName,
        mut general: Properties,
        mut specific: Properties,
    ) -> Result<Self, SystemdError> {
        let mut text = |property: &'static str| {
            take::<String>(&mut general, property).ok_or_else(|| SystemdError::Property { unit: unit.to_string(), property })
        };
        let load_state = LoadState::from(text("LoadState")?);
        let active_state = ActiveState::from(text("ActiveState")?);
        let sub_state = text("SubState")?;
        let unit_file_state = text("UnitFileState")?;
        let fragment_path = Some(text("FragmentPath")?).filter(|path| !path.is_empty()).map(PathBuf::from);
        let load_error = take::<(String, String)>(&mut general, "LoadError").map(|(_, message)| message);
        let number = |properties: &mut Properties, name| take::<u32>(properties, name).unwrap_or_default();
        let code = take::<i32>(&mut specific, "ExecMainCode");
        let status = take::<i32>(&mut specific, "ExecMainStatus");
        Ok(Self {
            name: unit.clone(),
            load_state,
            load_error: load_error.filter(|message| !message.is_empty()),
            active_state,
            sub_state,
            unit_file_state,
            main_pid: Some(number(&mut specific, "MainPID")).filter(|pid| *pid != 0),
            n_restarts: number(&mut specific, "NRestarts"),
            result: take(&mut specific, "Result").unwrap_or_default(),
            exit: Exit::from_wait(code, status),
            fragment_path,
            drop_in_paths: take::<Vec<String>>(&mut general, "DropInPaths")
                .unwrap_or_default()
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            need_daemon_reload: take(&mut general, "NeedDaemonReload").unwrap_or_default(),
            invocation_id: take::<Vec<u8>>(&mut general, "InvocationID").filter(|id| !id.is_empty()).map(|id| hexadecimal(&id)),
            exec_main_start: take::<u64>(&mut specific, "ExecMainStartTimestamp").filter(|time| *time != 0),
            exec_main_start_monotonic: take::<u64>(&mut specific, "ExecMainStartTimestampMonotonic").filter(|time| *time != 0),
        })
    }
}

impl fmt::Display for UnitState {
    /// "it is activating (auto-restart), result exit-code, its process exited with status 203 (...), 2 restarts".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.load_state, &self.load_error) {
            (LoadState::Loaded, _) => write!(f, "it is {} ({})", self.active_state, self.sub_state)?,
            (LoadState::NotFound, _) => return f.write_str("it does not exist"),
            (LoadState::Masked, _) => return write!(f, "it is masked: `systemctl unmask {}` allows it again", self.name),
            (LoadState::Other(state), error) => {
                return write!(f, "it could not be loaded ({state}): {}", error.as_deref().unwrap_or("no reason given"));
            }
        }
        if !matches!(self.result.as_str(), "" | "success") {
            write!(f, ", result {}", self.result)?;
        }
        if let Some(exit) = self.exit.filter(|exit| !self.is_running() && *exit != Exit::Status(0)) {
            write!(f, ", its process {exit}")?;
        }
        match self.n_restarts {
            0 => Ok(()),
            1 => f.write_str(", 1 restart"),
            more => write!(f, ", {more} restarts"),
        }
    }
}

impl From<String> for LoadState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "loaded" => Self::Loaded,
            "not-found" => Self::NotFound,
            "masked" => Self::Masked,
            _ => Self::Other(text),
        }
    }
}

impl From<String> for ActiveState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "active" => Self::Active,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for ActiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Other(state) => state,
        })
    }
}

impl Exit {
    /// From `si_code` and `si_status`: waitid(2).
    fn from_wait(code: Option<i32>, status: Option<i32>) -> Option<Self> {
        match (code?, status?) {
            (nix::libc::CLD_EXITED, status) => Some(Self::Status(status)),
            (nix::libc::CLD_KILLED | nix::libc::CLD_DUMPED, signal) => Some(Self::Signal(signal)),
            _ => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => {
                write!(f, "exited with status {status}")?;
                meaning(status).map_or(Ok(()), |meaning| write!(f, " ({meaning})"))
            }
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(name) => write!(f, "was killed by {name}"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

/// What systemd itself exits with when it cannot run the program. Source: systemd.exec(5), "Process exit codes".
const fn meaning(status: i32) -> Option<&'static str> {
    match status {
        200 => Some("CHDIR: its working directory could not be entered"),
        203 => Some("EXEC: its program could not be run: it is missing, not executable, or for another architecture"),
        217 => Some("USER: its user does not exist"),
        218 => Some("CAPABILITIES: its capabilities could not be set"),
        226 => Some("NAMESPACE: its mount namespace could not be set up"),
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
