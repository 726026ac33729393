//! `hostlet upgrade`: an installation with another version of the kubelet, which is remembered.

use std::time::Duration;

use super::{Done, configuration, context_of, run::run_locked};
use crate::{
    cli::Global,
    model::{Digest, Version},
    output::Events,
    pipeline::{self, Context, Failure, Options, Waits},
    plan::AllowedSteps,
};

/// What the flags say.
pub(super) struct How {
    pub(super) version: Version,
    pub(super) digest: Option<Digest>,
    pub(super) wait: Duration,
    pub(super) waits: Waits,
    pub(super) allowed: AllowedSteps,
}

pub(super) async fn run(global: &Global, events: Events, how: How) -> Result<Done, Failure> {
    let How { version, digest, wait, waits, allowed } = how;
    let attempt = Box::pin(async {
        let (settings, drop_in) = pipeline::upgrade_to(&configuration(global)?, &version, digest)?;
        let options = Options { anew: false, allowed, remember: Some(drop_in) };
        Box::pin(pipeline::install(&Context { wait, waits, ..context_of(settings, events.clone()) }, &options)).await
    });
    run_locked(global, "upgrade", "Upgraded", &events, attempt).await
}
