//! `hostlet plan`

use super::Done;
use crate::pipeline::{self, Context, Failure};

pub(super) async fn run(context: &Context, exit_code: bool) -> Result<Done, Failure> {
    let context = &pipeline::discovered(context).await?;
    let prepared = pipeline::prepare(context, false).await?;
    if let Some(why) = &prepared.observed.systemd_unavailable {
        return Err(Failure::NoSystemd(why.clone()));
    }
    pipeline::foretell(context, &prepared);
    let code = u8::from(exit_code && !prepared.plan.is_empty());
    Ok(Done::new(&prepared.plan, &prepared.plan)?.exit_code(code))
}
