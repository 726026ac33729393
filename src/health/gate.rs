//! Watching a unit until it is healthy, or it is clear that it will not be.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::host::{
    healthz::{self, Answer},
    journal,
    systemd::{LoadState, Systemd, UnitState},
};

use super::{Cause, Gate, HealthError, Healthy, Unhealthy, propagation};

/// How often systemd is asked; a question costs it a tenth of a millisecond.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long healthz may take to answer.
const HEALTHZ: Duration = Duration::from_secs(2);

/// Waits until the unit is healthy, at most as long as the gate gives it.
pub async fn wait(systemd: &Systemd, gate: &Gate) -> Result<Result<Healthy, Unhealthy>, HealthError> {
    let started = Instant::now();
    // A timeout within the window could never be met.
    let until = started + gate.timeout.max(gate.window + Duration::from_secs(1));
    let mut watch = Watch::new(systemd.unit(&gate.unit).await?, gate.since_restarts);
    loop {
        let not_yet = match look(systemd, gate, &mut watch).await? {
            Progress::Healthy { pid, witnesses } => return Ok(Ok(watch.healthy(gate, pid, started.elapsed(), witnesses))),
            Progress::Hopeless(cause) => return Ok(Err(watch.unhealthy(gate, cause, started.elapsed()).await)),
            Progress::NotYet(cause) => cause,
        };
        if Instant::now() >= until {
            return Ok(Err(watch.unhealthy(gate, not_yet, started.elapsed()).await));
        }
        sleep(INTERVAL).await;
        watch.take(systemd.unit(&gate.unit).await?);
    }
}

/// What one look comes to.
enum Progress {
    Healthy { pid: u32, witnesses: Vec<String> },
    NotYet(Cause),
    Hopeless(Cause),
}

async fn look(systemd: &Systemd, gate: &Gate, watch: &mut Watch) -> Result<Progress, HealthError> {
    if let Some(cause) = watch.hopeless(gate.loop_after) {
        return Ok(Progress::Hopeless(cause));
    }
    let restless = if watch.restarts() > 0 { Cause::Unstable } else { Cause::NotRunning };
    let Some(pid) = watch.pid().filter(|_| watch.is_stable(gate.window)) else {
        return Ok(Progress::NotYet(restless));
    };
    match judge(systemd, gate, pid).await? {
        Ok(witnesses) => {
            // What was asked took time: the answers count only for a process that is still the same.
            watch.take(systemd.unit(&gate.unit).await?);
            let is_same = watch.is_stable(gate.window);
            Ok(if is_same { Progress::Healthy { pid, witnesses } } else { Progress::NotYet(Cause::Unstable) })
        }
        Err(cause @ Cause::NotPropagated(_)) => Ok(Progress::Hopeless(cause)),
        Err(cause) => Ok(Progress::NotYet(cause)),
    }
}

/// Asks what only a stable process can answer.
async fn judge(systemd: &Systemd, gate: &Gate, pid: u32) -> Result<Result<Vec<String>, Cause>, HealthError> {
    if let Some(endpoint) = &gate.healthz
        && let Answer::Unhealthy(answer) = healthz::ask(endpoint, HEALTHZ).await
    {
        return Ok(Err(Cause::Healthz { url: endpoint.to_string(), answer }));
    }
    match &gate.propagation {
        Some(propagation) => match propagation::prove_with(systemd, &gate.unit, pid, propagation).await {
            Ok(Ok(proof)) => Ok(Ok(proof.witnesses().to_vec())),
            Ok(Err(finding)) => Ok(Err(Cause::NotPropagated(Box::new(finding)))),
            // The process may have crashed under the proof: the next look tells.
            Err(error) if is_ended(&error) => Ok(Err(Cause::Unstable)),
            Err(error) => Err(error),
        },
        None => Ok(Ok(Vec::new())),
    }
}

fn is_ended(error: &HealthError) -> bool {
    matches!(error, HealthError::Propagation(crate::host::propagation::PropagationError::Ended { .. }))
}

/// What was seen so far.
struct Watch {
    state: UnitState,
    restarts_before: u32,
    stable_since: Option<Instant>,
    crash: Option<UnitState>,
    down: u32,
}

impl Watch {
    fn new(state: UnitState, restarts_before: Option<u32>) -> Self {
        Self {
            restarts_before: restarts_before.unwrap_or(state.n_restarts),
            stable_since: state.is_running().then(Instant::now),
            crash: has_ended(&state).then(|| state.clone()),
            down: u32::from(state.is_inactive()),
            state,
        }
    }

    fn take(&mut self, state: UnitState) {
        let before = std::mem::replace(&mut self.state, state);
        let state = &self.state;
        let is_same = is_same_run(&before, state);
        self.stable_since = match self.stable_since {
            Some(since) if is_same && state.is_running() => Some(since),
            _ => state.is_running().then(Instant::now),
        };
        // Between two runs the unit tells how the last one ended. A unit that runs tells nothing of it: then the run that
        // was seen before at least has a journal to look into.
        let is_known = self.crash.as_ref().is_some_and(|crash| crash.invocation_id == before.invocation_id);
        if has_ended(state) {
            self.crash = Some(state.clone());
        } else if before.main_pid.is_some() && !is_same && !is_known {
            self.crash = Some(before);
        }
        self.down = if state.is_inactive() { self.down + 1 } else { 0 };
    }

    const fn pid(&self) -> Option<u32> {
        self.state.main_pid
    }

    const fn restarts(&self) -> u32 {
        self.state.n_restarts.saturating_sub(self.restarts_before)
    }

    fn is_stable(&self, window: Duration) -> bool {
        self.stable_since.is_some_and(|since| since.elapsed() >= window)
    }

    /// Why there is no use in waiting on.
    fn hopeless(&self, loop_after: Option<u32>) -> Option<Cause> {
        if loop_after.is_some_and(|limit| self.restarts() >= limit) {
            return Some(Cause::CrashLoop { restarts: self.restarts() });
        }
        // Down at two looks in a row: between two runs a unit may pass through `failed`.
        (self.state.load_state != LoadState::Loaded || self.down >= 2).then_some(Cause::Down)
    }

    fn healthy(&self, gate: &Gate, pid: u32, waited: Duration, witnesses: Vec<String>) -> Healthy {
        Healthy { unit: gate.unit.clone(), pid, restarts: self.restarts(), waited, witnesses }
    }

    async fn unhealthy(self, gate: &Gate, cause: Cause, waited: Duration) -> Unhealthy {
        let failed = match (&cause, &self.crash) {
            (Cause::Healthz { .. } | Cause::NotPropagated(_), _) | (_, None) => &self.state,
            (_, Some(crash)) => crash,
        };
        let journal = journal::last_lines(failed).await;
        Unhealthy {
            unit: gate.unit.clone(),
            cause,
            crash: self.crash.map(Box::new),
            state: Box::new(self.state),
            journal,
            waited,
        }
    }
}

/// Down, or waiting to be started again.
fn has_ended(state: &UnitState) -> bool {
    state.exit.is_some() && (state.is_inactive() || state.sub_state.starts_with("auto-restart"))
}

fn is_same_run(before: &UnitState, now: &UnitState) -> bool {
    before.main_pid == now.main_pid && before.n_restarts == now.n_restarts && before.invocation_id == now.invocation_id
}
