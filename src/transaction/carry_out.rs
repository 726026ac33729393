//! Carrying out one entry of the journal. Each may be carried out again: nothing is done that was done before.

use std::{path::Path, time::Duration};

use super::{
    ChangeError, Ground, Prior, Undo,
    perform::{switch, sync},
};
use crate::{
    host::{
        files, kernel, links, look,
        moment::Moment,
        mounts::{self, MountTable, Process},
        parameters,
        systemd::{Systemd, UnitFileChange, UnitState},
        tree,
    },
    model::UnitName,
};

/// At boot others wait for us: stopping what does not run yet takes no time, and more than this is a fault.
const STOP_AT_BOOT: Duration = Duration::from_secs(20);

/// How a run is undone.
pub(super) struct Undoing {
    /// When it began.
    pub(super) since: Moment,
    /// Units are ordered after us: what is to run is queued, and not waited for.
    pub(super) at_boot: bool,
}

/// What an entry came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// The host was changed.
    Now,
    /// It was as it should be: the run never came to the change, or it was undone already.
    Before,
}

impl From<bool> for Done {
    fn from(changed: bool) -> Self {
        if changed { Self::Now } else { Self::Before }
    }
}

/// Undoes what the entry is about.
pub(super) async fn carry_out(ground: &Ground, undoing: &Undoing, undo: &Undo) -> Result<Done, String> {
    let done = match undo {
        Undo::RestorePath { path, prior } => restore(path, prior).map_err(|error| error.to_string()),
        Undo::RemoveDirectories { paths } => remove_directories(paths).map_err(|error| error.to_string()),
        Undo::UnmountVolumes { root, keep } => unmount_volumes(root, keep).map_err(|error| error.to_string()),
        Undo::RemoveFlannelLinks { except } => remove_flannel_links(except).map_err(|error| error.to_string()),
        Undo::RemoveTree { path } => remove_tree(path),
        Undo::RestoreSysctl { name, value } => restore_sysctl(name, value).map_err(|error| error.to_string()),
        Undo::MakePrivate { path } => make_private(path).map_err(|error| error.to_string()),
        Undo::SwitchBack { to } => switch_back(&ground.opt, *to).map_err(|error| error.to_string()),
        unit => unit_action(ground, undoing, unit).await.map_err(|error| error.to_string()),
    };
    done.map(Done::from)
}

fn restore(path: &Path, prior: &Prior) -> files::Result<bool> {
    files::remove_temporary(path)?;
    match prior {
        Prior::Absent => Ok(files::if_present(files::remove_file(path))?.is_some()),
        Prior::Link { target } if look::link_target(path)?.as_ref() == Some(target) => Ok(false),
        Prior::Link { target } => files::link(path, target).map(|()| true),
        Prior::Saved { copy } if look::exists(copy) && look::at(path)? == look::at(copy)? => Ok(false),
        // Recovery may have been killed after this step: the copy is gone only once the journal is.
        Prior::Saved { copy } => files::copy_durably(copy, path).map(|()| true),
    }
}

fn remove_directories(paths: &[std::path::PathBuf]) -> files::Result<bool> {
    let mut removed = false;
    for path in paths.iter().filter(|path| look::exists(path)) {
        files::remove_directory_if_empty(path)?;
        removed |= !look::exists(path);
    }
    Ok(removed)
}

fn unmount_volumes(root: &Path, keep: &[std::path::PathBuf]) -> Result<bool, mounts::VolumesError> {
    let mounted = mounts::pod_volumes(root)?;
    mounts::unmount_pod_volumes_but(root, keep)?;
    Ok(mounted.iter().any(|volume| !keep.contains(volume)))
}

fn remove_flannel_links(except: &[String]) -> std::io::Result<bool> {
    let mut removed = false;
    for link in links::flannels()?.iter().filter(|link| !except.contains(&link.name)) {
        links::delete(link)?;
        removed = true;
    }
    Ok(removed)
}

/// Any mount stays, with what it holds.
fn remove_tree(path: &Path) -> Result<bool, String> {
    let existed = look::exists(path);
    let kept = tree::remove(path).map_err(|error| error.to_string())?;
    if kept.is_empty() {
        return Ok(existed);
    }
    let kept: Vec<String> = kept.iter().map(|kept| format!("{} {}", kept.path.display(), kept.why)).collect();
    Err(kept.join("; "))
}

/// After a reboot the module that brought the parameter may not be loaded: then there is nothing to restore.
fn restore_sysctl(name: &str, value: &str) -> files::Result<bool> {
    match kernel::setting(name)? {
        Some(now) if now != value => parameters::set_sysctl(name, value).map(|()| true),
        _ => Ok(false),
    }
}

/// After a reboot the mount may not be there, or be as it always was.
fn make_private(path: &Path) -> Result<bool, ChangeError> {
    let table = MountTable::of(Process::Own)?;
    let shared = table.covering(path).is_some_and(|mount| mount.mount_point == path && mount.propagation.is_shared());
    if shared {
        mounts::make_this_private(path)?;
    }
    Ok(shared)
}

fn switch_back(opt: &Path, to: Option<u64>) -> files::Result<bool> {
    let current = opt.join("current");
    files::remove_temporary(&current)?;
    let before = look::link_target(&current)?;
    switch(opt, to)?;
    Ok(look::link_target(&current)? != before)
}

async fn unit_action(ground: &Ground, undoing: &Undoing, undo: &Undo) -> Result<bool, ChangeError> {
    let systemd = ground.systemd.as_ref().ok_or(ChangeError::NoSystemd)?;
    let deadline = ground.job_deadline;
    match undo {
        Undo::StopUnit { unit } => stop(systemd, unit, deadline, undoing).await,
        Undo::StartUnit { unit } | Undo::RestartUnit { unit } => resume(systemd, unit, deadline, undoing).await,
        Undo::RetryUnit { unit } => retry(systemd, unit, undoing).await,
        Undo::DisableUnit { unit } => {
            let changes = systemd.disable(std::slice::from_ref(unit)).await?;
            // It was enabled when the machine booted, so its start is queued.
            if undoing.at_boot && !systemd.unit(unit).await?.is_active() {
                stop(systemd, unit, deadline, undoing).await?;
            }
            synced(&changes)
        }
        Undo::EnableUnit { unit } => synced(&systemd.enable(std::slice::from_ref(unit)).await?),
        _ => Ok(systemd.reload().await.map(|()| true)?),
    }
}

fn synced(changes: &[UnitFileChange]) -> Result<bool, ChangeError> {
    sync(changes)?;
    Ok(!changes.is_empty())
}

impl Undoing {
    /// Whether the unit's process has been running since before the run began: then it has read nothing of what that wrote.
    fn was_running(&self, state: &UnitState) -> bool {
        let started = state.exec_main_start_monotonic;
        let before = self.since.is_of_this_boot() && started.is_some_and(|started| started < self.since.microseconds);
        state.is_running() && before
    }
}

async fn stop(systemd: &Systemd, unit: &UnitName, deadline: Duration, undoing: &Undoing) -> Result<bool, ChangeError> {
    let ran = !systemd.unit(unit).await?.is_inactive();
    // A job to stop goes before those to start (job_compare in systemd's job.c), so at boot it does not wait for us either.
    let deadline = if undoing.at_boot { deadline.min(STOP_AT_BOOT) } else { deadline };
    systemd.stop(unit, deadline).await??;
    systemd.reset_failed(unit).await.ok();
    Ok(ran)
}

/// Has a unit run on what is there now, unless it never stopped doing so.
async fn resume(systemd: &Systemd, unit: &UnitName, deadline: Duration, undoing: &Undoing) -> Result<bool, ChangeError> {
    let state = systemd.unit(unit).await?;
    // Pods' volumes hang below a mount. A socket that is open may be open as a unit file says that is gone.
    if undoing.was_running(&state) || (unit.is_mount() && state.is_active()) {
        return Ok(false);
    }
    systemd.reset_failed(unit).await.ok();
    if undoing.at_boot {
        // Its job comes after ours: waiting for it would never end.
        systemd.queue_restart(unit).await?;
    } else {
        systemd.restart(unit, deadline).await??;
    }
    Ok(true)
}

/// It was not up before: what it comes to is its own affair.
async fn retry(systemd: &Systemd, unit: &UnitName, undoing: &Undoing) -> Result<bool, ChangeError> {
    let stayed = undoing.was_running(&systemd.unit(unit).await?);
    if !stayed {
        systemd.queue_restart(unit).await?;
    }
    Ok(!stayed)
}
