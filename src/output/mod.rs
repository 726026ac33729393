//! Events to people and programs: progress on a terminal, lines in a pipe, JSON lines, the journal; and the result file.
//!
//! Promise: text for people goes to standard error and results to standard output; nothing that is shown can drive a
//! terminal; that nobody reads is never a reason to stop.

mod bars;
mod escape;
mod event;
pub mod journal;
mod json;
mod line;
mod lines;
mod print;
pub mod result;
#[cfg(test)]
mod test_writer;
mod transfers;

use std::{io, sync::Arc};

use indicatif::ProgressDrawTarget;

pub use escape::printable;
pub use event::{Event, Events, Silent, Sink, silent};
pub use print::{print_json, print_message, print_on_console, print_result};
pub use result::Outcome;

use crate::host::terminal;

/// `--output`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// JSON lines on standard output: the events, and the result as the last line.
    Json,
}

/// `-q`, `-v`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// Warnings and the end.
    Quiet,
    /// What happens.
    #[default]
    Normal,
    /// And why.
    Verbose,
}

/// Chooses where events go: JSON lines on standard output, or for people the journal when standard error leads there,
/// bars when it is a terminal, and plain lines otherwise.
#[must_use]
pub fn events(format: Format, verbosity: Verbosity) -> Events {
    if format == Format::Json {
        return Arc::new(json::JsonLines::new(io::stdout(), verbosity));
    }
    if terminal::stderr_is_journal()
        && let Some(journal) = journal::Journal::new(verbosity)
    {
        return Arc::new(journal);
    }
    if terminal::stderr_is_terminal() {
        return Arc::new(bars::Bars::new(io::stderr(), ProgressDrawTarget::stderr(), verbosity));
    }
    Arc::new(lines::Lines::new(io::stderr(), verbosity))
}
