//! The proof that a file is the one that was asked for.

use std::path::{Path, PathBuf};

use super::{Evidence, FetchError, UnpackProblem, Vouched, Wrong, copying, partial::Partial, unpacking};
use crate::{
    host::files::{self, FileError},
    model::{Artifact, Digest, Hasher, ObtainedFrom, Signature},
};

/// A file in the cache whose digest was compared with the artifact's. Only the comparison makes one.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    artifact: Artifact,
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

    /// Where it is.
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
        Ok(vouched.confirm(&whole.path)?.map(|()| Self { whole, vouched }))
    }
}

impl Whole {
    /// Hashes what the cache holds; the inner error says what is wrong with it. Blocking.
    pub(super) fn in_cache(artifact: &Artifact, path: &Path) -> Result<Result<Self, String>, FileError> {
        let mut file = match files::open_regular(path)? {
            Ok(file) => file,
            Err(kind) => return Ok(Err(format!("it is {kind}"))),
        };
        let mut hasher = Hasher::default();
        let bytes = copying::drain(&mut file, &mut hasher).map_err(FileError::doing("reading", path))?;
        let actual = hasher.finish();
        if actual != artifact.digest {
            return Ok(Err(format!("its digest is sha256:{actual}")));
        }
        Ok(Ok(Self { artifact: artifact.clone(), path: path.to_owned(), bytes, from: ObtainedFrom::Cache }))
    }

    /// Gives a finished download its name; the inner error is the digest that it has instead. Blocking.
    pub(super) fn publish(
        artifact: &Artifact,
        from: ObtainedFrom,
        partial: &mut Partial,
        path: &Path,
    ) -> Result<Result<Self, Digest>, FileError> {
        let actual = partial.digest();
        if actual != artifact.digest {
            return Ok(Err(actual));
        }
        partial.publish(path)?;
        Ok(Ok(Self { artifact: artifact.clone(), path: path.to_owned(), bytes: partial.length(), from }))
    }
}
