//! Plain lines, for a pipe or a file.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Event, Sink, Verbosity, line::line, transfers::Transfers};

/// Progress is told no more often.
const INTERVAL: Duration = Duration::from_secs(5);

/// One line for each event; one for all downloads every few seconds.
pub(super) struct Lines<W> {
    verbosity: Verbosity,
    state: Mutex<(W, Transfers)>,
}

impl<W: Write + Send> Lines<W> {
    pub(super) fn new(writer: W, verbosity: Verbosity) -> Self {
        Self { verbosity, state: Mutex::new((writer, Transfers::default())) }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, transfers) = &mut *state;
        let now = Instant::now();
        transfers.account(&event, now);
        let line = match event {
            Event::FetchProgress { .. } if self.verbosity == Verbosity::Quiet => None,
            Event::FetchProgress { .. } => transfers.line(INTERVAL, now),
            event => line(&event, self.verbosity),
        };
        if let Some(line) = line {
            // One write, so that lines of several processes do not mix; a closed pipe is no reason to stop.
            let _ = writer.write_all(format!("{line}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Component, output::test_writer::Shared};

    #[test]
    fn a_thousand_chunks_are_not_a_thousand_lines() {
        let shared = Shared::default();
        let sink = Lines::new(shared.clone(), Verbosity::Normal);
        let component = Component::Kubelet;
        sink.emit(Event::FetchStarted { component, source: "https://m/kubelet".to_owned(), total: Some(1000) });
        (0..1000).for_each(|bytes| sink.emit(Event::FetchProgress { component, bytes, total: None }));
        sink.emit(Event::Fetched { component, digest: "ab".to_owned(), cached: false });
        assert_eq!(shared.text(), "fetching kubelet from https://m/kubelet\nkubelet fetched, sha256 ab\n");
    }

    #[test]
    fn a_closed_pipe_is_no_reason_to_stop() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        Lines::new(Closed, Verbosity::Normal).emit(Event::Stage { name: "fetch" });
    }
}
