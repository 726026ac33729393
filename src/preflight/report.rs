//! What the checks found, and the gate that it opens or not.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::check::Severity;
use crate::mesh::MeshReport;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Not as it should be, and no obstacle.
    Warning,
    /// Not as it must be.
    Failure,
    /// It could not be found out: no time, no permission, or a bug.
    Unknown,
    /// It would have blocked or warned, and the configuration accepts that.
    Waived {
        /// Why.
        reason: String,
    },
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The check.
    pub id: &'static str,
    /// What a failure of it does on this node.
    pub severity: Severity,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen; several lines where there are several things.
    pub observed: String,
    /// What is needed.
    pub required: String,
    /// What to do; none when it passed.
    pub remedy: Option<String>,
    /// How long the look took.
    #[serde(rename = "duration-ms", serialize_with = "milliseconds")]
    pub duration: Duration,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds are all that a look's duration tells.
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}

impl Finding {
    /// Whether it keeps install from going on: a failure, or not knowing, where an error is at stake.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.severity == Severity::Error && matches!(self.outcome, Outcome::Failure | Outcome::Unknown)
    }

    fn rank(&self) -> u8 {
        match (&self.outcome, self.blocks()) {
            (Outcome::Failure, _) => 0,
            (Outcome::Unknown, true) => 1,
            (Outcome::Warning, _) => 2,
            (Outcome::Unknown, false) => 3,
            (Outcome::Waived { .. }, _) => 4,
            (Outcome::Pass, _) => 5,
        }
    }
}

/// What all checks found, failures first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// One for each check, and those about waivers.
    pub findings: Vec<Finding>,
    /// From the start of the first look to the end of the last.
    #[serde(rename = "duration-ms", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// Every pair of this node and a peer, where peers are configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Box<MeshReport>>,
}

impl Report {
    pub(super) fn new(mut findings: Vec<Finding>, duration: Duration) -> Self {
        findings.sort_by_key(|finding| (finding.rank(), finding.id));
        Self { findings, duration, mesh: None }
    }

    /// Whether nothing blocks.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        !self.findings.iter().any(Finding::blocks)
    }

    /// The proof that nothing blocks, or the refusal with the whole report.
    pub fn gate(self) -> Result<Cleared, Refused> {
        if self.is_clear() { Ok(Cleared { report: self }) } else { Err(Refused { report: self }) }
    }

    /// One line: how many checks ended how, and how long all took.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| self.findings.iter().filter(|finding| wanted(&finding.outcome)).count();
        let parts = [
            (count(|outcome| *outcome == Outcome::Failure), "failed"),
            (count(|outcome| *outcome == Outcome::Unknown), "unknown"),
            (count(|outcome| *outcome == Outcome::Warning), "to look at"),
            (count(|outcome| matches!(outcome, Outcome::Waived { .. })), "waived"),
            (count(|outcome| *outcome == Outcome::Pass), "passed"),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        format!("preflight: {} in {} ms", parts.join(", "), self.duration.as_millis())
    }
}

/// The proof that preflight found no obstacle: without one nothing is activated. Only [`Report::gate`] makes it.
#[derive(Debug, Clone)]
pub struct Cleared {
    report: Report,
}

impl Cleared {
    /// What a person should look at all the same: warnings, and what could not be found out and blocks nothing.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.report.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Warning | Outcome::Unknown))
    }

    /// Everything that was found.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }
}

/// Preflight refused.
#[derive(Debug, Clone)]
pub struct Refused {
    report: Report,
}

impl std::error::Error for Refused {}

impl Refused {
    /// Everything that was found.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }
}
