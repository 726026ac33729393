//! Plain lines, for a pipe or a file.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Event, Sink, Verbosity,
    line::{Throttle, line},
};

/// One line for each event; progress once in ten seconds.
pub(super) struct Lines<W> {
    verbosity: Verbosity,
    state: Mutex<(W, Throttle)>,
}

impl<W: Write + Send> Lines<W> {
    pub(super) fn new(writer: W, verbosity: Verbosity) -> Self {
        Self { verbosity, state: Mutex::new((writer, Throttle::new(Duration::from_secs(10)))) }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, throttle) = &mut *state;
        if throttle.passes(&event, Instant::now())
            && let Some(line) = line(&event, self.verbosity)
        {
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
        (0..1000).for_each(|bytes| sink.emit(Event::FetchProgress { component, bytes }));
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
