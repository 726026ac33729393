//! The end of a download: onto the disk, and to its name in the cache.
//!
//! A digest is known to match before the disk has all of the bytes, and whoever has the file open can use it: what is laid into
//! the store is hashed and synced on its own. So a download is synced on a thread of its own while its content is used, and only
//! then gets its name: no name in the cache ever stands for less than a whole file on the disk, whenever the power goes.
//!
//! Promise: after [`Keeping::finish`] all downloads have their names and outlast a power cut. Whoever does not wait for it leaves
//! what a killed run leaves, a `.partial` that is whole or nearly so, which the next run hashes and completes.

use std::path::PathBuf;

use tokio::{runtime::Handle, task::JoinHandle};

use super::{FetchError, Problem, pump::Shared};
use crate::host::files::FileError;

/// Downloads on their way into the cache.
#[must_use = "a download outlasts a power cut only once this has finished"]
#[derive(Debug, Default)]
pub struct Keeping(Vec<Kept>);

/// One of them.
#[derive(Debug)]
pub(super) struct Kept {
    what: String,
    source: String,
    task: JoinHandle<Result<(), FileError>>,
}

impl Keeping {
    /// Waits until each is on the disk and has its name; of several that cannot, one is told.
    pub async fn finish(self) -> Result<(), FetchError> {
        let mut outcome = Ok(());
        for Kept { what, source, task } in self.0 {
            let kept = task.await.map_err(Problem::stopped).and_then(|kept| kept.map_err(Problem::cache(None)));
            outcome = outcome.and(kept.map_err(|problem| FetchError::fetching(&what, source, problem)));
        }
        outcome
    }

    pub(super) fn extend(&mut self, kept: Option<Kept>) {
        self.0.extend(kept);
    }
}

impl Kept {
    /// Begins to keep a file whose digest matched. It goes on when nobody waits for it.
    pub(super) fn begin(on: &Handle, what: String, source: String, partial: Shared, path: PathBuf) -> Self {
        let task = on.spawn_blocking(move || partial.lock().publish(&path));
        Self { what, source, task }
    }
}
