//! Is this host fit? Every check runs at once, looks without touching, and says what it saw, what is needed and what to do.
//!
//! Promise: [`run`] changes nothing on the host and ends within two seconds (plus [`Subject::wait`], where a check blocks that
//! may become true by waiting), whatever hangs. A check that panics, runs out of time or cannot look is `unknown`, and an unknown
//! blocks where a failure would. Only [`Report::gate`] makes a [`Cleared`]. Where peers are configured, proving that they can
//! be reached follows, for two seconds from when the last one that is waited for has started.
//!
//! A check is one entry in the file of its family under `checks/`. Names, severities and remedies exist there and nowhere
//! else: [`list`] reads them.

mod between;
mod check;
mod checks;
mod page;
mod report;
mod runner;
mod subject;
mod text;
mod waivers;

use std::sync::Arc;

pub use check::{CheckDescription, Severity};
pub use page::page;
pub use report::{Cleared, Finding, Outcome, Refused, Report};
pub use subject::{Looks, Places, Subject};

use crate::output::{Event, Events};

/// Looks at the host with every check at once, and then at the other nodes.
pub async fn run(subject: Arc<Subject>, events: &Events) -> Report {
    events.emit(Event::Stage { name: "preflight" });
    let between = between::look(&subject, events);
    let report = runner::run_all(checks::all(), Arc::clone(&subject), events, between).await;
    events.emit(Event::Note { text: report.summary() });
    report
}

/// What every check tests, how much it weighs and what helps: for `--list` and the documentation.
#[must_use]
pub fn list() -> &'static [CheckDescription] {
    static LIST: std::sync::LazyLock<Vec<CheckDescription>> =
        std::sync::LazyLock::new(|| checks::all().map(check::Check::describe).chain([between::describe()]).collect());
    &LIST
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_an_id_of_its_own_and_says_what_it_tests_and_what_helps() {
        let mut ids = BTreeSet::new();
        for check in super::list() {
            assert!(ids.insert(check.id), "{} twice", check.id);
            assert!(check.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", check.id);
            assert!(!check.tests.is_empty() && !check.remedy.is_empty() && !check.severity.is_empty(), "{}", check.id);
        }
    }

    #[test]
    fn no_check_may_take_longer_than_the_whole_preflight() {
        for check in super::checks::all() {
            assert!(check.deadline < super::runner::TOTAL, "{}", check.id);
        }
    }
}
