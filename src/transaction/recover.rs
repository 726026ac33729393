//! Undoing: in reverse, on after a failure, and as often as it takes. The same code serves a run that failed and a run
//! that was killed; being killed while it undoes does no harm, the journal stays until all is undone.

use std::path::Path;

use super::{
    Ground, Prior, Undo,
    carry_out::{Done, Undoing, carry_out},
    journal::{self, Header},
};
use crate::{
    host::{checkpoint::checkpoint, files, tree},
    model::UnitName,
    output::{Event, Events},
};

/// What undoing came to.
#[derive(Debug, Default)]
#[must_use]
pub struct Undone {
    /// What could not be undone; empty when the host is as it was.
    pub left_behind: Vec<LeftBehind>,
    /// Units that run on what they read before. That they were started does not say that they are healthy.
    pub restarted: Vec<UnitName>,
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

/// Undoes what an earlier run left unfinished: which run that was, and what undoing it came to. `None` where there is nothing
/// of the kind.
pub async fn recover(
    ground: &Ground,
    at_boot: bool,
    events: &Events,
) -> Result<Option<(Header, Undone)>, journal::JournalError> {
    let Some((run, undos)) = journal::read(&ground.state)? else { return Ok(None) };
    let text = format!("the run of `hostlet {}` of {} did not finish: undoing it", run.command, run.started);
    events.emit(Event::Warning { text });
    let undoing = Undoing { since: run.since.clone(), at_boot };
    let undone = undo_all(ground, undos, &undoing, events).await;
    Ok(Some((run, undone)))
}

/// Undoes all. The journal is removed when nothing is left behind.
pub(super) async fn undo_all(ground: &Ground, undos: Vec<Undo>, undoing: &Undoing, events: &Events) -> Undone {
    // Directories of hostlet's own state hold the journal: they go when it is gone.
    let (own, undos): (Vec<Undo>, Vec<Undo>) = undos.into_iter().partition(|undo| holds_journal(undo, &ground.state));
    let mut done = Undone::default();
    for undo in in_order(undos) {
        checkpoint(format_args!("undo: before: {undo}"));
        match carry_out(ground, undoing, &undo).await {
            Ok(Done::Now) => {
                events.emit(Event::Undone { description: undo.to_string() });
                if let Undo::StartUnit { unit } | Undo::RestartUnit { unit } = undo {
                    done.restarted.push(unit);
                }
            }
            // What a run registered before it came to make it.
            Ok(Done::Before) => {}
            Err(why) => done.left_behind.push(LeftBehind { undo, why }),
        }
    }
    if !done.is_complete() {
        return done;
    }
    let journal = journal::path(&ground.state);
    checkpoint("undo: before the journal's end");
    if let Err(error) = files::if_present(files::remove_file(&journal)) {
        let undo = Undo::RestorePath { path: journal, prior: Prior::Absent };
        done.left_behind.push(LeftBehind { undo, why: error.to_string() });
        return done;
    }
    // Not before: without them the journal could not be carried out once more.
    checkpoint("undo: after the journal's end");
    remove_backups(&ground.state.join("backup"));
    for undo in own.iter().rev() {
        checkpoint(format_args!("undo: before: {undo}"));
        let _ = carry_out(ground, undoing, undo).await;
    }
    done
}

/// Services that must not run are stopped first; then everything in reverse; what has to wait for the rest (a restart on the
/// old files) comes last, in the order of doing.
fn in_order(undos: Vec<Undo>) -> Vec<Undo> {
    let reload = undos.iter().any(Undo::touches_units).then_some(Undo::ReloadSystemd);
    let (deferred, mut first): (Vec<Undo>, Vec<Undo>) = undos.into_iter().partition(Undo::is_deferred);
    first.reverse();
    let (stops, rest): (Vec<Undo>, Vec<Undo>) = first.into_iter().partition(Undo::stops_service);
    let mut order: Vec<Undo> = Vec::new();
    for undo in stops.into_iter().chain(rest).chain(reload).chain(deferred) {
        // A unit's action that was foreseen and then registered once more is one. Paths may well be restored twice.
        let is_of_a_unit = undo.is_deferred() || matches!(undo, Undo::StopUnit { .. });
        if !(is_of_a_unit && order.contains(&undo)) {
            order.push(undo);
        }
    }
    order
}

fn holds_journal(undo: &Undo, state: &Path) -> bool {
    matches!(undo, Undo::RemoveDirectories { paths } if paths.iter().any(|path| path == state))
}

pub(super) fn remove_backups(backups: &Path) {
    // What stays here is swept by the next run; it is not a reason to fail this one.
    let _ = tree::remove(backups);
}
