//! An event as a line for people.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::BinaryBytes;

use super::{Event, Verbosity, escape::one_entry};
use crate::model::Component;

/// The line for an event, if people want to see it; progress has its own throttle and is not decided here.
pub(super) fn line(event: &Event, verbosity: Verbosity) -> Option<String> {
    let quiet = verbosity == Verbosity::Quiet;
    let verbose = verbosity == Verbosity::Verbose;
    let text = match event {
        Event::Warning { text } => format!("warning: {text}"),
        Event::Undone { description } => format!("undone: {description}"),
        // The end has a text of its own, which is printed as a result or an error.
        Event::Finished { .. } => return None,
        _ if quiet => return None,
        Event::Started { command, version } => return verbose.then(|| format!("hostlet {version}: {command}")),
        Event::Stage { name } => format!("== {name}"),
        Event::Note { text } => text.clone(),
        Event::FetchStarted { component, source, .. } => format!("fetching {component} from {source}"),
        Event::FetchProgress { component, bytes, .. } => format!("fetching {component}: {} so far", BinaryBytes(*bytes)),
        Event::Fetched { component, digest, cached } => {
            let how = if *cached { "in the cache" } else { "fetched" };
            format!("{component} {how}, sha256 {digest}")
        }
        Event::Reached { link, seen } => format!("{link}: {seen}"),
        Event::Change { description, reason } if verbose => format!("{description} ({reason})"),
        Event::Change { description, .. } => description.clone(),
    };
    Some(one_entry(&text))
}

/// Lets one progress event of each component through in a while, and those that bring news never wait.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    last: BTreeMap<Component, Instant>,
}

impl Throttle {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: BTreeMap::new() }
    }

    /// Whether the event may be shown.
    pub(super) fn passes(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::FetchStarted { component, .. } => {
                self.last.insert(*component, now);
                true
            }
            Event::FetchProgress { component, .. } => match self.last.get(component) {
                Some(last) if now.saturating_duration_since(*last) < self.interval => false,
                _ => {
                    self.last.insert(*component, now);
                    true
                }
            },
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_shows_warnings_and_what_was_undone() {
        let shown = |event: Event| line(&event, Verbosity::Quiet);
        assert_eq!(shown(Event::Stage { name: "fetch" }), None);
        assert_eq!(shown(Event::Warning { text: "swap is on".to_owned() }).unwrap(), "warning: swap is on");
        assert_eq!(shown(Event::Undone { description: "link".to_owned() }).unwrap(), "undone: link");
    }

    #[test]
    fn reasons_are_for_the_verbose() {
        let event = Event::Change { description: "write /etc/a".to_owned(), reason: "it is absent".to_owned() };
        assert_eq!(line(&event, Verbosity::Normal).unwrap(), "write /etc/a");
        assert_eq!(line(&event, Verbosity::Verbose).unwrap(), "write /etc/a (it is absent)");
    }

    #[test]
    fn text_from_elsewhere_cannot_pass_for_a_line_of_ours_or_drive_the_terminal() {
        let event = Event::Note { text: "page:\n== done\u{1b}[31m".to_owned() };
        assert_eq!(line(&event, Verbosity::Normal).unwrap(), "page:\n    == done\\u{1b}[31m");
    }

    #[test]
    fn progress_passes_once_in_a_while_for_each_component() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Duration::from_secs(5));
        let progress = |component| Event::FetchProgress { component, bytes: 1, total: None };
        let at = |seconds| start + Duration::from_secs(seconds);
        let began = Event::FetchStarted { component: Component::Kubelet, source: String::new(), total: None };
        assert!(throttle.passes(&began, at(0)));
        assert!(!throttle.passes(&progress(Component::Kubelet), at(4)));
        assert!(throttle.passes(&progress(Component::Kubelet), at(5)));
        assert!(!throttle.passes(&progress(Component::Kubelet), at(6)));
        assert!(throttle.passes(&progress(Component::Flanneld), at(6)));
    }
}
