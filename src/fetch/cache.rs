//! The cache: `<sha256>` for what was verified, `<sha256>.partial` for what is under way.

use std::path::{Path, PathBuf};

use super::{partial::Partial, verified::Whole};
use crate::{
    host::files::{self, FileError},
    model::{Artifact, Digest},
    output::{Event, Events},
};

/// What the cache has for an artifact.
pub(super) enum Entry {
    /// All of it, hashed just now.
    Verified(Whole),
    /// A place to put it, held by us until it is dropped.
    Partial(Partial),
    /// Another download holds that place.
    Busy,
}

/// The directory.
#[derive(Clone)]
pub(super) struct Cache {
    directory: PathBuf,
    events: Events,
}

impl Cache {
    pub(super) const fn new(directory: PathBuf, events: Events) -> Self {
        Self { directory, events }
    }

    /// Where the verified file of this digest is.
    pub(super) fn verified_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    /// Finds the verified file, or takes the place for downloading it. Blocking.
    pub(super) fn enter(&self, artifact: &Artifact) -> Result<Entry, FileError> {
        files::create_directory(&self.directory, 0o700)?;
        let verified = self.verified_path(&artifact.digest);
        if let Some(found) = self.look(artifact, &verified)? {
            return Ok(Entry::Verified(found));
        }
        let Some(mut partial) = Partial::open(&self.directory.join(format!("{}.partial", artifact.digest)))? else {
            return Ok(Entry::Busy);
        };
        // Another download may have finished between the look and the lock.
        match self.look(artifact, &verified)? {
            Some(found) => {
                partial.remove()?;
                Ok(Entry::Verified(found))
            }
            None => Ok(Entry::Partial(partial)),
        }
    }

    /// The verified file, hashed again: disks rot, and the directory is not this program's alone. What does not match goes.
    fn look(&self, artifact: &Artifact, path: &Path) -> Result<Option<Whole>, FileError> {
        let damage = match Whole::in_cache(artifact, path) {
            Ok(Ok(verified)) => return Ok(Some(verified)),
            Ok(Err(damage)) => damage,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => error.to_string(),
        };
        self.events.emit(Event::Warning {
            text: format!(
                "{artifact} in the cache, {}, is damaged ({damage}): it is removed and fetched again",
                path.display()
            ),
        });
        files::remove_file(path)?;
        Ok(None)
    }
}
