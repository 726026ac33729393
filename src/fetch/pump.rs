//! From the network to the disk: one task receives, one thread hashes and writes, and a short queue lies between them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Problem, body::Body, partial::Partial};
use crate::{
    model::Component,
    output::{Event, Events},
};

/// So many pieces wait for the disk, so that neither side waits for a turn of the other on a busy machine. A piece has at most
/// some 400 KiB (hyper's largest read), and mostly half of that.
const DEPTH: usize = 8;
/// Progress is told no more often.
const INTERVAL: Duration = Duration::from_millis(100);

/// A partial file, used by the task that receives and, while bytes come, by the thread that writes.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Partial>>);

impl Shared {
    pub(super) fn new(partial: Partial) -> Self {
        Self(Arc::new(Mutex::new(partial)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Partial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with it that may block.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Partial) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = self.clone();
        tokio::task::spawn_blocking(move || work(&mut shared.lock())).await.map_err(Problem::stopped)
    }
}

/// Tells how far a download is, now and then.
pub(super) struct Progress<'a> {
    pub(super) component: Component,
    pub(super) events: &'a Events,
    pub(super) bytes: u64,
    pub(super) told: Instant,
    pub(super) total: Option<u64>,
}

impl Progress<'_> {
    fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.told.elapsed() >= INTERVAL {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        self.events.emit(Event::FetchProgress { component: self.component, bytes: self.bytes, total: self.total });
    }
}

/// Appends all that comes, what came already first. Whatever happens, also when the future is dropped, what was received is written and stays.
pub(super) async fn pump(
    (first, body): (Option<Bytes>, &mut Body),
    partial: &Shared,
    limit: u64,
    mut progress: Progress<'_>,
) -> Result<(), Problem> {
    let total = progress.total;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(DEPTH);
    let shared = partial.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let mut partial = shared.lock();
        while let Some(bytes) = receiver.blocking_recv() {
            partial.append(&bytes)?;
        }
        Ok(())
    });
    let outcome = receive((first, body), &sender, limit, &mut progress).await;
    drop(sender);
    // A full disk ends the receiving, too, and is the reason to report.
    writer.await.map_err(Problem::stopped)?.map_err(Problem::cache(total))?;
    outcome
}

async fn receive(
    (first, body): (Option<Bytes>, &mut Body),
    sender: &mpsc::Sender<Bytes>,
    limit: u64,
    progress: &mut Progress<'_>,
) -> Result<(), Problem> {
    progress.tell();
    let mut coming = first;
    while let Some(bytes) = coming {
        progress.advance(bytes.len() as u64);
        if progress.bytes > limit {
            return Err(Problem::TooLarge { announced: progress.total, limit });
        }
        if sender.send(bytes).await.is_err() {
            return Ok(());
        }
        coming = body.next().await?;
    }
    progress.tell();
    Ok(())
}
