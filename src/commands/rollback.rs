//! `hostlet rollback`

use super::{Done, configuration, context_of, run::run_locked};
use crate::{
    cli::Global,
    output::Events,
    pipeline::{self, Context, Failure, Waits},
};

pub(super) async fn run(global: &Global, events: Events) -> Result<Done, Failure> {
    let attempt = Box::pin(async {
        let configuration = configuration(global)?;
        pipeline::rollback(&configuration, |settings| Context {
            waits: Waits::ToStayReady,
            ..context_of(settings, events.clone())
        })
        .await
    });
    run_locked(global, "rollback", "Rolled back", &events, attempt).await
}
