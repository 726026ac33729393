//! `hostlet install`

use super::{Done, context, run::run_locked};
use crate::{
    cli::Global,
    output::Events,
    pipeline::{self, Context, Failure, Options},
    plan::AllowedSteps,
};

pub(super) async fn run(
    global: &Global,
    events: Events,
    anew: bool,
    adopt: bool,
    allowed: AllowedSteps,
) -> Result<Done, Failure> {
    let options = Options { anew, allowed, remember: None };
    let attempt = Box::pin(async {
        let context = Context { adopt, ..context(global, events.clone())? };
        pipeline::install(&context, &options).await
    });
    run_locked(global, "install", "Installed", &events, attempt).await
}
