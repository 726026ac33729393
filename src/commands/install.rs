//! `hostlet install`

use std::time::Duration;

use super::{Done, context, run::run_locked};
use crate::{
    cli::Global,
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
