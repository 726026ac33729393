//! `hostlet install`: the pipeline under the lock, and its outcome in `/run/hostlet/result.json`, failure as well as
//! success.

use std::path::Path;

use jiff::Timestamp;

use super::{Done, context};
use crate::{
    cli::Global,
    host::lock::Lock,
    model::layout,
    output::{
        Event, Events, Outcome,
        result::{self, ChangeMade, RunError, RunResult},
    },
    pipeline::{self, Context, Failure, Installed},
};

pub(super) async fn run(global: &Global, events: Events, anew: bool, adopt: bool) -> Result<Done, Failure> {
    pipeline::as_root()?;
    // Without the lock the result file belongs to the run that holds it.
    let _lock = Lock::take(Path::new(layout::RUN))??;
    let started = Timestamp::now();
    let outcome = attempt(global, events.clone(), anew, adopt).await;
    let result = result_of(&outcome, started);
    if let Err(error) = result::write(Path::new(result::PATH), &result) {
        events.emit(Event::Warning { text: format!("the result of this run could not be written: {error}") });
    }
    let installed = outcome?;
    Done::new(&text(&installed), &result)
}

async fn attempt(global: &Global, events: Events, anew: bool, adopt: bool) -> Result<Installed, Failure> {
    pipeline::install(&Context { adopt, ..context(global, events)? }, anew).await
}

fn result_of(outcome: &Result<Installed, Failure>, started: Timestamp) -> RunResult {
    let new = |outcome| RunResult::new("install", outcome, started, Timestamp::now());
    match outcome {
        Ok(installed) => {
            let changes = installed.changes.iter();
            let changes = changes.map(|step| ChangeMade {
                description: step.change.to_string(),
                reason: step.reason.clone(),
                undone: false,
            });
            RunResult { generation: installed.generation, changes: changes.collect(), ..new(Outcome::Success) }
        }
        Err(failure) => RunResult {
            error: Some(RunError::from_chain(failure, None)),
            findings: failure.findings(),
            ..new(failure.outcome())
        },
    }
}

fn text(installed: &Installed) -> String {
    let generation = installed.generation.map(|number| format!("generation {number}")).unwrap_or_default();
    if !installed.changed {
        return format!("Nothing to do: the host is as the configuration says ({generation}).\n");
    }
    let mut text = format!("Installed: {generation} is in force; {} changes.\n", installed.changes.len());
    for unit in &installed.health {
        let seconds = unit.milliseconds / 1000;
        text.push_str(&format!("  {} is healthy (pid {}, stable after {seconds} s)\n", unit.unit, unit.pid));
        if !unit.propagation.is_empty() {
            text.push_str(&format!("    what it mounts was seen by {}\n", unit.propagation.join(", ")));
        }
    }
    text
}
