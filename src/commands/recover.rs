//! `hostlet recover`: undoes a run that was killed, or goes on with an uninstallation. Needs no configuration.

use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Done, settings};
use crate::{
    cli::Global,
    host::{lock::Lock, signals},
    model::layout,
    output::Events,
    pipeline::{self, Failure, Recovery},
};

pub(super) async fn run(global: &Global, events: &Events, at_boot: bool) -> Result<Done, Failure> {
    pipeline::as_root()?;
    let _lock = Lock::take(Path::new(layout::RUN))??;
    // A signal to end changes nothing: half undone is worse than one that takes its time.
    signals::cancel_on_stop(&CancellationToken::new());
    let recovered = pipeline::recover(&Recovery::new(settings(global).ok(), at_boot), events).await?;
    let run = recovered.undone;
    if let Some(run) = run.as_ref().filter(|_| !recovered.unhealthy.is_empty()) {
        return Err(Failure::unrecovered(run, recovered.unhealthy));
    }
    let mut text = String::new();
    if let Some(run) = &run {
        text = format!("Undone: the run of `hostlet {}` of {}; the host is as before it.\n", run.command, run.started);
    }
    if let Some(uninstalled) = &recovered.uninstalled {
        text.push_str(&uninstalled.to_string());
    }
    if text.is_empty() {
        text.push_str("Nothing to undo: no run was ended in the middle.\n");
    }
    Done::new(&text, &json!({ "undone": run, "uninstalled": recovered.uninstalled.is_some() }))
}
