//! The way back: recover, say what is meant, carry it out. No configuration is needed.

use std::path::Path;

use super::{
    Failure, as_root,
    recovery::{self, Recovery},
};
use crate::{
    host::systemd::Systemd,
    model::layout,
    output::{Event, Events},
    uninstall::{self, Intent, Site, Uninstalled},
};

/// Takes back what was installed. With `purge` configuration and cache go, too.
pub async fn uninstall(purge: bool, events: &Events) -> Result<Uninstalled, Failure> {
    as_root()?;
    let site = site(Path::new(layout::OPT), Path::new(layout::STATE), Path::new(layout::CACHE));
    let systemd = Systemd::connect().await.map_err(|error| Failure::NoSystemd(error.to_string()))?;
    // What a killed run had begun is in no manifest.
    recovery::undo(&Recovery::new(None, false), events).await?;
    events.emit(Event::Stage { name: "uninstall" });
    let intent = Intent::begin(&site, purge, jiff::Timestamp::now().to_string())?;
    finished(uninstall::carry_out(&site, intent, &systemd, events).await?)
}

/// Goes on with an uninstallation that was ended in the middle; what it came to, where there was one.
pub async fn finish_uninstall(site: &Site, events: &Events) -> Result<Option<Uninstalled>, Failure> {
    let Some(intent) = Intent::read(&site.state)? else { return Ok(None) };
    let text = format!("the run of `hostlet uninstall` of {} did not finish: going on with it", intent.started);
    events.emit(Event::Warning { text });
    let systemd = Systemd::connect().await.map_err(|error| Failure::NoSystemd(error.to_string()))?;
    finished(uninstall::carry_out(site, intent, &systemd, events).await?).map(Some)
}

/// The usual configuration, and the rest as given.
pub(super) fn site(opt: &Path, state: &Path, cache: &Path) -> Site {
    let configuration = Path::new(layout::CONFIGURATION).parent().unwrap_or(Path::new("/etc/hostlet"));
    Site { opt: opt.to_owned(), state: state.to_owned(), cache: cache.to_owned(), configuration: configuration.to_owned() }
}

fn finished(done: Uninstalled) -> Result<Uninstalled, Failure> {
    if done.left.is_empty() { Ok(done) } else { Err(Failure::NotRemoved(Box::new(done))) }
}
