//! `hostlet preflight`

use super::Done;
use crate::{
    pipeline::{self, Context, Failure},
    preflight,
};

pub(super) async fn run(context: &Context) -> Result<Done, Failure> {
    let report = pipeline::local_preflight(context).await?;
    let (text, json) = (report.to_string(), report.clone());
    let code = if report.is_clear() { 0 } else { 3 };
    Ok(Done::new(&text, &json)?.exit_code(code))
}

pub(super) fn list(markdown: bool) -> Result<Done, Failure> {
    let checks = preflight::list();
    if markdown {
        return Done::new(&preflight::page(), &checks);
    }
    let line = |check: &preflight::CheckDescription| {
        format!("{:<20} {:<8} {}\n{:30}{}\n", check.id, check.severity, check.tests, "", check.remedy)
    };
    Done::new(&checks.iter().map(line).collect::<String>(), &checks)
}
