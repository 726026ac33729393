//! `hostlet install`

use std::{fmt::Write as _, path::Path, time::Duration};

use serde_json::json;

use super::{Done, context, run::run_locked};
use crate::{
    cli::Global,
    host::lock::Lock,
    model::layout,
    output::Events,
    pipeline::{self, Context, Failure, Options, Waits},
    plan::AllowedSteps,
};

/// What the flags say.
pub(super) struct How {
    pub(super) anew: bool,
    pub(super) adopt: bool,
    pub(super) wait: Duration,
    pub(super) waits: Waits,
    pub(super) allowed: AllowedSteps,
}

pub(super) async fn run(global: &Global, events: Events, how: How) -> Result<Done, Failure> {
    let How { anew, adopt, wait, waits, allowed } = how;
    let options = Options { anew, allowed, remember: None };
    let attempt = Box::pin(async {
        let context = Context { adopt, wait, waits, ..context(global, events.clone())? };
        Box::pin(pipeline::install(&context, &options)).await
    });
    run_locked(global, "install", "Installed", &events, attempt).await
}

/// Under the lock, since another run may use the same downloads; without a result file, since nothing was installed.
pub(super) async fn stage_only(global: &Global, events: Events) -> Result<Done, Failure> {
    pipeline::as_root()?;
    let _lock = Lock::take(Path::new(layout::RUN))??;
    let staged = pipeline::stage_only(&context(global, events)?).await?;
    let mut text = "Staged for the first boot, which needs no network for it:\n".to_owned();
    for artifact in &staged {
        let _ = writeln!(
            text,
            "  {} {} ({} bytes, sha256 {})",
            artifact.component, artifact.version, artifact.bytes, artifact.digest
        );
    }
    Done::new(&text, &json!({ "staged": staged }))
}
