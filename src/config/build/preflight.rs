//! `[preflight]`

use crate::config::{
    problems::Problems,
    raw::{RawPreflight, RawWaiver},
    settings::{Preflight, Waiver},
};

pub(super) fn preflight(raw: RawPreflight, problems: &mut Problems<'_>) -> Preflight {
    let mut waive: Vec<Waiver> = Vec::new();
    for raw in raw.waive {
        let Some(waiver) = waiver(raw, &waive, problems) else { continue };
        waive.push(waiver);
    }
    let mut extra_ports = Vec::new();
    for (port, at) in problems.list(raw.extra_ports) {
        let port = (port.0, port.1);
        if extra_ports.contains(&port) {
            problems.add(&at, format!("{}/{} is given twice", port.0, port.1));
        } else {
            extra_ports.push(port);
        }
    }
    Preflight { waive, extra_ports }
}

/// Whether a check of that id exists is for the preflight to say: it knows them.
fn waiver(raw: RawWaiver, others: &[Waiver], problems: &mut Problems<'_>) -> Option<Waiver> {
    let check = problems.located(raw.check);
    let reason = problems.located(raw.reason);
    match (check, reason) {
        (None, None) => {
            problems.add_at_key(&["preflight.waive"], "a waiver names no check").help.push(EXAMPLE.to_owned());
            None
        }
        (Some((check, at)), None) => {
            problems.add_missing(&at, format!("the waiver of {check} has no reason")).help.push(EXAMPLE.to_owned());
            None
        }
        (None, Some((_, at))) => {
            problems.add_missing(&at, "the waiver names no check").help.push(EXAMPLE.to_owned());
            None
        }
        (Some((check, at)), Some((reason, reason_at))) => {
            let id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-/".contains(c);
            if check.is_empty() || !check.chars().all(id) {
                problems.add(&at, format!("{check:?} is not the id of a check: lower-case letters, digits, '-' and '/'"));
            }
            if reason.trim().is_empty() {
                problems.add(&reason_at, format!("the waiver of {check} has an empty reason")).help.push(EXAMPLE.to_owned());
            }
            if others.iter().any(|other| other.check == check) {
                problems.add(&at, format!("{check} is waived twice"));
            }
            Some(Waiver { check, reason })
        }
    }
}

const EXAMPLE: &str = "such as: waive = [{ check = \"swap\", reason = \"zram only, agreed in OPS-12\" }]";
