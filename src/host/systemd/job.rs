//! Jobs: queueing one and waiting for its end, which only `JobRemoved` tells.

use std::{fmt, num::NonZeroUsize, time::Duration};

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use zbus::{MatchRule, MessageStream, OwnedObjectPath, fdo::DBusProxy, message::Type, names::BusName};

use crate::{
    host::{checkpoint::checkpoint, journal},
    model::UnitName,
};

use super::{
    LoadState, Systemd, SystemdError, UnitState,
    bus::{self, SERVICE},
    explain,
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Restart,
    Stop,
}

impl Action {
    const fn gerund(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Restart => "restarting",
            Self::Stop => "stopping",
        }
    }
}

/// How a job ended that did not end as `done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// As systemd says: `failed`, `timeout`, `canceled`, `dependency`, `skipped` ...
    Ended(String),
    /// systemd did not take the job: the unit is masked, does not exist or cannot be loaded.
    Refused(String),
    /// It was still running when our deadline passed; systemd goes on with it.
    Deadline(Duration),
    /// It is gone, and the unit is not as it should be; how the job ended was not told.
    Lost,
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(result) => write!(f, "its job ended as {result:?}"),
            Self::Refused(reason) => write!(f, "systemd refused: {reason}"),
            Self::Deadline(deadline) => write!(f, "its job was still running after {} s", deadline.as_secs_f32()),
            Self::Lost => f.write_str("its job is gone and nobody told how it ended"),
        }
    }
}

/// A unit was not started, restarted or stopped.
#[derive(Debug, Clone)]
pub struct JobFailed {
    /// Which unit.
    pub unit: UnitName,
    /// What was tried: "starting".
    pub doing: &'static str,
    /// How the job ended.
    pub result: JobResult,
    /// The unit afterwards, with its Result and exit status.
    pub state: Option<Box<UnitState>>,
    /// The last lines in the journal of the run that failed. Control characters are as they were.
    pub journal: Vec<String>,
}

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.unit, self.result)?;
        match (&self.state, &self.result) {
            (Some(state), JobResult::Refused(_)) if matches!(state.load_state, LoadState::Other(_)) => Ok(()),
            (Some(state), _) => write!(f, "; {state}"),
            (None, _) => Ok(()),
        }
    }
}

/// JobRemoved is sent for every job on the host: while a call is under way nobody takes them off the queue, and a full
/// one would stop the connection.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// How often a job is looked after that did not report its end: systemd drops signals while it re-executes itself.
const LOOK_AFTER: Duration = Duration::from_secs(2);

pub(super) async fn run(
    systemd: &Systemd,
    action: Action,
    unit: &UnitName,
    deadline: Duration,
) -> Result<Result<(), JobFailed>, SystemdError> {
    let doing = || SystemdError::doing(format!("{} {unit}", action.gerund()));
    let ended = match queue_and_wait(systemd, action, unit, deadline).await {
        Ok(ended) => ended,
        Err(error) if action == Action::Stop && bus::is_named(&error, "NoSuchUnit") => return Ok(Ok(())),
        Err(error @ zbus::Error::MethodError(..)) if is_about_the_unit(&error) => Err(JobResult::Refused(explain(&error))),
        Err(error) => return Err(doing()(error)),
    };
    let Err(mut result) = ended else { return Ok(Ok(())) };
    let state = systemd.unit(unit).await.ok();
    if result == JobResult::Lost && state.as_ref().is_some_and(|state| is_as_wanted(action, state)) {
        return Ok(Ok(()));
    }
    if let (JobResult::Refused(reason), Some(state)) = (&mut result, &state)
        && let Some(load_error) = &state.load_error
        && !reason.contains(load_error)
    {
        *reason = format!("{reason} ({load_error})");
    }
    let journal = match (&result, &state) {
        // Of files that cannot be loaded the journal tells the line.
        (JobResult::Refused(_), Some(state)) if matches!(state.load_state, LoadState::Other(_)) => {
            journal::last_lines(state).await
        }
        (JobResult::Refused(_), _) | (_, None) => Vec::new(),
        (_, Some(state)) => journal::last_lines(state).await,
    };
    Ok(Err(JobFailed { unit: unit.clone(), doing: action.gerund(), result, state: state.map(Box::new), journal }))
}

/// Listens, queues the job, and waits for its end.
async fn queue_and_wait(
    systemd: &Systemd,
    action: Action,
    unit: &UnitName,
    deadline: Duration,
) -> zbus::Result<Result<(), JobResult>> {
    let until = Instant::now() + deadline;
    let mut removed = listen(systemd).await?;
    let manager = systemd.manager().await?;
    let job = match action {
        Action::Start => manager.start_unit(unit.as_str(), "replace").await?,
        Action::Restart => manager.restart_unit(unit.as_str(), "replace").await?,
        Action::Stop => manager.stop_unit(unit.as_str(), "replace").await?,
    };
    checkpoint(format_args!("systemd: {} {unit} is queued", action.gerund()));
    let mut look_after = Instant::now() + LOOK_AFTER;
    let mut missed = false;
    loop {
        match timeout_at(look_after.min(until), removed.next()).await {
            Ok(Some(message)) => {
                let (_, path, _, result) = message?.body().deserialize::<(u32, OwnedObjectPath, String, String)>()?;
                if path == job {
                    return Ok(if result == "done" { Ok(()) } else { Err(JobResult::Ended(result)) });
                }
            }
            Ok(None) => return Err(zbus::Error::Failure("the connection to systemd was lost".to_owned())),
            Err(_) if Instant::now() >= until => return Ok(Err(JobResult::Deadline(deadline))),
            Err(_) if missed => return Ok(Err(JobResult::Lost)),
            Err(_) => {
                missed = !is_queued(systemd, &job).await?;
                look_after = Instant::now() + LOOK_AFTER;
            }
        }
    }
}

/// Subscribes before the job is queued: it may end before the answer to the call arrives.
async fn listen(systemd: &Systemd) -> zbus::Result<MessageStream> {
    let connection = &systemd.connection;
    let mut rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .path("/org/freedesktop/systemd1")
        .interface("org.freedesktop.systemd1.Manager")
        .member("JobRemoved");
    if connection.is_bus() {
        // By its unique name: zbus cannot tell who sent a signal by a well-known one, and anybody may send us signals.
        let owner = DBusProxy::new(connection).await?.get_name_owner(BusName::from_static_str(SERVICE)?).await?;
        rule = rule.sender(owner.into_inner());
    }
    let stream = MessageStream::for_match_rule(rule.build()?, connection, Some(QUEUE)).await?;
    match systemd.manager().await?.subscribe().await {
        Err(error) if !bus::is_named(&error, "AlreadySubscribed") => Err(error),
        Ok(()) | Err(_) => Ok(stream),
    }
}

async fn is_queued(systemd: &Systemd, job: &OwnedObjectPath) -> zbus::Result<bool> {
    let Some(id) = job.as_str().rsplit('/').next().and_then(|id| id.parse().ok()) else { return Ok(true) };
    match systemd.manager().await?.get_job(id).await {
        Ok(_) => Ok(true),
        Err(error) if bus::is_named(&error, "NoSuchJob") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Errors that systemd answers because of the unit: findings, not failures to find out.
fn is_about_the_unit(error: &zbus::Error) -> bool {
    const NAMES: [&str; 8] = [
        "NoSuchUnit",
        "LoadFailed",
        "BadUnitSetting",
        "UnitMasked",
        "JobTypeNotApplicable",
        "TransactionIsDestructive",
        "TransactionJobsConflicting",
        "OnlyByDependency",
    ];
    NAMES.iter().any(|name| bus::is_named(error, name))
}

fn is_as_wanted(action: Action, state: &UnitState) -> bool {
    match action {
        Action::Start | Action::Restart => state.is_active(),
        Action::Stop => state.is_inactive(),
    }
}
