//! Progress on a terminal: lines scroll, below them a bar for each download and the stage under way.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Event, Sink, Verbosity, line::line, transfers::Transfers};
use crate::model::Component;

const OVERALL: &str = "  {prefix:12} {binary_bytes:>10} of {binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// Draws on standard error, and leaves nothing of the drawing behind when it is finished or dropped.
pub(super) struct Bars<W: Write + Send> {
    verbosity: Verbosity,
    multi: MultiProgress,
    state: Mutex<State<W>>,
}

struct State<W> {
    writer: W,
    downloads: BTreeMap<Component, ProgressBar>,
    transfers: Transfers,
    overall: Option<ProgressBar>,
    stage: Option<ProgressBar>,
}

impl<W: Write + Send> Bars<W> {
    pub(super) fn new(writer: W, target: ProgressDrawTarget, verbosity: Verbosity) -> Self {
        let state = State { writer, downloads: BTreeMap::new(), transfers: Transfers::default(), overall: None, stage: None };
        Self { verbosity, multi: MultiProgress::with_draw_target(target), state: Mutex::new(state) }
    }

    fn print(&self, state: &mut State<W>, event: &Event) {
        if let Some(line) = line(event, self.verbosity) {
            self.multi.suspend(|| {
                let _ = state.writer.write_all(format!("{line}\n").as_bytes());
            });
        }
    }

    fn start_download(&self, state: &mut State<W>, component: Component, total: Option<u64>) {
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "  {prefix:12} [{bar:30}] {binary_bytes:>10} of {binary_total_bytes:10} {binary_bytes_per_sec} {eta}",
            )),
            None => {
                ProgressBar::no_length().with_style(style("  {prefix:12} {spinner} {binary_bytes:>10} {binary_bytes_per_sec}"))
            }
        };
        let bar = match &state.stage {
            Some(spinner) => self.multi.insert_before(state.overall.as_ref().unwrap_or(spinner), bar),
            None => self.multi.add(bar),
        };
        bar.set_prefix(component.as_str());
        if let Some(old) = state.downloads.insert(component, bar) {
            old.finish_and_clear();
        }
    }

    /// A line for all downloads together, as long as there are several.
    fn show_overall(&self, state: &mut State<W>) {
        if state.transfers.under_way() < 2 && state.overall.is_none() {
            return;
        }
        let (bytes, total) = state.transfers.overall();
        let bar = state.overall.get_or_insert_with(|| {
            let bar = ProgressBar::no_length().with_style(style(OVERALL));
            bar.set_prefix("all");
            match &state.stage {
                Some(spinner) => self.multi.insert_before(spinner, bar),
                None => self.multi.add(bar),
            }
        });
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
        if state.transfers.under_way() == 0
            && let Some(bar) = state.overall.take()
        {
            bar.finish_and_clear();
        }
    }

    fn start_stage(&self, state: &mut State<W>, name: &'static str) {
        let running = state.stage.get_or_insert_with(|| {
            let spinner = self.multi.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg} {elapsed}")));
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        running.set_message(name);
        running.reset_elapsed();
    }

    fn clear(&self, state: &mut State<W>) {
        std::mem::take(&mut state.downloads)
            .into_values()
            .chain(state.overall.take())
            .chain(state.stage.take())
            .for_each(|bar| bar.finish_and_clear());
        let _ = self.multi.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

impl<W: Write + Send> Sink for Bars<W> {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.transfers.account(&event, Instant::now());
        match &event {
            Event::FetchProgress { component, bytes, .. } => {
                if let Some(bar) = state.downloads.get(component) {
                    bar.set_position(*bytes);
                }
                self.show_overall(&mut state);
                return;
            }
            Event::FetchStarted { component, total, .. } if self.verbosity != Verbosity::Quiet => {
                self.start_download(&mut state, *component, *total);
                if self.verbosity == Verbosity::Normal {
                    return;
                }
            }
            Event::Fetched { component, .. } => {
                if let Some(bar) = state.downloads.remove(component) {
                    bar.finish_and_clear();
                }
                self.show_overall(&mut state);
            }
            Event::Stage { name } if self.verbosity != Verbosity::Quiet => self.start_stage(&mut state, name),
            Event::Finished { .. } => self.clear(&mut state),
            _ => {}
        }
        self.print(&mut state, &event);
    }

    fn finish(&self) {
        self.clear(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<W: Write + Send> Drop for Bars<W> {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Outcome, test_writer::Shared};

    fn bars(verbosity: Verbosity) -> (Shared, Bars<Shared>) {
        let shared = Shared::default();
        (shared.clone(), Bars::new(shared, ProgressDrawTarget::hidden(), verbosity))
    }

    #[test]
    fn a_download_is_a_bar_and_its_end_is_a_line() {
        let (shared, sink) = bars(Verbosity::Normal);
        let component = Component::Kubelet;
        sink.emit(Event::Stage { name: "fetch" });
        sink.emit(Event::FetchStarted { component, source: "https://m".to_owned(), total: Some(2) });
        sink.emit(Event::FetchProgress { component, bytes: 1, total: None });
        assert_eq!(sink.state.lock().unwrap().downloads[&component].position(), 1);
        sink.emit(Event::Fetched { component, digest: "ab".to_owned(), cached: false });
        assert!(sink.state.lock().unwrap().downloads.is_empty());
        assert_eq!(shared.text(), "== fetch\nkubelet fetched, sha256 ab\n");
    }

    #[test]
    fn nothing_is_drawn_any_more_once_the_run_has_ended() {
        let (shared, sink) = bars(Verbosity::Normal);
        sink.emit(Event::Stage { name: "health" });
        sink.emit(Event::FetchStarted { component: Component::Flanneld, source: String::new(), total: None });
        let outcome = Outcome::Restored;
        sink.emit(Event::Finished { command: "install".to_owned(), outcome, text: "failed".to_owned() });
        let state = sink.state.lock().unwrap();
        assert!(state.downloads.is_empty() && state.stage.is_none());
        assert_eq!(shared.text(), "== health\n");
    }

    #[test]
    fn the_templates_are_well_formed() {
        for template in [
            "  {prefix:12} [{bar:30}] {binary_bytes:>10} of {binary_total_bytes:10} {binary_bytes_per_sec} {eta}",
            "  {prefix:12} {spinner} {binary_bytes:>10} {binary_bytes_per_sec}",
            "{spinner} {msg} {elapsed}",
            OVERALL,
        ] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
