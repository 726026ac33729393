//! Stopping and disabling our units, and no others that have their names.

use std::{path::Path, time::Duration};

use super::{Intent, Site, UninstallError, Uninstalled, paths};
use crate::{
    host::{
        namespaces,
        systemd::{Systemd, SystemdError, UnitState},
    },
    model::UnitName,
};

/// systemd's own TimeoutStopSec is 90 s.
const DEADLINE: Duration = Duration::from_secs(105);

/// Units of ours, in the order in which they are stopped.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) services: Vec<UnitName>,
    pub(super) mounts: Vec<UnitName>,
}

/// The units of the manifest and of unit files of ours that are left. One that systemd runs from a file of somebody else's,
/// say after a run that was killed had removed ours, is left alone.
pub(super) async fn ours(site: &Site, intent: &Intent, systemd: &Systemd) -> Result<Units, UninstallError> {
    let mut names: Vec<UnitName> = Vec::new();
    names.extend(intent.manifest.iter().flat_map(|manifest| &manifest.contents.units).map(|unit| unit.name.clone()));
    for name in paths::unit_files_of_ours()? {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let own = namespaces::unit(std::process::id())?;
    let mut units = Units::default();
    for name in names.into_iter().rev() {
        let state = systemd.unit(&name).await?;
        // Stopping the unit that hostlet itself runs in would end it in the middle.
        if own.as_ref() == Some(&name) || !is_ours(site, &state) {
            continue;
        }
        if Path::new(name.as_str()).extension().is_some_and(|kind| kind == "mount") {
            units.mounts.push(name);
        } else {
            units.services.push(name);
        }
    }
    Ok(units)
}

fn is_ours(site: &Site, state: &UnitState) -> bool {
    let executable = state.main_pid.and_then(|pid| namespaces::program(pid).ok());
    match &state.fragment_path {
        Some(path) => paths::is_unit_directory_of_ours(path),
        // Without a file it may still run.
        None => executable.is_none_or(|executable| executable.starts_with(&site.opt)),
    }
}

/// Stops units, and waits until they are down.
pub(super) async fn stop(units: &[UnitName], systemd: &Systemd, done: &mut Uninstalled) -> Result<(), UninstallError> {
    for unit in units {
        let was_down = systemd.unit(unit).await?.is_inactive();
        // Also one that is down: at boot its start may be waiting for hostlet to end, and this takes it from the queue.
        systemd.stop(unit, DEADLINE).await?.map_err(|failed| UninstallError::DoesNotStop(Box::new(failed)))?;
        if !was_down {
            done.removed(format!("stop {unit}"));
        }
    }
    Ok(())
}

/// Disables units. Their files must still be there.
pub(super) async fn disable(units: &Units, systemd: &Systemd, done: &mut Uninstalled) -> Result<(), SystemdError> {
    for unit in units.services.iter().chain(&units.mounts) {
        if !systemd.disable(std::slice::from_ref(unit)).await?.is_empty() {
            done.removed(format!("disable {unit}"));
        }
    }
    Ok(())
}

/// Has systemd forget how the units ended, or it shows them for ever.
pub(super) async fn forget(units: &Units, systemd: &Systemd) {
    for unit in units.services.iter().chain(&units.mounts) {
        systemd.reset_failed(unit).await.ok();
    }
}

/// Names the kubelet that hostlet took over: it is back, and not started.
pub(super) async fn name_replaced(intent: &Intent, systemd: &Systemd, done: &mut Uninstalled) {
    if intent.manifest.is_none() {
        return;
    }
    let kubelet = UnitName::known("kubelet.service");
    if let Ok(Some(path)) = systemd.unit(&kubelet).await.map(|state| state.fragment_path) {
        if done.kept.iter().any(|kept| kept.what == path.display().to_string()) {
            return;
        }
        let why =
            "not hostlet's; it is neither enabled nor started, and the node has to join its cluster anew before it can be";
        done.kept(path.display(), why);
    }
}
