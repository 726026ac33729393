//! What a check is, and what it may answer.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::Subject;

/// What a failed check does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It blocks.
    Error,
    /// It is shown.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A check, as the list of all checks shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CheckDescription {
    /// The stable name, also for waivers.
    pub id: &'static str,
    /// What holds on a fit host.
    pub tests: &'static str,
    /// What a failure does: `error`, `warning`, or on what that depends.
    pub severity: String,
    /// What helps in general; a finding may say something more exact.
    pub remedy: &'static str,
    /// Whether `--wait` looks at it again.
    pub waits: bool,
}

/// How much a check weighs.
pub(super) enum Weight {
    /// The same for every configuration.
    Always(Severity),
    /// As the configuration says: in words, and as a decision that needs no look at the host.
    Depends { on: &'static str, decide: fn(&Subject) -> Severity },
}

pub(super) const ERROR: Weight = Weight::Always(Severity::Error);
pub(super) const WARNING: Weight = Weight::Always(Severity::Warning);

/// One check.
pub(super) struct Check {
    pub(super) id: &'static str,
    /// A statement that is true on a fit host; it is what a finding calls required, unless the judgement is more exact.
    pub(super) tests: &'static str,
    pub(super) weight: Weight,
    pub(super) remedy: &'static str,
    /// After this long it is `unknown`.
    pub(super) deadline: Duration,
    /// What it tests may become true by itself while a machine boots: where it blocks it is looked at again for as long as
    /// [`Subject::wait`] says.
    pub(super) may_become_true: bool,
    pub(super) look: Look,
}

/// A future that a check returns.
pub(super) type Looking = Pin<Box<dyn Future<Output = Looked> + Send>>;

/// How a check looks.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// On a thread of its own, since a look at a file system or /proc may block for ever.
    Blocking(fn(&Subject) -> Looked),
    /// On the runtime. It learns when its time is up, so that it can answer with what it saw until then.
    Async(fn(Arc<Subject>, Instant) -> Looking),
}

/// The outer error means that the check could not find out.
pub(super) type Looked = Result<Judgement, Unclear>;

/// Why a check could not find out.
#[derive(Debug)]
pub(super) struct Unclear(pub(super) String);

impl<E: std::error::Error> From<E> for Unclear {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What a check found.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) kind: Kind,
    pub(super) observed: String,
    pub(super) required: Option<String>,
    pub(super) remedy: Option<String>,
    pub(super) again: Again,
}

/// Whether a check that may become true by itself is looked at again, where there is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Where it blocks.
    IfItBlocks,
    /// In any case: this is no last word, since what was looked at is not there yet.
    Yes,
    /// Waiting does not help with this one.
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pass,
    /// Worth a line, whatever the check weighs.
    Warning,
    /// Counts as much as the check weighs.
    Failure,
}

impl Judgement {
    pub(super) fn pass(observed: impl Into<String>) -> Self {
        Self { kind: Kind::Pass, observed: observed.into(), required: None, remedy: None, again: Again::IfItBlocks }
    }

    pub(super) fn warning(observed: impl Into<String>) -> Self {
        Self { kind: Kind::Warning, ..Self::pass(observed) }
    }

    pub(super) fn failure(observed: impl Into<String>) -> Self {
        Self { kind: Kind::Failure, ..Self::pass(observed) }
    }

    pub(super) fn required(self, required: impl Into<String>) -> Self {
        Self { required: Some(required.into()), ..self }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn again(self, again: Again) -> Self {
        Self { again, ..self }
    }
}

impl Check {
    pub(super) fn severity(&self, subject: &Subject) -> Severity {
        match self.weight {
            Weight::Always(severity) => severity,
            Weight::Depends { decide, .. } => decide(subject),
        }
    }

    pub(super) fn describe(&self) -> CheckDescription {
        let severity = match self.weight {
            Weight::Always(severity) => severity.to_string(),
            Weight::Depends { on, .. } => on.to_owned(),
        };
        CheckDescription { id: self.id, tests: self.tests, severity, remedy: self.remedy, waits: self.may_become_true }
    }
}

/// The usual deadline: a healthy host answers in a few milliseconds.
pub(super) const USUAL: Duration = Duration::from_millis(1_500);
