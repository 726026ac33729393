//! A run that changes the host: under the lock, after an earlier one that was killed has been undone, and with its outcome
//! in `/run/hostlet/result.json`, failure as well as success.

use std::{fmt::Write as _, path::Path};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Done, settings};
use crate::{
    cli::Global,
    host::{lock::Lock, signals},
    model::layout,
    output::{
        Event, Events, Outcome,
        result::{self, ChangeMade, RunError, RunResult},
    },
    pipeline::{self, Failure, Installed, Recovery},
};

/// Runs the attempt; `done` is what it is called when it succeeded: "Installed".
pub(super) async fn run_locked(
    global: &Global,
    command: &'static str,
    done: &str,
    events: &Events,
    attempt: impl Future<Output = Result<Installed, Failure>>,
) -> Result<Done, Failure> {
    pipeline::as_root()?;
    // Without the lock the result file belongs to the run that holds it.
    let _lock = Lock::take(Path::new(layout::RUN))??;
    let started = Timestamp::now();
    let outcome = async {
        recover(global, events).await?;
        attempt.await
    };
    let outcome = outcome.await;
    let result = result_of(command, &outcome, started);
    if let Err(error) = result::write(Path::new(result::PATH), &result) {
        events.emit(Event::Warning { text: format!("the result of this run could not be written: {error}") });
    }
    let installed = outcome?;
    Done::new(&text(done, &installed), &result)
}

/// Before the configuration is looked at in earnest, since the run that is undone may have written a part of it. A signal to
/// end waits until that is done.
async fn recover(global: &Global, events: &Events) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    signals::cancel_on_stop(&stop);
    pipeline::recover(&Recovery::new(settings(global).ok(), false), events).await?;
    if stop.is_cancelled() { Err(Failure::Interrupted) } else { Ok(()) }
}

fn result_of(command: &str, outcome: &Result<Installed, Failure>, started: Timestamp) -> RunResult {
    let new = |outcome| RunResult::new(command, outcome, started, Timestamp::now());
    match outcome {
        Ok(installed) => {
            let changes = installed.changes.iter();
            let changes = changes.map(|step| ChangeMade {
                description: step.change.to_string(),
                reason: step.reason.clone(),
                undone: false,
            });
            RunResult {
                generation: installed.generation,
                changes: changes.collect(),
                signatures: installed.signatures.clone(),
                ..new(Outcome::Success)
            }
        }
        Err(failure) => RunResult {
            error: Some(RunError::from_chain(failure, None)),
            findings: failure.findings(),
            ..new(failure.outcome())
        },
    }
}

fn text(done: &str, installed: &Installed) -> String {
    let generation = installed.generation.map(|number| format!("generation {number}")).unwrap_or_default();
    if !installed.changed {
        return format!("Nothing to do: the host is as the configuration says ({generation}).\n");
    }
    let mut text = format!("{done}: {generation} is in force; {} changes.\n", installed.changes.len());
    for unit in &installed.health {
        let seconds = unit.milliseconds / 1000;
        let _ = writeln!(text, "  {} is healthy (pid {}, stable after {seconds} s)", unit.unit, unit.pid);
        if !unit.propagation.is_empty() {
            let _ = writeln!(text, "    what it mounts was seen by {}", unit.propagation.join(", "));
        }
    }
    text
}
