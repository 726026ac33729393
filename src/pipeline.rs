//! A run, as the data sees it:
//!
//! settings -> facts -> plan -> preflight: Cleared -> fetch: Verified -> stage: Staged -> activate -> health: Healthy -> commit
//!
//! Each step takes what only the step before can make. Until the transaction begins nothing on the host has changed; from
//! then on a failure undoes all that was done.

mod activate;
mod failure;
mod fetching;
mod prepare;
mod recovery;
mod status;
mod uninstall;

use std::path::PathBuf;

pub use activate::{Installed, UnitHealth};
pub use failure::{Cause, Failure, as_root};
pub use prepare::{Prepared, local_preflight, prepare};
pub use recovery::{Recovered, Recovery, recover};
pub use status::{Propagation, Status, status};
use tokio_util::sync::CancellationToken;
pub use uninstall::{finish_uninstall, uninstall};

use crate::{config::Settings, host::checkpoint::checkpoint, model::layout, output::Events};

/// What a run works with.
#[derive(Clone)]
pub struct Context {
    /// What the user wants.
    pub settings: Settings,
    /// Where events go.
    pub events: Events,
    /// `/opt/hostlet`
    pub opt: PathBuf,
    /// `/var/lib/hostlet`
    pub state: PathBuf,
    /// `/var/cache/hostlet`
    pub cache: PathBuf,
    /// A kubelet that somebody else installed is taken over.
    pub adopt: bool,
    /// Cancelled when the user or systemd wants hostlet to stop.
    pub stop: CancellationToken,
}

impl Context {
    /// The usual places.
    #[must_use]
    pub fn new(settings: Settings, events: Events, stop: CancellationToken) -> Self {
        let (opt, state, cache) = (layout::OPT.into(), layout::STATE.into(), layout::CACHE.into());
        Self { settings, events, opt, state, cache, adopt: false, stop }
    }
}

/// Brings the host to what the configuration says. With `anew` everything is fetched and laid again.
pub async fn install(context: &Context, anew: bool) -> Result<Installed, Failure> {
    as_root()?;
    prepare::recover(context).await?;
    let prepared = prepare(context, anew).await?;
    if prepared.plan.is_empty() {
        return Ok(Installed::unchanged(&prepared));
    }
    checkpoint("stage: planned");
    let cleared = prepare::preflight(context, &prepared).await?;
    checkpoint("stage: cleared");
    let verified = fetching::fetch(context, &cleared, &prepared).await?;
    checkpoint("stage: verified");
    let mut transaction = activate::begin(context).await?;
    let attempt = async {
        let staged = activate::stage(context, &mut transaction, &prepared, verified).await?;
        checkpoint("stage: staged");
        let active = activate::activate(context, &mut transaction, &prepared).await?;
        checkpoint("stage: active");
        let healthy = activate::health(context, active).await?;
        checkpoint("stage: healthy");
        let generation = activate::remember(context, &mut transaction, &prepared, staged.as_ref())?;
        Ok((generation, healthy))
    };
    match attempt.await {
        Ok((generation, healthy)) => activate::commit(transaction, &prepared, generation, &healthy).await,
        Err(cause) => Err(Failure::undone(cause, transaction.undo().await)),
    }
}
