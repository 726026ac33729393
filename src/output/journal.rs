//! The journal, with fields: what happened can be searched for, and the start and the end of a run by their message id.

use tracing::{Dispatch, dispatcher};
use tracing_subscriber::layer::SubscriberExt;

use super::{Event, Outcome, Sink, Verbosity, escape::one_entry, line::line};

/// `MESSAGE_ID` of the start of a run: `journalctl MESSAGE_ID=…`.
pub const STARTED: &str = "6bd0a4cd1a0b4be1a7b7ee33d8c7e8f5";
/// `MESSAGE_ID` of a run that did what it should.
pub const SUCCEEDED: &str = "c2f0e1f7f7a44b0c9d5ad4b7f1f43c16";
/// `MESSAGE_ID` of a run that did not.
pub const FAILED: &str = "0f5e8a9b4f6d4b8ea2c1b0b93d8e72d4";

/// Sends events to journald. Progress is left out: it would only fill the journal.
pub(super) struct Journal {
    verbosity: Verbosity,
    dispatch: Dispatch,
}

impl Journal {
    /// None where there is no journald to talk to, as in containers.
    pub(super) fn new(verbosity: Verbosity) -> Option<Self> {
        let priorities = tracing_journald::PriorityMappings {
            info: tracing_journald::Priority::Informational,
            ..tracing_journald::PriorityMappings::new()
        };
        let layer = tracing_journald::layer().ok()?;
        let layer =
            layer.with_field_prefix(None).with_syslog_identifier("hostlet".to_owned()).with_priority_mappings(priorities);
        Some(Self { verbosity, dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)) })
    }
}

fn send(event: &Event, line: &str) {
    match event {
        Event::Started { command, version } => {
            tracing::info!(MESSAGE_ID = STARTED, HOSTLET_COMMAND = command, HOSTLET_VERSION = version, "{line}");
        }
        Event::Finished { command, outcome: outcome @ (Outcome::Success | Outcome::Differences), .. } => {
            tracing::info!(MESSAGE_ID = SUCCEEDED, HOSTLET_COMMAND = command, HOSTLET_OUTCOME = outcome.as_str(), "{line}");
        }
        Event::Finished { command, outcome, .. } => {
            tracing::error!(
                MESSAGE_ID = FAILED,
                HOSTLET_COMMAND = command,
                HOSTLET_OUTCOME = outcome.as_str(),
                HOSTLET_EXIT_CODE = u64::from(outcome.exit_code()),
                "{line}"
            );
        }
        Event::Warning { .. } | Event::Undone { .. } => tracing::warn!("{line}"),
        Event::Stage { name } => tracing::info!(HOSTLET_STAGE = name, "{line}"),
        Event::FetchStarted { component, source, .. } => {
            tracing::info!(HOSTLET_COMPONENT = component.as_str(), HOSTLET_SOURCE = source, "{line}");
        }
        Event::Fetched { component, digest, .. } => {
            tracing::info!(HOSTLET_COMPONENT = component.as_str(), HOSTLET_DIGEST = digest, "{line}");
        }
        Event::Change { reason, .. } => tracing::info!(HOSTLET_REASON = reason, "{line}"),
        Event::Reached { link, .. } => tracing::info!(HOSTLET_LINK = link, "{line}"),
        Event::Note { .. } | Event::FetchProgress { .. } => tracing::info!("{line}"),
    }
}

impl Sink for Journal {
    fn emit(&self, event: Event) {
        let line = match &event {
            Event::FetchProgress { .. } => None,
            // Start and end are worth an entry whatever the verbosity: they are what people search for.
            Event::Started { command, version } => Some(format!("hostlet {version}: {command}")),
            Event::Finished { text, .. } => Some(one_entry(text)),
            _ => line(&event, self.verbosity),
        };
        if let Some(line) = line {
            dispatcher::with_default(&self.dispatch, || send(&event, &line));
        }
    }

    fn shows_the_end(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write},
        sync::{Arc, Mutex},
    };

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer};

    use super::*;

    type Entries = Arc<Mutex<Vec<String>>>;
    struct Capture(Entries);
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(event.metadata().level().to_string());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }

    fn captured(events: Vec<Event>) -> Vec<String> {
        let entries = Entries::default();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(Capture(entries.clone())));
        let sink = Journal { verbosity: Verbosity::Normal, dispatch };
        for event in events {
            sink.emit(event);
        }
        drop(sink);
        entries.lock().unwrap().clone()
    }

    #[test]
    fn start_and_end_have_message_ids_and_progress_is_left_out() {
        let finished = |outcome| Event::Finished { command: "install".to_owned(), outcome, text: "the end".to_owned() };
        let entries = captured(vec![
            Event::Started { command: "install".to_owned(), version: "0.1.0" },
            Event::FetchProgress { component: crate::model::Component::Kubelet, bytes: 1, total: None },
            finished(Outcome::Success),
            finished(Outcome::Refused),
        ]);
        assert_eq!(entries.len(), 3, "{entries:?}");
        assert!(
            entries[0].starts_with("INFO") && entries[0].contains(STARTED) && entries[0].contains("hostlet 0.1.0: install")
        );
        assert!(entries[1].starts_with("INFO") && entries[1].contains(SUCCEEDED));
        assert!(entries[2].starts_with("ERROR") && entries[2].contains(FAILED) && entries[2].contains("HOSTLET_EXIT_CODE=3"));
    }

    #[test]
    fn message_ids_are_128_bits_in_hexadecimal() {
        for id in [STARTED, SUCCEEDED, FAILED] {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        }
    }
}
