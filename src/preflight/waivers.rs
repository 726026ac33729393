//! Waivers: a check may fail where the configuration says so, by its id and with a reason. There is no "ignore all".

use std::{collections::BTreeSet, time::Duration};

use super::{
    check::Severity,
    report::{Finding, Outcome},
};
use crate::config::Waiver;

/// The id of the finding that speaks of waivers themselves; it is no check and cannot be waived.
const ID: &str = "waivers";

/// Marks what is waived, and adds a warning for each waiver that does nothing.
pub(super) fn apply(waivers: &[Waiver], findings: &mut Vec<Finding>, known: &BTreeSet<&'static str>) {
    let mut complaints = Vec::new();
    for waiver in waivers {
        if waiver.reason.trim().is_empty() {
            complaints.push(format!("the waiver for {:?} gives no reason and has no effect", waiver.check));
        } else if !known.contains(waiver.check.as_str()) {
            complaints.push(match nearest(&waiver.check, known) {
                Some(id) => format!("there is no check {:?}; did you mean {id:?}?", waiver.check),
                None => format!("there is no check {:?}", waiver.check),
            });
        } else {
            complaints.extend(match waive(waiver, findings) {
                Effect::Waived => None,
                Effect::NotNeeded => Some(format!("the waiver for {:?} was not needed: the check passed", waiver.check)),
                Effect::Twice => Some(format!("{:?} is waived twice: the first reason counts", waiver.check)),
            });
        }
    }
    if !complaints.is_empty() {
        findings.push(Finding {
            id: ID,
            severity: Severity::Warning,
            outcome: Outcome::Warning,
            observed: complaints.join("\n"),
            required: "each waiver names a check that would block or warn, and a reason".to_owned(),
            remedy: Some("remove or correct it under [preflight] in /etc/hostlet/hostlet.toml".to_owned()),
            duration: Duration::ZERO,
        });
    }
}

/// What a waiver did.
enum Effect {
    Waived,
    NotNeeded,
    /// Another one was first.
    Twice,
}

fn waive(waiver: &Waiver, findings: &mut [Finding]) -> Effect {
    let Some(finding) = findings.iter_mut().find(|finding| finding.id == waiver.check) else { return Effect::NotNeeded };
    match finding.outcome {
        Outcome::Pass => Effect::NotNeeded,
        Outcome::Waived { .. } => Effect::Twice,
        Outcome::Warning | Outcome::Failure | Outcome::Unknown => {
            finding.outcome = Outcome::Waived { reason: waiver.reason.clone() };
            Effect::Waived
        }
    }
}

fn nearest(text: &str, known: &BTreeSet<&'static str>) -> Option<&'static str> {
    let scored = known.iter().map(|id| (strsim::jaro_winkler(text, id), *id)).filter(|(likeness, _)| *likeness > 0.8);
    scored.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, id)| id)
}
