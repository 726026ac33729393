//! Runs checks at once, each with its own deadline, and turns every way of not answering into a finding.
//!
//! A check that may become true by itself is looked at again for as long as [`Subject::wait`] says, while it blocks or says
//! that it saw only a beginning; one that passed, or that could only warn, is not. So is any check that ran out of time.
//!
//! A blocking look has a thread of its own rather than one of the runtime's blocking pool: a runtime waits for its pool when
//! the program ends, and a look that hangs in the kernel must not keep the program from ending.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    Subject,
    check::{Again, Check, Judgement, Kind, Look, Looked, Severity},
    report::{Finding, Outcome, Report},
    waivers,
};
use crate::{
    host::detached,
    mesh::MeshReport,
    output::{Event, Events},
};

/// The whole preflight is over after this, without `--wait`.
pub(super) const TOTAL: Duration = Duration::from_millis(1_900);

/// Between two looks of a check that is waited for: often enough for a boot, rarely enough for the host.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a look.
enum Ended {
    Looked(Looked),
    Panicked(String),
    OutOfTime(Duration),
    NotStarted(String),
}

#[cfg(test)]
pub(super) async fn run(checks: impl Iterator<Item = &'static Check>, subject: Arc<Subject>, events: &Events) -> Report {
    run_all(checks, subject, events, async { (None, None) }).await
}

/// All checks, and after them what is between nodes.
pub(super) async fn run_all(
    checks: impl Iterator<Item = &'static Check>,
    subject: Arc<Subject>,
    events: &Events,
    between: impl Future<Output = (Option<Finding>, Option<MeshReport>)>,
) -> Report {
    let start = Instant::now();
    let checks: Vec<_> = checks.collect();
    let mut known: BTreeSet<_> = checks.iter().map(|check| check.id).collect();
    let mut findings = join_all(checks.into_iter().map(|check| finding(check, Arc::clone(&subject), events))).await;
    let (more, mesh) = between.await;
    known.extend(more.iter().map(|finding| finding.id));
    findings.extend(more);
    waivers::apply(&subject.settings.preflight.waive, &mut findings, &known);
    Report { mesh: mesh.map(Box::new), ..Report::new(findings, start.elapsed()) }
}

/// What a check found, at the last look.
async fn finding(check: &'static Check, subject: Arc<Subject>, events: &Events) -> Finding {
    let start = Instant::now();
    let patience = subject.wait;
    let mut told = false;
    loop {
        let (found, again) = once(check, Arc::clone(&subject)).await;
        let is_waived = subject.settings.preflight.waive.iter().any(|waiver| waiver.check == check.id);
        let settled = match again {
            Again::IfItBlocks => is_waived || !found.blocks(),
            Again::Yes => is_waived,
            Again::No => true,
        };
        if settled || start.elapsed() + PAUSE >= patience {
            // What was waited for took that long, too.
            let duration = if told { start.elapsed() } else { found.duration };
            return Finding { duration, ..found };
        }
        if !told {
            let text = format!("waiting up to {} s for {}: {}", patience.as_secs(), check.id, found.observed);
            events.emit(Event::Note { text });
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a check finds now, and whether it is worth another look.
async fn once(check: &'static Check, subject: Arc<Subject>) -> (Finding, Again) {
    let start = Instant::now();
    let severity = check.severity(&subject);
    let (ended, took) = look(check, subject, start).await;
    let duration = took.unwrap_or_else(|| start.elapsed());
    let unknown = |observed: String, remedy: &str| (Outcome::Unknown, observed, None, Some(remedy.to_owned()));
    let again = match &ended {
        // Whatever it looks at: a machine that boots is busy, and may answer in time later.
        Ended::OutOfTime(_) => Again::IfItBlocks,
        Ended::Panicked(_) => Again::No,
        _ if !check.may_become_true => Again::No,
        Ended::Looked(Ok(judgement)) => judgement.again,
        Ended::Looked(Err(_)) | Ended::NotStarted(_) => Again::IfItBlocks,
    };
    let (outcome, observed, required, remedy) = match ended {
        Ended::Looked(Ok(judgement)) => judged(judgement, severity, check.remedy),
        Ended::Looked(Err(unclear)) => unknown(format!("could not find out: {}", unclear.0), check.remedy),
        Ended::Panicked(message) => {
            unknown(format!("the check itself broke: {message}"), "this is a bug in hostlet: please report it")
        }
        Ended::OutOfTime(deadline) => unknown(
            format!("no answer within {} ms", deadline.as_millis()),
            "find what hangs (a network file system, a daemon that does not answer) and run it again",
        ),
        Ended::NotStarted(message) => unknown(format!("could not start to look: {message}"), check.remedy),
    };
    let required = required.unwrap_or_else(|| check.tests.to_owned());
    (Finding { id: check.id, severity, outcome, observed, required, remedy, duration }, again)
}

fn judged(judgement: Judgement, severity: Severity, remedy: &str) -> (Outcome, String, Option<String>, Option<String>) {
    let outcome = match (judgement.kind, severity) {
        (Kind::Pass, _) => Outcome::Pass,
        (Kind::Failure, Severity::Error) => Outcome::Failure,
        (Kind::Failure, Severity::Warning) | (Kind::Warning, _) => Outcome::Warning,
    };
    let remedy = (outcome != Outcome::Pass).then(|| judgement.remedy.unwrap_or_else(|| remedy.to_owned()));
    (outcome, judgement.observed, judgement.required, remedy)
}

/// How a look ended, and how long it took where it did: not how long its answer then waited to be taken, which on a busy
/// host is more.
async fn look(check: &'static Check, subject: Arc<Subject>, start: Instant) -> (Ended, Option<Duration>) {
    let deadline = check.deadline.min(TOTAL);
    let ended = match check.look {
        Look::Blocking(look) => tokio::time::timeout(deadline, on_a_thread(check.id, look, subject)).await,
        Look::Async(look) => {
            let task = AbortOnDrop(tokio::spawn(async move {
                let began = Instant::now();
                (look(subject, start + deadline).await, began.elapsed())
            }));
            tokio::time::timeout(deadline, async move {
                let mut task = task;
                match (&mut task.0).await {
                    Ok((looked, took)) => (Ended::Looked(looked), Some(took)),
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => (Ended::Panicked(message(&*panic)), None),
                        Err(error) => (Ended::NotStarted(error.to_string()), None),
                    },
                }
            })
            .await
        }
    };
    ended.unwrap_or((Ended::OutOfTime(deadline), None))
}

/// A look that is no longer waited for is stopped.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn on_a_thread(id: &'static str, look: fn(&Subject) -> Looked, subject: Arc<Subject>) -> (Ended, Option<Duration>) {
    let work = move || {
        let began = Instant::now();
        (catch_unwind(AssertUnwindSafe(|| look(&subject))), began.elapsed())
    };
    match detached::run(id, work).await {
        Ok((Ok(looked), took)) => (Ended::Looked(looked), Some(took)),
        Ok((Err(panic), took)) => (Ended::Panicked(message(&*panic)), Some(took)),
        Err(error) => (Ended::NotStarted(error.to_string()), None),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
#[path = "runner_tests.rs"]
#[allow(clippy::unnecessary_wraps, reason = "they stand for looks that may fail")]
pub(super) mod tests;
