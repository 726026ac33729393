//! A session that a peer has with this node.

use std::{sync::Arc, time::Instant};

use tokio::task::AbortHandle;

use crate::mesh::{requirement::Family, session::Outgoing};

/// A session that a peer has with this node.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) peer: usize,
    pub(super) family: Family,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) probing: AbortHandle,
    pub(super) heard: Instant,
    pub(super) done: bool,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.probing.abort();
    }
}
