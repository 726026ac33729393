//! What happens during a run, as data: every way of showing it starts from these.

use serde::Serialize;

use super::Outcome;
use crate::model::Component;

/// One thing that happened. As JSON: an object with `event` and its fields, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// A run began.
    Started {
        /// The command: `install`.
        command: String,
        /// hostlet's version.
        version: &'static str,
    },
    /// A run ended; the last event. The result file says the rest.
    Finished {
        /// The command.
        command: String,
        /// How.
        outcome: Outcome,
        /// What went wrong and what to do, or that it succeeded.
        text: String,
    },
    /// A stage of the pipeline began: `preflight`, `fetch` ...
    Stage {
        /// Its name.
        name: &'static str,
    },
    /// Something worth a line.
    Note {
        /// The text.
        text: String,
    },
    /// Something that a person should look at, and that does not stop the run.
    Warning {
        /// The text.
        text: String,
    },
    /// A download began; `total` is in bytes, where the source told it.
    FetchStarted {
        /// What is fetched.
        component: Component,
        /// From where, without credentials.
        source: String,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// Bytes that arrived so far.
    FetchProgress {
        /// What is fetched.
        component: Component,
        /// Bytes.
        bytes: u64,
        /// Bytes in all, where the source told it.
        total: Option<u64>,
    },
    /// A download is there and its digest matched; `cached` when nothing had to be transferred.
    Fetched {
        /// What was fetched.
        component: Component,
        /// Its digest.
        digest: String,
        /// It was in the cache.
        cached: bool,
    },
    /// A change of the host is made.
    Change {
        /// What it does.
        description: String,
        /// Why.
        reason: String,
    },
    /// A link of the chain from a kubelet that runs to a Node that is Ready.
    Reached {
        /// Which.
        link: String,
        /// What was seen of it.
        seen: String,
    },
    /// A change was undone after a failure.
    Undone {
        /// What it was.
        description: String,
    },
}

/// Where events go. Cheap to clone; may be called from any thread.
pub trait Sink: Send + Sync {
    /// Takes one event. Never blocks for long and never fails: output is not a reason to stop a run.
    fn emit(&self, event: Event);

    /// Takes anything that is drawn off the screen, before text is printed past the sink. May be called more than once.
    fn finish(&self) {}

    /// Whether [`Event::Finished`] has said why a run failed, so that saying it again would only repeat it.
    fn shows_the_end(&self) -> bool {
        false
    }
}

/// A shared sink.
pub type Events = std::sync::Arc<dyn Sink>;

/// A sink that swallows everything.
#[must_use]
pub fn silent() -> Events {
    std::sync::Arc::new(Silent)
}

/// Swallows everything, for callers that show nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}
