//! Undoing: in reverse, on after a failure, and as often as it takes. The same code serves a run that failed and a run
//! that was killed.

use std::path::Path;

use super::{ChangeError, Ground, Prior, Undo, journal, perform::switch};
use crate::{
    host::{files, links, look, mounts, parameters, tree},
    output::{Event, Events},
};

/// What undoing came to.
#[derive(Debug, Default)]
#[must_use]
pub struct Undone {
    /// What could not be undone; empty when the host is as it was.
    pub left_behind: Vec<LeftBehind>,
}

impl Undone {
    /// Whether the host is as it was.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left_behind.is_empty()
    }
}

/// A step of undoing that failed.
#[derive(Debug)]
pub struct LeftBehind {
    /// What was tried.
    pub undo: Undo,
    /// Why it failed.
    pub why: String,
}

/// Undoes what an earlier run left unfinished; `None` where there is nothing of the kind.
pub async fn recover(ground: &Ground, events: &Events) -> Result<Option<Undone>, journal::JournalError> {
    let Some((header, undos)) = journal::read(&ground.state)? else { return Ok(None) };
    let text = format!("the run of `hostlet {}` of {} did not finish: undoing it", header.command, header.started);
    events.emit(Event::Warning { text });
    Ok(Some(undo_all(ground, undos, events).await))
}

/// Undoes in reverse; what has to wait for the rest (a restart on the old files) comes last, in the order of doing.
/// The journal is removed when nothing is left behind.
pub(super) async fn undo_all(ground: &Ground, undos: Vec<Undo>, events: &Events) -> Undone {
    let (mut deferred, first): (Vec<Undo>, Vec<Undo>) = undos.into_iter().partition(Undo::is_deferred);
    // Units start on the files that systemd has read: reading them comes first (a stable sort keeps the rest).
    deferred.sort_by_key(|undo| !matches!(undo, Undo::ReloadSystemd));
    deferred.dedup();
    let mut done = Undone::default();
    // Directories of hostlet's own state hold the journal: they go when it is gone.
    let (own, first): (Vec<Undo>, Vec<Undo>) = first.into_iter().partition(|undo| holds_journal(undo, &ground.state));
    for undo in first.into_iter().rev().chain(deferred) {
        if is_moot(&undo) {
            continue;
        }
        match carry_out(ground, &undo).await {
            Ok(()) => events.emit(Event::Undone { description: undo.to_string() }),
            Err(why) => done.left_behind.push(LeftBehind { undo, why }),
        }
    }
    if done.is_complete() {
        remove_backups(&ground.state.join("backup"));
        if let Err(error) = files::if_present(files::remove_file(&ground.state.join("journal"))) {
            events.emit(Event::Warning { text: error.to_string() });
        }
        for undo in own.iter().rev() {
            let _ = carry_out(ground, undo).await;
        }
    }
    done
}

/// What a run registered before it came to make it.
fn is_moot(undo: &Undo) -> bool {
    matches!(undo, Undo::RemoveTree { path } | Undo::RestorePath { path, prior: Prior::Absent } if !look::exists(path))
}

fn holds_journal(undo: &Undo, state: &Path) -> bool {
    matches!(undo, Undo::RemoveDirectories { paths } if paths.iter().any(|path| path == state))
}

pub(super) fn remove_backups(backups: &Path) {
    // What stays here is swept by the next run; it is not a reason to fail this one.
    let _ = tree::remove(backups);
}

async fn carry_out(ground: &Ground, undo: &Undo) -> Result<(), String> {
    let text = |error: ChangeError| error.to_string();
    match undo {
        Undo::RestorePath { path, prior } => restore(path, prior).map_err(|error| error.to_string()),
        Undo::RemoveDirectories { paths } => {
            for path in paths {
                files::remove_directory_if_empty(path).map_err(|error| error.to_string())?;
            }
            Ok(())
        }
        Undo::UnmountVolumes { root } => mounts::unmount_pod_volumes(root).map_err(|error| error.to_string()),
        Undo::RemoveFlannelLinks { except } => remove_flannel_links(except).map_err(|error| error.to_string()),
        Undo::RemoveTree { path } => remove_tree(path),
        Undo::RestoreSysctl { name, value } => parameters::set_sysctl(name, value).map_err(|error| error.to_string()),
        Undo::MakePrivate { path } => mounts::make_private(path).map_err(|error| error.to_string()),
        Undo::SwitchBack { to } => switch(&ground.opt, *to).map_err(|error| error.to_string()),
        unit => unit_action(ground, unit).await.map_err(text),
    }
}

async fn unit_action(ground: &Ground, undo: &Undo) -> Result<(), ChangeError> {
    let systemd = ground.systemd.as_ref().ok_or(ChangeError::NoSystemd)?;
    match undo {
        Undo::StopUnit { unit } => {
            systemd.stop(unit, ground.job_deadline).await??;
            systemd.reset_failed(unit).await.ok();
        }
        Undo::StartUnit { unit } => systemd.start(unit, ground.job_deadline).await??,
        Undo::RestartUnit { unit } => {
            systemd.reset_failed(unit).await.ok();
            systemd.restart(unit, ground.job_deadline).await??;
        }
        Undo::DisableUnit { unit } => systemd.disable(std::slice::from_ref(unit)).await.map(drop)?,
        Undo::EnableUnit { unit } => systemd.enable(std::slice::from_ref(unit)).await.map(drop)?,
        _ => systemd.reload().await?,
    }
    Ok(())
}

fn restore(path: &Path, prior: &Prior) -> files::Result<()> {
    match prior {
        Prior::Absent => files::if_present(files::remove_file(path)).map(drop),
        Prior::Link { target } => files::link(path, target),
        // Recovery may have been killed after this step: the copy is gone only once the journal is.
        Prior::Saved { copy } => files::copy_durably(copy, path),
    }
}

fn remove_flannel_links(except: &[String]) -> std::io::Result<()> {
    links::flannels()?.iter().filter(|link| !except.contains(&link.name)).try_for_each(links::delete)
}

/// Any mount stays, with what it holds.
fn remove_tree(path: &Path) -> Result<(), String> {
    let kept = tree::remove(path).map_err(|error| error.to_string())?;
    if kept.is_empty() {
        return Ok(());
    }
    let kept: Vec<String> = kept.iter().map(|kept| format!("{} {}", kept.path.display(), kept.why)).collect();
    Err(kept.join("; "))
}
