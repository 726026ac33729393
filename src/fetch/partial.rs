//! A download under way: the file with its running digest.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{
    host::files::{self, FileError},
    model::{Digest, Hasher},
};

/// As much of the beginning is kept in memory, to recognise a page for people.
const BEGINNING: usize = 512;

/// `<sha256>.partial`, held by this download alone until it is dropped.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    length: u64,
    beginning: Vec<u8>,
    /// Some of it was there before this attempt began.
    resumed: bool,
}

impl Partial {
    /// Opens it and hashes what an earlier attempt left; `None` while another download holds it. Blocking.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, FileError> {
        let Some(file) = files::open_exclusive(path)? else { return Ok(None) };
        let mut partial =
            Self { file, path: path.to_owned(), hasher: Hasher::default(), length: 0, beginning: Vec::new(), resumed: false };
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match partial.file.read(&mut buffer).map_err(FileError::doing("reading", path))? {
                0 => return Ok(Some(partial)),
                count => partial.account(&buffer[..count]),
            }
        }
    }

    fn account(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let missing = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(&bytes[..missing.min(bytes.len())]);
    }

    /// Adds bytes at the end. Blocking.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::doing("writing", &self.path))?;
        self.account(bytes);
        Ok(())
    }

    /// Empties it. Blocking.
    pub(super) fn restart(&mut self) -> Result<(), FileError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(FileError::doing("emptying", &self.path))?;
        (self.hasher, self.length, self.resumed) = (Hasher::default(), 0, false);
        self.beginning.clear();
        Ok(())
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

    /// Whether it begins as a page for people does.
    pub(super) fn looks_like_html(&self) -> bool {
        let text = self.beginning.trim_ascii_start();
        [b"<!doctype".as_slice(), b"<html".as_slice()]
            .iter()
            .any(|tag| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
    }

    /// Makes it durable and gives it its name. The lock ends afterwards. Blocking.
    pub(super) fn publish(&mut self, name: &Path) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::doing("syncing", &self.path))?;
        files::rename(&self.path, name)
    }

    /// Removes it. Blocking.
    pub(super) fn remove(&mut self) -> Result<(), FileError> {
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
        Partial::open(&path).unwrap().unwrap().append(b"<!DOCTYPE html>").unwrap();
        let mut partial = Partial::open(&path).unwrap().unwrap();
        assert!(partial.looks_like_html());
        partial.append(b"more").unwrap();
        assert_eq!((partial.length(), partial.digest()), (19, Digest::of(b"<!DOCTYPE html>more")));
        partial.restart().unwrap();
        partial.append(b"ELF").unwrap();
        assert_eq!((partial.digest(), partial.looks_like_html()), (Digest::of(b"ELF"), false));
        assert_eq!(files::read(&path).unwrap(), b"ELF");
    }
}
