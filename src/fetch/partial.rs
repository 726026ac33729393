//! A download under way: the file with its running digest.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    host::files::{self, FileError},
    model::{Digest, Hasher},
};

/// So many bytes go to the disk together, while more come: what is left to be synced in the end is short.
const WRITTEN_BACK: u64 = 8 * 1024 * 1024;

/// So many bytes are written at once: eight pages are the most that the kernel finds side by side without moving others about
/// (PAGE_ALLOC_COSTLY_ORDER). With larger writes into large folios (ext4 since 6.16) one file in six took up to nine times as
/// long where memory had been in use for a day.
const PIECE: usize = 32 * 1024;

/// `<sha256>.partial`, held by this download alone until it is dropped.
pub(super) struct Partial {
    file: Arc<File>,
    path: PathBuf,
    hasher: Hasher,
    length: u64,
    /// So much of it is on its way to the disk, or there.
    written_back: u64,
    /// Some of it was there before this attempt began.
    resumed: bool,
    origin: Option<Origin>,
}

/// Where a partial file came from, and which version of the file it was: kept beside it as `<sha256>.origin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Origin {
    /// The digest of the URL, which may carry credentials.
    pub(super) url: Digest,
    /// What the source calls this version.
    pub(super) validator: Option<String>,
    /// The size of the whole.
    pub(super) total: Option<u64>,
}

impl Partial {
    /// Opens it and hashes what an earlier attempt left; `None` while another download holds it. Blocking.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, FileError> {
        let Some(file) = files::open_exclusive(path)? else { return Ok(None) };
        let mut partial = Self {
            file: Arc::new(file),
            path: path.to_owned(),
            hasher: Hasher::default(),
            length: 0,
            written_back: 0,
            resumed: false,
            origin: None,
        };
        // Whatever is wrong with it: the digest decides in the end.
        partial.origin = files::read(&partial.origin_path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match (&*partial.file).read(&mut buffer).map_err(FileError::doing("reading", path))? {
                0 => return Ok(Some(partial)),
                count => partial.account(&buffer[..count]),
            }
        }
    }

    fn origin_path(&self) -> PathBuf {
        self.path.with_extension("origin")
    }

    /// Where what is there came from, if that was noted.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin.clone().filter(|_| self.length > 0)
    }

    /// Notes where the bytes come from that follow. Blocking.
    pub(super) fn note(&mut self, origin: Origin) -> Result<(), FileError> {
        if self.origin.as_ref() != Some(&origin) {
            files::write(&self.origin_path(), &serde_json::to_vec(&origin).unwrap_or_default(), 0o600)?;
            self.origin = Some(origin);
        }
        Ok(())
    }

    fn account(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Adds bytes at the end. Blocking.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        for piece in bytes.chunks(PIECE) {
            (&*self.file).write_all(piece).map_err(FileError::doing("writing", &self.path))?;
            self.account(piece);
        }
        Ok(())
    }

    /// Has the disk begin with what was added, for whoever has to wait for more anyway: it takes processor time, too. Blocking.
    pub(super) fn write_back(&mut self) {
        if self.length - self.written_back >= WRITTEN_BACK {
            files::begin_writing_back(&self.file, self.written_back, self.length - self.written_back);
            self.written_back = self.length;
        }
    }

    /// Empties it. Blocking.
    pub(super) fn restart(&mut self) -> Result<(), FileError> {
        self.file.set_len(0).and_then(|()| (&*self.file).rewind()).map_err(FileError::doing("emptying", &self.path))?;
        (self.hasher, self.length, self.written_back, self.resumed) = (Hasher::default(), 0, 0, false);
        self.origin = None;
        files::if_present(files::remove_file(&self.origin_path())).map(drop)
    }

    /// Notes that an attempt begins with what is there.
    pub(super) fn begin(&mut self) {
        self.resumed = self.length > 0;
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) const fn resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The file itself, whatever its name will be.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Makes it durable and gives it its name. The lock ends afterwards. Blocking.
    pub(super) fn publish(&mut self, name: &Path) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::doing("syncing", &self.path))?;
        files::if_present(files::remove_file(&self.origin_path()))?;
        files::rename(&self.path, name)
    }

    /// Removes it. Blocking.
    pub(super) fn remove(&mut self) -> Result<(), FileError> {
        files::if_present(files::remove_file(&self.origin_path()))?;
        files::if_present(files::remove_file(&self.path)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reopened_partial_file_continues_with_the_digest_of_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.partial");
        let origin = Origin { url: Digest::of(b"url"), validator: Some("\"tag\"".to_owned()), total: Some(19) };
        let mut first = Partial::open(&path).unwrap().unwrap();
        first.note(origin.clone()).unwrap();
        first.append(b"<!DOCTYPE html>").unwrap();
        drop(first);
        let mut partial = Partial::open(&path).unwrap().unwrap();
        assert_eq!(partial.origin(), Some(origin));
        partial.append(b"more").unwrap();
        assert_eq!((partial.length(), partial.digest()), (19, Digest::of(b"<!DOCTYPE html>more")));
        partial.restart().unwrap();
        partial.append(b"ELF").unwrap();
        assert_eq!((partial.digest(), partial.origin()), (Digest::of(b"ELF"), None));
        assert_eq!(files::read(&path).unwrap(), b"ELF");
        assert_eq!(files::names(directory.path()).unwrap(), ["x.partial"]);
    }
}
