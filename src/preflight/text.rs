//! A report for people: aligned columns, failures first, what is needed and what helps indented below.

use std::fmt;

use super::report::{Finding, Outcome, Refused, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_findings(f, self.findings.iter())?;
        f.write_str(&self.summary())
    }
}

/// The findings that block, and nothing else: the end of an install should not bury them.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "preflight refused; nothing was changed")?;
        write_findings(f, self.report().findings.iter().filter(|finding| finding.blocks()))?;
        f.write_str(&self.report().summary())
    }
}

fn write_findings<'a>(f: &mut fmt::Formatter<'_>, findings: impl Iterator<Item = &'a Finding> + Clone) -> fmt::Result {
    let width = findings.clone().map(|finding| finding.id.len()).max().unwrap_or(0);
    findings.into_iter().try_for_each(|finding| write_finding(f, finding, width))
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding, width: usize) -> fmt::Result {
    let word = match finding.outcome {
        Outcome::Pass => "pass",
        Outcome::Warning => "WARNING",
        Outcome::Failure => "FAIL",
        Outcome::Unknown => "UNKNOWN",
        Outcome::Waived { .. } => "waived",
    };
    let indent = " ".repeat(7 + 2 + width + 2);
    let mut lines = finding.observed.lines();
    writeln!(f, "{word:<7}  {:<width$}  {}", finding.id, lines.next().unwrap_or_default())?;
    for line in lines {
        writeln!(f, "{indent}{line}")?;
    }
    if let Outcome::Waived { reason } = &finding.outcome {
        writeln!(f, "{indent}because: {reason}")?;
    }
    if matches!(finding.outcome, Outcome::Warning | Outcome::Failure | Outcome::Unknown) {
        writeln!(f, "{indent}needed: {}", finding.required)?;
        for (index, line) in finding.remedy.iter().flat_map(|remedy| remedy.lines()).enumerate() {
            writeln!(f, "{indent}{} {line}", if index == 0 { "remedy:" } else { "       " })?;
        }
    }
    Ok(())
}
