//! Moving bytes from a reader while they are hashed.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

use crate::model::{Digest, Hasher};

/// Large enough that system calls do not matter, small enough for any stack of readers.
const BUFFER: usize = 64 * 1024;

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies to the end of the reader; gives the digest and the number of the bytes copied.
pub(super) fn copy_hashing(reader: &mut impl Read, writer: &mut impl Write) -> Result<(Digest, u64), CopyError> {
    let mut hasher = Hasher::default();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(count) => {
                writer.write_all(&buffer[..count]).map_err(CopyError::Writing)?;
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Reading(error)),
        }
    }
}

/// Reads to the end for the digest's sake; gives the number of bytes.
pub(super) fn drain(reader: &mut impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads an open file from its beginning, whoever else reads or writes it at another place.
pub(super) struct FromStart<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> FromStart<'f> {
    pub(super) const fn of(file: &'f File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Hashes what is read through it.
pub(super) struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Reads what is left, and gives the digest of all of it.
    pub(super) fn finish(mut self) -> io::Result<Digest> {
        drain(&mut self.inner, &mut self.hasher)?;
        Ok(self.hasher.finish())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Fails once more than so many bytes were read: an archive may unfold to far more than it is.
pub(super) struct Capped<R> {
    inner: R,
    left: u64,
    limit: u64,
}

/// What [`Capped`] fails with, inside of an `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("it unfolds to more than {0} bytes")]
pub(super) struct UnfoldsTo(pub(super) u64);

impl<R: Read> Capped<R> {
    pub(super) const fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, UnfoldsTo(self.limit)))?;
        Ok(count)
    }
}
