//! All pairs of a node as a table: a line for each peer or for many alike, a column for each port.

use std::fmt::Write as _;

use super::{
    body::Size,
    report::{Ended, MeshReport, PairReport, State},
    requirement::{Family, Requirement},
    verdict::{Status, Verdict},
};

/// So many peers of which all is well, and the same, become one line.
const ALIKE: usize = 4;

/// A peer, or several alike.
struct Row {
    names: Vec<String>,
    state: &'static str,
    cells: Vec<String>,
    passes: bool,
}

impl MeshReport {
    /// What was found, `there/back` for each port, in lines of at most so many columns where names allow it: ok, FAIL, MTU
    /// (only small packets arrive), ? (unverified), - (not needed). Worst first; peers that passed alike share a line, and
    /// are named below.
    #[must_use]
    pub fn table(&self, width: usize) -> String {
        let mut columns: Vec<Requirement> =
            self.pairs.iter().flat_map(|pair| &pair.verdicts).map(|verdict| verdict.evidence.requirement).collect();
        columns.sort();
        columns.dedup();
        let heads: Vec<String> = columns.iter().map(|one| head(*one, &columns)).collect();
        let rows = self.rows(&columns);
        let label = |at: usize, row: &Row| match row.names.as_slice() {
            [name] => name.clone(),
            names => format!("{} peers [{}]", names.len(), at + 1),
        };
        let grouped = |row: &&Row| row.names.len() > 1;
        let labels: Vec<String> = rows
            .iter()
            .scan(0, |groups, row| {
                let text = label(*groups, row);
                *groups += usize::from(grouped(&row));
                Some(text)
            })
            .collect();
        let first = labels.iter().map(String::len).max().unwrap_or(0).max(4);
        let state = rows.iter().map(|row| row.state.len()).max().unwrap_or(0).max(12);
        let mut text = String::new();
        for block in blocks(&heads, width.saturating_sub(first + 2 + state)) {
            if !text.is_empty() {
                text.push('\n');
            }
            let _ = write!(text, "{:<first$}  {:<state$}", "peer", "state");
            for head in &heads[block.clone()] {
                let _ = write!(text, "  {head:<9}");
            }
            for (row, label) in rows.iter().zip(&labels) {
                let _ = write!(text.end_line(), "{label:<first$}  {:<state$}", row.state);
                for (cell, head) in row.cells[block.clone()].iter().zip(&heads[block.clone()]) {
                    let _ = write!(text, "  {cell:<0$}", head.len().max(9));
                }
            }
            text.end_line();
        }
        text.push_str("there/back: ok, FAIL, MTU (only small packets arrive), ? (unverified), - (not needed, or not tried)\n");
        for (at, row) in rows.iter().filter(grouped).enumerate() {
            text.push_str(&wrapped(&format!("[{}]", at + 1), &row.names, width));
        }
        if let Some(sampled) = &self.sampled {
            let _ = writeln!(text, "sampled: {} of {} peers", sampled.probed, sampled.nodes - 1);
        }
        text
    }

    fn rows(&self, columns: &[Requirement]) -> Vec<Row> {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by_key(|pair| (std::cmp::Reverse(pair.ended()), natural(pair.peer.name.as_str())));
        let row = |pair: &PairReport| {
            let cell = |column: &Requirement| format!("{}/{}", self.cell(pair, *column, true), self.cell(pair, *column, false));
            let (names, cells) = (vec![pair.peer.name.to_string()], columns.iter().map(cell).collect());
            Row { names, state: state(&pair.state), cells, passes: pair.ended() == Ended::Pass }
        };
        let all: Vec<Row> = pairs.into_iter().map(row).collect();
        let alike = |row: &Row| all.iter().filter(|other| other.passes && other.cells == row.cells).count() >= ALIKE;
        let together: Vec<bool> = all.iter().map(|row| row.passes && alike(row)).collect();
        let mut rows: Vec<Row> = Vec::new();
        for (mut row, together) in all.into_iter().zip(together) {
            let group = rows.iter_mut().find(|other| together && other.passes && other.cells == row.cells);
            match group {
                Some(group) => group.names.append(&mut row.names),
                None => rows.push(row),
            }
        }
        rows
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

fn head(one: Requirement, columns: &[Requirement]) -> String {
    let twice = columns.iter().filter(|other| (other.protocol, other.port) == (one.protocol, one.port)).count() > 1;
    if twice && one.family == Family::Ipv6 { format!("{one} IPv6") } else { one.to_string() }
}

/// Columns that stand beside each other in so much room; one at the least.
fn blocks(heads: &[String], room: usize) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, head) in heads.iter().enumerate() {
        let wide = head.len().max(9) + 2;
        if at > start && used + wide > room {
            blocks.push(start..at);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    blocks.push(start..heads.len());
    blocks
}

/// Names after a mark, in as many lines as they need.
fn wrapped(mark: &str, names: &[String], width: usize) -> String {
    let mut text = mark.to_owned();
    let mut used = mark.len();
    for (at, name) in names.iter().enumerate() {
        let last = at + 1 == names.len();
        let wide = 1 + name.len() + usize::from(!last);
        if used + wide > width && used > mark.len() {
            let _ = write!(text, "\n{:1$}", "", mark.len());
            used = mark.len();
        }
        let _ = write!(text, " {name}{}", if last { "" } else { "," });
        used += wide;
    }
    text + "\n"
}

/// node-2 stands before node-10.
fn natural(name: &str) -> (String, u64, String) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (head, number) = name.split_at(name.len() - digits);
    (head.to_owned(), number.parse().unwrap_or_default(), name.to_owned())
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
        State::Down { .. } => "down",
        State::OneFamily { family: Family::Ipv4, .. } => "NO IPv4",
        State::OneFamily { family: Family::Ipv6, .. } => "NO IPv6",
        State::OneWay { .. } => "ONE WAY",
        State::NoRoute { .. } => "NO ROUTE",
        State::NoResponder { .. } => "no responder",
        State::NotStarted { .. } => "not started",
        State::OtherVersion { .. } => "OTHER VERSION",
        State::Translated { .. } => "TRANSLATED",
        State::Silent { .. } => "silent",
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
