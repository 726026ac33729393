//! All pairs of a node as a table: a line for each peer, a column for each port.

use std::fmt::Write as _;

use super::{
    body::Size,
    report::{MeshReport, PairReport, State},
    requirement::Requirement,
    verdict::{Status, Verdict},
};

impl MeshReport {
    /// What was found, `there/back` for each port: ok, FAIL, MTU (only small packets arrive), ? (unverified), - (not needed).
    #[must_use]
    pub fn table(&self) -> String {
        let mut columns: Vec<Requirement> =
            self.pairs.iter().flat_map(|pair| &pair.verdicts).map(|verdict| verdict.evidence.requirement).collect();
        columns.sort();
        columns.dedup();
        let heads: Vec<String> = columns
            .iter()
            .map(|one| {
                let twice = columns.iter().filter(|other| (other.protocol, other.port) == (one.protocol, one.port)).count() > 1;
                if twice && one.family == super::requirement::Family::Ipv6 { format!("{one} IPv6") } else { one.to_string() }
            })
            .collect();
        let width = self.pairs.iter().map(|pair| pair.peer.name.as_str().len()).max().unwrap_or(0).max(4);
        let mut text = format!("{:<width$}  {:<12}", "peer", "state");
        for head in &heads {
            let _ = write!(text, "  {head:<9}");
        }
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by(|one, other| one.peer.name.cmp(&other.peer.name));
        for pair in pairs {
            let _ = write!(text.end_line(), "{:<width$}  {:<12}", pair.peer.name.as_str(), state(&pair.state));
            for (column, head) in columns.iter().zip(&heads) {
                let cell = format!("{}/{}", self.cell(pair, *column, true), self.cell(pair, *column, false));
                let _ = write!(text, "  {cell:<0$}", head.len().max(9));
            }
        }
        text.end_line();
        text.push_str("there/back: ok, FAIL, MTU (only small packets arrive), ? (unverified), - (not needed, or not tried)\n");
        text
    }

    fn cell(&self, pair: &PairReport, requirement: Requirement, there: bool) -> &'static str {
        let of = |verdict: &&Verdict| {
            verdict.evidence.requirement == requirement && (verdict.evidence.from.name == self.this.name) == there
        };
        let found = |status, size: Option<Size>| {
            let fits = |verdict: &Verdict| verdict.status == status && size.is_none_or(|size| verdict.evidence.size == size);
            pair.verdicts.iter().filter(of).any(fits)
        };
        match (found(Status::Fail, Some(Size::Small)), found(Status::Fail, Some(Size::Full))) {
            (true, _) => "FAIL",
            (false, true) => "MTU",
            (false, false) if found(Status::Unverified, None) => "?",
            (false, false) if found(Status::Pass, None) => "ok",
            (false, false) => "-",
        }
    }
}

/// Lines without blanks at their ends.
trait EndLine {
    fn end_line(&mut self) -> &mut Self;
}

impl EndLine for String {
    fn end_line(&mut self) -> &mut Self {
        self.truncate(self.trim_end_matches(' ').len());
        self.push('\n');
        self
    }
}

const fn state(state: &State) -> &'static str {
    match state {
        State::Proved => "proved",
        State::Down => "down",
        State::OneWay { .. } => "ONE WAY",
        State::NoRoute { .. } => "NO ROUTE",
        State::NoResponder { .. } => "no responder",
        State::NotStarted { .. } => "not started",
        State::OtherVersion { .. } => "OTHER VERSION",
        State::Translated { .. } => "TRANSLATED",
        State::Silent { .. } => "silent",
    }
}
