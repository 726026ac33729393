//! What uninstalling came to: what went, what was kept and why, and what could not be removed.

use std::fmt;

use serde::Serialize;

use super::Intent;
use crate::{
    host::checkpoint::checkpoint,
    output::{Event, Events},
};

/// Something that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What.
    pub what: String,
    /// Why, and what to do about it.
    pub why: String,
}

/// What a run came to.
#[derive(Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uninstalled {
    /// The generation that was in force; none where nothing was installed.
    pub generation: Option<u64>,
    /// What was done, in order.
    pub removed: Vec<String>,
    /// What was kept, because it is not ours to remove.
    pub kept: Vec<Kept>,
    /// What should have gone and could not: the next run tries again.
    pub left: Vec<Kept>,
    #[serde(skip)]
    events: Events,
}

impl Uninstalled {
    pub(super) fn new(intent: &Intent, events: Events) -> Self {
        let generation = intent.manifest.as_ref().map(|manifest| manifest.number);
        Self { generation, removed: Vec::new(), kept: Vec::new(), left: Vec::new(), events }
    }

    pub(super) fn removed(&mut self, what: impl Into<String>) {
        let description = what.into();
        checkpoint(format_args!("uninstall: done: {description}"));
        self.events.emit(Event::Change { description: description.clone(), reason: "uninstalling".to_owned() });
        self.removed.push(description);
    }

    pub(super) fn kept(&mut self, what: impl fmt::Display, why: impl Into<String>) {
        self.kept.push(Kept { what: what.to_string(), why: why.into() });
    }

    pub(super) fn left(&mut self, what: impl fmt::Display, why: impl Into<String>) {
        self.left.push(Kept { what: what.to_string(), why: why.into() });
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl fmt::Display for Uninstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.generation, self.removed.len()) {
            (Some(generation), count) => writeln!(f, "Uninstalled generation {generation}: {count} changes.")?,
            (None, 0) => writeln!(f, "Nothing is installed.")?,
            (None, count) => writeln!(f, "Nothing is installed; {count} leftovers of an installation were removed.")?,
        }
        if !self.kept.is_empty() {
            writeln!(f, "Kept")?;
        }
        self.kept.iter().try_for_each(|kept| writeln!(f, "  {kept}"))
    }
}

impl fmt::Debug for Uninstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uninstalled")
            .field("generation", &self.generation)
            .field("removed", &self.removed)
            .field("kept", &self.kept)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
