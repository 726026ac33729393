//! From the network to the disk: one task receives, one thread hashes and writes, and few buffers go round between them.
//!
//! Promise: a download has at most [`BUFFERS`] of [`BUFFER`] bytes between network and disk, however slow the disk and however
//! busy the machine are. The buffers are its own: a queue of what the network's library hands out would keep that library's
//! buffers, and those are large and hold any number of small pieces.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};

use super::{Problem, body::Body, partial::Partial};
use crate::{
    model::Component,
    output::{Event, Events},
};

/// The bytes of one buffer: so many that neither side waits often for a turn of the other (with 128 KiB, waking one another takes
/// an eighth of the time of a transfer on the loopback device), few enough for the processor's cache.
const BUFFER: usize = 512 * 1024;
/// So many go round.
const BUFFERS: usize = 4;
/// What was received waits no longer for more of it before it is written.
const PATIENCE: Duration = Duration::from_millis(20);
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
    let (full, mut to_write) = mpsc::channel::<Vec<u8>>(BUFFERS);
    let (written, empty) = mpsc::channel(BUFFERS);
    let shared = partial.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let mut partial = shared.lock();
        while let Some(mut bytes) = to_write.blocking_recv() {
            partial.append(&bytes)?;
            bytes.clear();
            // Nobody wants it once all was received.
            let _ = written.try_send(bytes);
            // A network that is faster than this thread leaves the disk for later.
            if to_write.is_empty() {
                partial.write_back();
            }
        }
        Ok(())
    });
    let mut filling = Filling { buffer: None, made: 0, empty, full };
    let outcome = receive((first, body), &mut filling, limit, &mut progress).await;
    drop(filling);
    // A full disk ends the receiving, too, and is the reason to report.
    writer.await.map_err(Problem::stopped)?.map_err(Problem::cache(total))?;
    outcome
}

async fn receive(
    (first, body): (Option<Bytes>, &mut Body),
    filling: &mut Filling,
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
        if filling.add(&bytes).await.is_err() {
            return Ok(());
        }
        // Its memory is the network's again.
        drop(bytes);
        let mut next = std::pin::pin!(body.next());
        coming = if let Ok(next) = timeout(PATIENCE, &mut next).await {
            next?
        } else {
            filling.hand_over();
            next.await?
        };
    }
    progress.tell();
    Ok(())
}

/// The buffer that is being filled, and where those that can be filled come from.
struct Filling {
    buffer: Option<Vec<u8>>,
    made: usize,
    empty: mpsc::Receiver<Vec<u8>>,
    full: mpsc::Sender<Vec<u8>>,
}

/// The writer has ended, and knows why.
struct Ended;

impl Filling {
    async fn add(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() {
            let buffer = match &mut self.buffer {
                Some(buffer) => buffer,
                none => none.insert(Self::empty(&mut self.made, &mut self.empty).await?),
            };
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - buffer.len()));
            buffer.extend_from_slice(now);
            bytes = later;
            if buffer.len() == BUFFER {
                self.hand_over();
            }
        }
        Ok(())
    }

    async fn empty(made: &mut usize, empty: &mut mpsc::Receiver<Vec<u8>>) -> Result<Vec<u8>, Ended> {
        match empty.try_recv() {
            Ok(buffer) => Ok(buffer),
            Err(_) if *made < BUFFERS => {
                *made += 1;
                Ok(Vec::with_capacity(BUFFER))
            }
            Err(_) => empty.recv().await.ok_or(Ended),
        }
    }

    fn hand_over(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // There is room for as many as there are; after the writer's end they are of no use.
            let _ = self.full.try_send(buffer);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.hand_over();
    }
}
