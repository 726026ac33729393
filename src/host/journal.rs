//! The last lines that a unit wrote to the journal.
//!
//! Promise: never more than asked for, never longer than the deadline; a journal that cannot be read is an empty one
//! with a reason, for it is only looked at to explain something worse. Control characters stay: who prints, escapes.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::systemd::UnitState;

/// How many lines explain a failure.
const LINES: usize = 20;
/// How much of them is wanted.
const BYTES: u64 = 64 * 1024;
/// How long journalctl may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// Lines of a journal as a paragraph that follows a message; nothing where there are none.
#[must_use]
pub fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\nthe last lines of its journal:\n    {}", lines.join("\n    "))
}

/// The last lines of a unit's run, oldest first: what it wrote, and what systemd said about it. The state tells which run:
/// its invocation, and when it began.
pub async fn last_lines(state: &UnitState) -> Vec<String> {
    let unit = &state.name;
    // What a process wrote just before it died may not be there yet. Only root may ask for this; others get what there is.
    let _ = run(&["--sync"]).await;
    let count = format!("--lines={LINES}");
    let Some(invocation) = &state.invocation_id else {
        return shown(run(&["--output=cat", "--boot", &count, &format!("--unit={unit}")]).await);
    };
    let by_run = format!("_SYSTEMD_INVOCATION_ID={invocation}");
    let about = format!("INVOCATION_ID={invocation}");
    match run(&["--output=cat", &count, &by_run]).await {
        Ok(lines) if !lines.is_empty() => shown(run(&["--output=cat", &count, &by_run, "+", &about]).await),
        // What a process wrote that died at once is attributed to its unit, but no more to its run.
        _ => {
            let since = format!("--since=@{}", seconds(state.exec_main_start.unwrap_or_default()));
            let by_unit = format!("_SYSTEMD_UNIT={unit}");
            shown(run(&["--output=cat", &count, &since, &by_unit, "+", &about]).await)
        }
    }
}

fn shown(lines: Result<Vec<String>, String>) -> Vec<String> {
    lines.unwrap_or_else(|reason| vec![format!("(journal not read: {reason})")])
}

/// Microseconds as journalctl takes them.
fn seconds(microseconds: u64) -> String {
    format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000)
}

async fn run(arguments: &[&str]) -> Result<Vec<String>, String> {
    let mut child = Command::new("journalctl")
        .args(["--no-pager", "--quiet"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("starting journalctl: {error}"))?;
    let Some(output) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut content = Vec::new();
    let collect = async {
        let result = output.take(BYTES).read_to_end(&mut content).await;
        // It ends by itself, or on the pipe that is closed when there was more than wanted.
        let status = child.wait().await;
        (result, status)
    };
    match timeout(DEADLINE, collect).await {
        Ok((Ok(_), Ok(_))) => Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect()),
        Ok((Err(error), _) | (_, Err(error))) => Err(format!("reading from journalctl: {error}")),
        Err(_) => Err(format!("journalctl did not answer within {} s", DEADLINE.as_secs())),
    }
}
