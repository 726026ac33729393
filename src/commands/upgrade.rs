//! `hostlet upgrade`: an installation with another version of the kubelet, which is remembered.

use super::{Done, configuration, context_of, run::run_locked};
use crate::{
    cli::Global,
    model::{Digest, Version},
    output::Events,
    pipeline::{self, Failure, Options},
    plan::AllowedSteps,
};

pub(super) async fn run(
    global: &Global,
    events: Events,
    version: &Version,
    digest: Option<Digest>,
    allowed: AllowedSteps,
) -> Result<Done, Failure> {
    let attempt = Box::pin(async {
        let (settings, drop_in) = pipeline::upgrade_to(&configuration(global)?, version, digest)?;
        let options = Options { anew: false, allowed, remember: Some(drop_in) };
        pipeline::install(&context_of(settings, events.clone()), &options).await
    });
    run_locked(global, "upgrade", "Upgraded", &events, attempt).await
}
