//! `hostlet uninstall`: under the lock, and with its outcome in `/run/hostlet/result.json`, which outlives it until the next
//! boot.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::Done;
use crate::{
    host::lock::Lock,
    model::layout,
    output::{
        Event, Events, Outcome,
        result::{self, ChangeMade, RunError, RunResult},
    },
    pipeline::{self, Failure},
    uninstall::Uninstalled,
};

pub(super) async fn run(events: Events, purge: bool) -> Result<Done, Failure> {
    pipeline::as_root()?;
    let _lock = Lock::take(Path::new(layout::RUN))??;
    let started = Timestamp::now();
    let outcome = pipeline::uninstall(purge, &events).await;
    let result = result_of(&outcome, started);
    if let Err(error) = result::write(Path::new(result::PATH), &result) {
        events.emit(Event::Warning { text: format!("the result of this run could not be written: {error}") });
    }
    let done = outcome?;
    let mut json = serde_json::to_value(&result).map_err(|error| Failure::Bug(error.to_string()))?;
    json["kept"] = json!(done.kept);
    Done::new(&done, &json)
}

fn result_of(outcome: &Result<Uninstalled, Failure>, started: Timestamp) -> RunResult {
    let new = |outcome| RunResult::new("uninstall", outcome, started, Timestamp::now());
    let changes = |done: &Uninstalled| {
        let made = |description: &String| ChangeMade {
            description: description.clone(),
            reason: "uninstalling".to_owned(),
            undone: false,
        };
        done.removed.iter().map(made).collect()
    };
    match outcome {
        Ok(done) => RunResult { changes: changes(done), ..new(Outcome::Success) },
        Err(failure) => RunResult {
            error: Some(RunError::from_chain(failure, None)),
            changes: if let Failure::NotRemoved(done) = failure { changes(done) } else { Vec::new() },
            ..new(failure.outcome())
        },
    }
}
