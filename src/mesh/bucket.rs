//! Token buckets: how often somebody is answered.

use std::time::{Duration, Instant};

/// So many at once, and so many each second.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: f64,
    most: f64,
    each_second: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(most: u32, each_second: u32, now: Instant) -> Self {
        Self { tokens: most.into(), most: most.into(), each_second: each_second.into(), filled: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + Duration::as_secs_f64(&passed) * self.each_second).min(self.most);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// How much of what is no message a socket is read for. Beyond that it waits, and the kernel drops what its queue does not
/// hold: a flood must not cost the host more than a trifle, and what is lost of questions is asked again, over TCP as well.
#[derive(Debug)]
pub(super) struct Patience(Bucket);

impl Patience {
    pub(super) fn new() -> Self {
        Self(Bucket::new(4_000, 4_000, Instant::now()))
    }

    /// Something was read for nothing.
    pub(super) async fn lose(&mut self) {
        if !self.0.take(Instant::now()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_is_in_it_and_then_what_flows_in() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 2, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        assert!(!bucket.take(start + Duration::from_millis(400)));
        assert!(bucket.take(start + Duration::from_millis(900)));
        let later = start + Duration::from_mins(1);
        assert_eq!((0..9).filter(|_| bucket.take(later)).count(), 3);
    }
}
