//! How long this process did not get to run: on a busy machine a deadline passes while a proof waits in a socket, and not
//! having looked must not be taken for not having arrived.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// How often it looks at the clock.
const BEAT: Duration = Duration::from_millis(20);

/// What a timer may be late on a machine that is not busy.
const USUAL: Duration = Duration::from_millis(20);

/// A verdict waits for no more than this, whatever is late.
pub(super) const MOST: Duration = Duration::from_secs(10);

/// All lateness so far.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// Looks at the clock for ever.
    pub(super) async fn beat(&self) {
        loop {
            let before = Instant::now();
            sleep(BEAT).await;
            let late = before.elapsed().saturating_sub(BEAT);
            if late > USUAL {
                self.0.fetch_add(u64::try_from(late.as_millis()).unwrap_or_default(), Ordering::Relaxed);
            }
        }
    }

    /// Milliseconds of lateness since this process began.
    pub(super) fn late(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What both ends of a session missed is added to its time.
#[derive(Debug)]
pub(super) struct Allowance {
    began: u64,
    theirs: AtomicU64,
}

impl Allowance {
    /// From now on.
    pub(super) fn new(pulse: &Pulse) -> Self {
        Self { began: pulse.late(), theirs: AtomicU64::new(0) }
    }

    /// Milliseconds that this end missed, for the other one.
    pub(super) fn ours(&self, pulse: &Pulse) -> u16 {
        u16::try_from(pulse.late().saturating_sub(self.began)).unwrap_or(u16::MAX)
    }

    /// What the other end said that it missed.
    pub(super) fn heard(&self, theirs: u16) {
        self.theirs.fetch_max(theirs.into(), Ordering::Relaxed);
    }

    /// So much longer may it take.
    pub(super) fn of(&self, pulse: &Pulse) -> Duration {
        let missed = u64::from(self.ours(pulse)) + self.theirs.load(Ordering::Relaxed);
        Duration::from_millis(missed).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_blocked_process_misses_is_added_and_bounded() {
        let pulse = Pulse::default();
        let allowance = Allowance::new(&pulse);
        let blocked = async {
            sleep(Duration::from_millis(5)).await;
            std::thread::sleep(Duration::from_millis(300));
            sleep(Duration::from_millis(60)).await;
        };
        tokio::select! { () = pulse.beat() => {}, () = blocked => {} }
        assert!(allowance.of(&pulse) >= Duration::from_millis(200), "{:?}", allowance.of(&pulse));
        allowance.heard(60_000);
        assert_eq!(allowance.of(&pulse), MOST);
        assert_eq!(Allowance::new(&pulse).of(&pulse), Duration::ZERO);
    }
}
