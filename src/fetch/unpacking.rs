//! From a verified file to executables in a directory, all of them or none.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::{
    Unpacked, Verified, archive,
    copying::{CopyError, HashingReader, UnfoldsTo, copy_hashing},
};
use crate::{
    host::files::{self, FileError},
    model::{Digest, Packing},
};

/// What went wrong while a verified file was laid out.
#[derive(Debug, thiserror::Error)]
pub enum UnpackProblem {
    /// The file in the cache is another than it was.
    #[error("the file changed after it was verified: expected sha256:{expected}, found sha256:{actual}")]
    Changed {
        /// What it was.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The archive ends before it should.
    #[error("the archive is cut off: {0}")]
    CutOff(String),
    /// The archive cannot be read.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// It unfolds to more than any artifact does.
    #[error("{what} unfolds to more than {limit} bytes")]
    TooLarge {
        /// The member, or the archive.
        what: String,
        /// What is taken.
        limit: u64,
    },
    /// The archive lacks an executable.
    #[error("the archive holds no {member:?}, only {held}")]
    Missing {
        /// What was looked for.
        member: String,
        /// What is there, the first of them.
        held: String,
    },
    /// A member is something else than a file.
    #[error("{member:?} in the archive is {kind}, not a regular file")]
    MemberNotAFile {
        /// Its name.
        member: String,
        /// What it is.
        kind: &'static str,
    },
    /// A member is there twice, so that it is open which one is meant.
    #[error("{0:?} is in the archive more than once")]
    Duplicate(String),
    /// Reading the cache or writing the executable failed.
    #[error("{0}")]
    File(FileError),
}

impl UnpackProblem {
    pub(super) fn remedy(&self, path: &Path) -> String {
        match self {
            Self::Changed { .. } => format!(
                "Run hostlet again: it removes {} and fetches it anew. If this happens twice, suspect the disk or another program \
                 that writes there.",
                path.display()
            ),
            Self::File(error) => match error.source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    format!("Free space on the file system of {}, and run hostlet again.", error.path.display())
                }
                ErrorKind::ReadOnlyFilesystem => format!("Make the file system of {} writable.", error.path.display()),
                _ => format!("Check {}.", error.path.display()),
            },
            _ => "The digest matches, so this is what the publisher or the mirror carries under that digest: check that the \
                  pinned digest and the URL belong to a release archive of this component."
                .to_owned(),
        }
    }
}

/// See [`Verified::unpack`].
pub(super) fn unpack(verified: &Verified, into: &Path) -> Result<Vec<Unpacked>, UnpackProblem> {
    let mut destination = Destination { into: into.to_owned(), written: Vec::new(), kept: false };
    let mut source = HashingReader::new(verified.content());
    let outcome = match verified.artifact().packing() {
        Packing::Executable(name) => destination.write(name, &mut source, verified.path()).map(|unpacked| vec![unpacked]),
        Packing::TarGz(members) => {
            archive::unpack((&mut source, verified.bytes()), &members, verified.path(), &mut destination)
        }
    };
    // A changed file explains whatever else went wrong, so the digest is looked at first. Only where writing failed is the
    // reason another one.
    if let Err(UnpackProblem::File(error)) = outcome {
        return Err(UnpackProblem::File(error));
    }
    let actual = source.finish().map_err(|error| UnpackProblem::File(FileError::doing("reading", verified.path())(error)))?;
    let expected = verified.artifact().digest;
    if actual != expected {
        return Err(UnpackProblem::Changed { expected, actual });
    }
    let unpacked = outcome?;
    destination.keep()?;
    Ok(unpacked)
}

/// The directory that is filled. What was written into it goes again unless it is kept.
pub(super) struct Destination {
    into: PathBuf,
    written: Vec<PathBuf>,
    kept: bool,
}

impl Destination {
    /// Writes one executable. `from` is the path that a reading error is about.
    pub(super) fn write(
        &mut self,
        name: &'static str,
        content: &mut impl Read,
        from: &Path,
    ) -> Result<Unpacked, UnpackProblem> {
        let path = self.into.join(name);
        let mut file: File = files::create_new(&path, 0o755).map_err(UnpackProblem::File)?;
        self.written.push(path.clone());
        let (digest, size) = copy_hashing(content, &mut file).map_err(|error| match error {
            CopyError::Reading(error) => reading(error, from),
            CopyError::Writing(error) => UnpackProblem::File(FileError::doing("writing", &path)(error)),
        })?;
        file.sync_all().map_err(|error| UnpackProblem::File(FileError::doing("syncing", &path)(error)))?;
        Ok(Unpacked { name, digest, size })
    }

    fn keep(mut self) -> Result<(), UnpackProblem> {
        files::sync_directory(&self.into).map_err(UnpackProblem::File)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.kept {
            for path in &self.written {
                // The error that led here is the one to report; a leftover lies in a staging directory that is removed too.
                let _ = files::remove_file(path);
            }
        }
    }
}

/// What a failed read means: the decoders use these kinds for broken input, the kernel does not.
pub(super) fn reading(error: std::io::Error, from: &Path) -> UnpackProblem {
    // The decoder may carry it in an error of its own.
    let mut unfolds = std::iter::successors(Some(&error), |error| error.get_ref()?.downcast_ref());
    if let Some(UnfoldsTo(limit)) = unfolds.find_map(|error| error.get_ref()?.downcast_ref()) {
        return UnpackProblem::TooLarge { what: "the archive".to_owned(), limit: *limit };
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => UnpackProblem::CutOff(error.to_string()),
        _ if error.raw_os_error().is_some() => UnpackProblem::File(FileError::doing("reading", from)(error)),
        _ => UnpackProblem::Damaged(error.to_string()),
    }
}
