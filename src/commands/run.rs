//! A run that changes the host: under the lock, after an earlier one that was killed has been undone, and with its outcome
//! in `/run/hostlet/result.json`, failure as well as success.

use std::{fmt::Write as _, path::Path};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Done, settings};
use crate::{
    cli::Global,
    health::chain::Readiness,
    host::{lock::Lock, signals},
    model::layout,
    output::{
        Event, Events, Outcome,
        result::{self, ChangeMade, RunError, RunResult},
    },
    pipeline::{self, Failure, Installed, Recovery, Standing},
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
    let finished = Done::new(&text(done, &installed), &result)?;
    Ok(match installed.standing.readiness() {
        Some(readiness) if !readiness.complete => finished.ending(Outcome::NotReady, readiness.to_string()),
        _ => finished,
    })
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
            let readiness = installed.standing.readiness();
            let not_ready = readiness.and_then(|readiness| readiness.missing.as_ref());
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
                readiness: readiness.cloned(),
                error: not_ready.map(|missing| RunError {
                    message: format!("the Node is not Ready: {}: {}", missing.link, missing.found),
                    causes: readiness.and_then(|readiness| readiness.clock_skew.clone()).into_iter().collect(),
                    remedy: Some(missing.remedy.clone()),
                }),
                ..new(if not_ready.is_some() { Outcome::NotReady } else { Outcome::Success })
            }
        }
        Err(failure) => RunResult {
            error: Some(RunError::from_chain(failure, None)),
            findings: failure.findings(),
            readiness: failure.readiness().cloned(),
            ..new(failure.outcome())
        },
    }
}

fn text(done: &str, installed: &Installed) -> String {
    let generation = installed.generation.map(|number| format!("generation {number}")).unwrap_or_default();
    if !installed.changed {
        return format!("Nothing to do: the host is as the configuration says ({generation}).\n{}", node(&installed.standing));
    }
    let mut text = format!("{done}: {generation} is in force; {} changes.\n", installed.changes.len());
    for unit in &installed.health {
        let seconds = unit.milliseconds / 1000;
        let _ = writeln!(text, "  {} is healthy (pid {}, stable after {seconds} s)", unit.unit, unit.pid);
        if !unit.propagation.is_empty() {
            let _ = writeln!(text, "    what it mounts was seen by {}", unit.propagation.join(", "));
        }
    }
    text + &node(&installed.standing)
}

/// What is known of the Node.
fn node(standing: &Standing) -> String {
    match standing {
        Standing::Standalone => String::new(),
        Standing::NotWaited => "The Node was not waited for; `hostlet status` tells how far it is.\n".to_owned(),
        Standing::Seen(Readiness { missing: None, reached, clock_skew, .. }) => {
            let last = reached.last().map_or("", |reached| reached.seen.as_str());
            let skew = clock_skew.as_ref().map(|skew| format!("But {skew}\n")).unwrap_or_default();
            format!("The Node is Ready ({last}).\n{skew}")
        }
        Standing::Seen(readiness) => {
            format!("But {readiness}\nNothing is undone; `hostlet install` waits for the Node once more.\n")
        }
    }
}
