//! Events to people and programs: progress on a terminal, lines in a pipe, JSON lines, the journal; and the result file.

mod event;

pub use event::{Event, Events, Silent, Sink};
