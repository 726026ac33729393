//! Trying again: how often, after how long, and when not.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::{FetchError, Problem, subject::Subject};
use crate::output::{Event, Events};

/// The pause before the second attempt; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause of ours is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A source that asks for more patience than this gets this much.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// The attempts at one file.
pub(super) struct Attempts<'a> {
    subject: &'a Subject,
    events: &'a Events,
    limit: u32,
    made: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(subject: &'a Subject, limit: u32, events: &'a Events) -> Self {
        Self { subject, events, limit, made: 1 }
    }

    /// Waits until the next attempt is due, or says that there is none.
    pub(super) async fn after(&mut self, problem: Problem) -> Result<(), FetchError> {
        if !problem.is_transient() || self.made >= self.limit {
            return Err(FetchError::fetching(self.subject, self.made, problem));
        }
        let pause = pause(self.made, &problem);
        self.made += 1;
        self.events.emit(Event::Warning {
            text: format!(
                "fetching {} from {}: {problem}; attempt {} of {} in {:.1} s",
                self.subject.what,
                self.subject.url,
                self.made,
                self.limit,
                pause.as_secs_f32()
            ),
        });
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Doubling, with jitter so that the nodes of a cluster that boot together do not come back together.
pub(super) fn pause(made: u32, problem: &Problem) -> Duration {
    if let Problem::Status { retry_after: Some(asked), .. } = problem {
        return (*asked).min(LONGEST_RETRY_AFTER);
    }
    let whole = FIRST_PAUSE.saturating_mul(1 << made.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    // RandomState is keyed at random in each process: enough to spread nodes.
    let jitter = RandomState::new().hash_one(made) % 512;
    whole / 2 + whole.saturating_mul(u32::try_from(jitter).unwrap_or(0)) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_vary() {
        let broken = Problem::Broken(String::new());
        for (made, whole) in [(1, 500), (2, 1000), (3, 2000), (30, 10_000)] {
            let pause = pause(made, &broken).as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{made}: {pause}");
        }
    }

    #[test]
    fn a_source_that_asks_for_patience_gets_it_up_to_a_limit() {
        let asking = |seconds| Problem::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(pause(1, &asking(7)), Duration::from_secs(7));
        assert_eq!(pause(1, &asking(86_400)), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn what_a_source_says_is_final_and_what_a_network_does_is_not() {
        let status = |code| Problem::Status { code, retry_after: None };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(status(code).is_transient(), "{code}");
        }
        for code in [301, 400, 401, 403, 404, 407, 410] {
            assert!(!status(code).is_transient(), "{code}");
        }
    }
}
