//! Undoing a run that was killed: what every run that changes the host does first, and `hostlet recover` alone.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Failure, health, uninstall};
use crate::{
    config::Settings,
    generation,
    host::{checkpoint::checkpoint, propagation, systemd::Systemd},
    model::layout,
    output::{Event, Events},
    transaction::{
        self, Ground, LeftBehind, Undone,
        journal::{self, Header},
    },
    uninstall::Uninstalled,
};

/// systemd's own deadline for a unit is 90 s, unless its file says otherwise; its word on a start that hangs is better than
/// ours.
const JOB_DEADLINE: Duration = Duration::from_secs(105);

/// What a recovery works with; it must do without a configuration.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// `/opt/hostlet`
    pub opt: PathBuf,
    /// `/var/lib/hostlet`
    pub state: PathBuf,
    /// `/var/cache/hostlet`
    pub cache: PathBuf,
    /// What the configuration says, where there is one that can be read.
    pub settings: Option<Settings>,
    /// It runs while the machine boots, before the kubelet: systemd's units are ordered after it.
    pub at_boot: bool,
}

/// What a recovery came to.
#[derive(Debug)]
pub struct Recovered {
    /// The run that was undone.
    pub undone: Option<Header>,
    /// What runs again as before that run, and is not healthy. At boot nobody waits to see.
    pub unhealthy: Vec<LeftBehind>,
    /// An uninstallation that was gone on with, to its end.
    pub uninstalled: Option<Uninstalled>,
}

impl Recovery {
    /// The usual places.
    #[must_use]
    pub fn new(settings: Option<Settings>, at_boot: bool) -> Self {
        let (opt, state, cache) = (layout::OPT.into(), layout::STATE.into(), layout::CACHE.into());
        Self { opt, state, cache, settings, at_boot }
    }

    fn root_directory(&self) -> Option<PathBuf> {
        self.settings.as_ref().map(|settings| settings.kubelet.root_directory.clone())
    }
}

/// Undoes what a killed run left, or goes on with an uninstallation, which cannot be undone. Call it with the lock held.
pub async fn recover(recovery: &Recovery, events: &Events) -> Result<Recovered, Failure> {
    let mut recovered = Recovered { undone: None, unhealthy: Vec::new(), uninstalled: None };
    if let Some((run, undone)) = undo(recovery, events).await? {
        recovered.undone = Some(run);
        if !recovery.at_boot {
            recovered.unhealthy = health::of_recovered(&recovery.opt, recovery.settings.as_ref(), &undone).await;
        }
    }
    for left in &recovered.unhealthy {
        events.emit(Event::Warning { text: format!("{}: {}", left.undo, left.why) });
    }
    let site = uninstall::site(&recovery.opt, &recovery.state, &recovery.cache);
    recovered.uninstalled = uninstall::finish_uninstall(&site, events).await?;
    checkpoint("recovery: done");
    Ok(recovered)
}

/// Undoes what a killed run left to its end, and says which run that was and what runs again.
pub(super) async fn undo(recovery: &Recovery, events: &Events) -> Result<Option<(Header, Undone)>, Failure> {
    checkpoint("recovery: before it begins");
    let roots = roots(recovery);
    // A canary in the kubelet's root directory would keep that from being removed.
    let swept = tokio::task::spawn_blocking(move || {
        roots.iter().try_for_each(|root| propagation::sweep_canaries(root)).map_err(|error| error.to_string())
    });
    warn(events, swept.await.map_err(|error| error.to_string()).flatten());
    let recovered = match journal::read(&recovery.state)? {
        Some(_) => transaction::recover(&ground(recovery).await?, recovery.at_boot, events).await?,
        None => None,
    };
    if let Some((run, undone)) = recovered {
        if undone.is_complete() {
            sweep(recovery, events);
            return Ok(Some((run, undone)));
        }
        return Err(Failure::unrecovered(&run, undone.left_behind));
    }
    sweep(recovery, events);
    Ok(None)
}

fn sweep(recovery: &Recovery, events: &Events) {
    warn(events, transaction::sweep(&recovery.opt, &recovery.state).map_err(|error| error.to_string()));
}

/// Where canaries may be: they need no journal, so nothing else tells.
fn roots(recovery: &Recovery) -> Vec<PathBuf> {
    let current = generation::current(&recovery.opt).ok().flatten();
    let installed = current.map(|manifest| manifest.contents.root_directory);
    let mut roots: Vec<PathBuf> =
        [recovery.root_directory(), installed, Some(layout::KUBELET_ROOT.into())].into_iter().flatten().collect();
    roots.dedup();
    roots
}

/// What only tidies up is no reason to fail.
fn warn(events: &Events, result: Result<(), String>) {
    if let Err(error) = result {
        events.emit(Event::Warning { text: format!("tidying up after an earlier run: {error}") });
    }
}

async fn ground(recovery: &Recovery) -> Result<Ground, Failure> {
    let systemd = if recovery.at_boot {
        // Files and links are undone all the same: nothing has started on them yet.
        Systemd::connect_at_boot().await.ok()
    } else {
        Some(Systemd::connect().await.map_err(|error| Failure::NoSystemd(error.to_string()))?)
    };
    Ok(Ground {
        opt: recovery.opt.clone(),
        state: recovery.state.clone(),
        root_directory: recovery.root_directory().unwrap_or_else(|| Path::new(layout::KUBELET_ROOT).to_owned()),
        systemd,
        job_deadline: JOB_DEADLINE,
    })
}
