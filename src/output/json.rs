//! JSON lines: one object for each event, with `time` and `event`. The result of the command follows them as the
//! last line, and has no `event`.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{Event, Sink, Verbosity, escape::printable_json, line::Throttle};

/// Progress at most once a second; none when quiet.
pub(super) struct JsonLines<W> {
    verbosity: Verbosity,
    state: Mutex<(W, Throttle)>,
}

#[derive(Serialize)]
struct Line<'e> {
    time: Timestamp,
    #[serde(flatten)]
    event: &'e Event,
}

impl<W: Write + Send> JsonLines<W> {
    pub(super) fn new(writer: W, verbosity: Verbosity) -> Self {
        Self { verbosity, state: Mutex::new((writer, Throttle::new(Duration::from_secs(1)))) }
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn emit(&self, event: Event) {
        // The result says how it ended, with more than the event has.
        let left_out = match event {
            Event::Finished { .. } => true,
            Event::FetchProgress { .. } => self.verbosity == Verbosity::Quiet,
            _ => false,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, throttle) = &mut *state;
        if !left_out && throttle.passes(&event, Instant::now()) {
            let _ = writer.write_all(json_line(&Line { time: Timestamp::now(), event: &event }).as_bytes());
            let _ = writer.flush();
        }
    }
}

/// A value as one line, harmless for a terminal.
pub(super) fn json_line(value: &impl Serialize) -> String {
    // Serialisation fails only for maps whose keys are not text, and such values are not shown.
    let line =
        serde_json::to_string(value).unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    format!("{}\n", printable_json(&line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Component, output::test_writer::Shared};

    #[test]
    fn each_event_is_an_object_on_a_line_of_its_own() {
        let shared = Shared::default();
        let sink = JsonLines::new(shared.clone(), Verbosity::Normal);
        sink.emit(Event::FetchStarted { component: Component::CniPlugins, source: "a\nb\u{9b}".to_owned(), total: None });
        sink.emit(Event::FetchProgress { component: Component::CniPlugins, bytes: 1, total: None });
        sink.emit(Event::Stage { name: "stage" });
        let text = shared.text();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["event"], "fetch-started");
        assert_eq!(lines[0]["component"], "cni-plugins");
        assert_eq!(lines[0]["source"], "a\nb\u{9b}");
        assert!(lines[1]["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert!(!text.contains('\u{9b}'));
    }
}
