//! The proof that a file is the one that was asked for.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Evidence, FetchError, UnpackProblem, Vouched, Wrong,
    copying::{self, FromStart},
    partial::Partial,
    unpacking,
};
use crate::{
    host::files::{self, FileError},
    model::{Artifact, Digest, Hasher, ObtainedFrom, Signature},
};

/// A file whose digest was compared with the artifact's. Only the comparison makes one. It is held open: it is this file that
/// is used, whatever the cache names by then.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    artifact: Artifact,
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    from: ObtainedFrom,
}

/// The same, and what is asked of its signature is fulfilled.
#[derive(Debug, Clone)]
pub struct Verified {
    whole: Whole,
    vouched: Vouched,
}

/// An executable that came out of a verified file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The name it is installed under.
    pub name: &'static str,
    /// The digest of the executable itself.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Verified {
    /// What it is.
    #[must_use]
    pub const fn artifact(&self) -> &Artifact {
        &self.whole.artifact
    }

    /// Where it is in the cache, once it is kept there ([`super::Keeping`]).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.whole.path
    }

    /// How large it is.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.whole.bytes
    }

    /// Where it was taken from.
    #[must_use]
    pub const fn from(&self) -> &ObtainedFrom {
        &self.whole.from
    }

    /// What is known of its signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        self.vouched.signature()
    }

    /// What proves it, where it was verified.
    #[must_use]
    pub const fn evidence(&self) -> Option<&Evidence> {
        self.vouched.evidence()
    }

    /// Its bytes, from the first one.
    pub(super) fn content(&self) -> FromStart<'_> {
        self.whole.content()
    }

    /// Lays its executables into an existing directory, with mode 0755 and fsynced, and hashes the whole file once more on the
    /// way: after an error, a digest that does not match any more included, nothing that this call wrote remains. Blocking.
    pub fn unpack(&self, into: &Path) -> Result<Vec<Unpacked>, FetchError> {
        unpacking::unpack(self, into).map_err(|problem: UnpackProblem| FetchError::Unpacking {
            what: self.whole.artifact.to_string(),
            path: self.whole.path.clone(),
            problem: Box::new(problem),
        })
    }

    /// Takes both proofs together. Where the content is what was signed, it is looked at now; the inner error says what is wrong
    /// with the signature. Blocking.
    pub(super) fn new(whole: Whole, vouched: Vouched) -> Result<Result<Self, Wrong>, FileError> {
        if *vouched.digest() != whole.artifact.digest {
            return Ok(Err(Wrong::File("it is another one's".to_owned())));
        }
        Ok(vouched.confirm(&mut whole.content(), &whole.path)?.map(|()| Self { whole, vouched }))
    }
}

impl Whole {
    /// Hashes what the cache holds; the inner error says what is wrong with it. Blocking.
    pub(super) fn in_cache(artifact: &Artifact, path: &Path) -> Result<Result<Self, String>, FileError> {
        let file = match files::open_regular(path)? {
            Ok(file) => file,
            Err(kind) => return Ok(Err(format!("it is {kind}"))),
        };
        let mut hasher = Hasher::default();
        let bytes = copying::drain(&mut FromStart::of(&file), &mut hasher).map_err(FileError::doing("reading", path))?;
        let actual = hasher.finish();
        if actual != artifact.digest {
            return Ok(Err(format!("its digest is sha256:{actual}")));
        }
        let (artifact, file, path) = (artifact.clone(), Arc::new(file), path.to_owned());
        Ok(Ok(Self { artifact, file, path, bytes, from: ObtainedFrom::Cache }))
    }

    /// What was received, if it has the digest; the error is the digest that it has instead. Its name it gets from
    /// [`Partial::publish`].
    pub(super) fn received(artifact: &Artifact, from: ObtainedFrom, partial: &Partial, path: &Path) -> Result<Self, Digest> {
        let actual = partial.digest();
        if actual != artifact.digest {
            return Err(actual);
        }
        let (artifact, file, path) = (artifact.clone(), partial.file(), path.to_owned());
        Ok(Self { artifact, file, path, bytes: partial.length(), from })
    }

    fn content(&self) -> FromStart<'_> {
        FromStart::of(&self.file)
    }
}
