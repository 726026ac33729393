//! What was met with silence, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was met with silence.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) strangers: AtomicU64,
    pub(super) forged: AtomicU64,
    pub(super) misplaced: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) too_many: AtomicU64,
}

impl Counters {
    pub(in crate::mesh) fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// From addresses of no peer, signed with no key of ours, signed by another than the address's peer or for another
    /// node, of no session, and more often than is answered.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 5] {
        [
            ("from strangers", &self.strangers),
            ("with a wrong key or changed", &self.forged),
            ("from another address or for another node than signed", &self.misplaced),
            ("of no session, or repeated", &self.stale),
            ("more than is answered", &self.too_many),
        ]
        .map(|(what, counter)| (what, counter.load(Ordering::Relaxed)))
    }
}
