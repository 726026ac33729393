//! A run, as the data sees it:
//!
//! settings -> facts -> plan -> preflight: Cleared -> fetch: Verified -> stage: Staged -> activate -> health: Healthy -> commit -> Ready
//!
//! Each step takes what only the step before can make. Until the transaction begins nothing on the host has changed; from
//! then on a failure undoes all that was done.

mod activate;
mod bundling;
mod collect;
mod discovery;
mod failure;
mod fetching;
mod health;
mod prepare;
mod readiness;
mod recovery;
mod remember;
mod rollback;
mod stage_only;
mod status;
mod uninstall;
mod versions;

use std::{path::PathBuf, time::Duration};

pub use activate::{Installed, UnitHealth};
pub use bundling::collect_for_bundle;
pub use discovery::discovered;
pub use failure::{Cause, Failure, as_root};
pub use prepare::{Prepared, identity, local_preflight, prepare};
pub use readiness::{Standing, Waits};
pub use recovery::{Recovered, Recovery, recover};
pub use remember::{CannotRemember, DropIn, upgrade_to};
pub use rollback::{NoWayBack, rollback};
pub use stage_only::{StagedOnly, stage_only};
pub use status::{Propagation, Status, status};
use tokio_util::sync::CancellationToken;
pub use uninstall::{finish_uninstall, uninstall};
pub use versions::foretell;

use crate::{
    config::Settings, fetch::Fetched, generation::StageError, host::checkpoint::checkpoint, model::layout, output::Events,
    plan::AllowedSteps,
};

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
    /// How long preflight looks again at what may become true by itself.
    pub wait: Duration,
    /// What is waited for once the units are healthy.
    pub waits: Waits,
    /// Cancelled when the user or systemd wants hostlet to stop.
    pub stop: CancellationToken,
}

impl Context {
    /// The usual places.
    #[must_use]
    pub fn new(settings: Settings, events: Events, stop: CancellationToken) -> Self {
        let (opt, state, cache) = (layout::OPT.into(), layout::STATE.into(), layout::CACHE.into());
        Self { settings, events, opt, state, cache, adopt: false, wait: Duration::ZERO, waits: Waits::default(), stop }
    }
}

/// How an installation is done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Everything is fetched and laid again.
    pub anew: bool,
    /// Steps between versions that were asked for by flag.
    pub allowed: AllowedSteps,
    /// What is remembered of it: an upgrade.
    pub remember: Option<DropIn>,
}

/// Brings the host to what the configuration says.
pub async fn install(context: &Context, options: &Options) -> Result<Installed, Failure> {
    as_root()?;
    let context = &discovered(context).await?;
    let mut prepared = prepare(context, options.anew).await?;
    if let Some(drop_in) = &options.remember {
        drop_in.plan(&mut prepared)?;
    }
    if prepared.plan.is_empty() {
        return Ok(Installed::unchanged(&prepared, readiness::conclude(context, None).await));
    }
    checkpoint("stage: planned");
    versions::check(context, &prepared, options.allowed)?;
    let cleared = prepare::preflight(context, &prepared).await?;
    checkpoint("stage: cleared");
    let fetched = fetching::fetch(context, &cleared, &prepared).await?;
    checkpoint("stage: verified");
    let command = if options.remember.is_some() { "upgrade" } else { "install" };
    change(context, command, &prepared, fetched).await
}

/// Changes the host, or leaves it as it was and sees that it is.
async fn change(context: &Context, command: &str, prepared: &Prepared, fetched: Fetched) -> Result<Installed, Failure> {
    let Fetched { verified, keeping } = fetched;
    let signatures = activate::by_component(prepared, activate::signatures(prepared, &verified));
    let ready_before = readiness::ready_before(context, prepared).await;
    let mut transaction = activate::begin(context, command).await?;
    let attempt = async {
        activate::stage(context, &mut transaction, prepared, verified).await?;
        // Before anything of the host changes, all of it is on the disk.
        keeping.finish().await.map_err(StageError::from)?;
        checkpoint("stage: staged");
        let active = activate::activate(context, &mut transaction, prepared).await?;
        checkpoint("stage: active");
        let healthy = health::gate(context, &active, ready_before.as_ref().is_some_and(|before| before.complete)).await?;
        checkpoint("stage: healthy");
        let ready = readiness::stays_ready(context, ready_before.as_ref(), &active.started).await?;
        checkpoint("stage: ready");
        let committed = activate::remember(context, &mut transaction, prepared)?;
        Ok((committed, healthy, ready))
    };
    match attempt.await {
        Ok((committed, healthy, ready)) => {
            let installed = activate::commit(transaction, prepared, committed, &healthy).await?;
            let standing = readiness::conclude(context, ready).await;
            let installed = Installed { signatures, standing, ..installed };
            collect::garbage(context, committed).await;
            Ok(installed)
        }
        Err(cause) => {
            let undone = transaction.undo().await;
            Err(Failure::undone(cause, health::of_restored(context, &prepared.observed, undone).await))
        }
    }
}
