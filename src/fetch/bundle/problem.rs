//! What can be wrong with a bundle, and what to do about it.

use std::path::PathBuf;

use crate::{
    fetch::{Problem, Wrong},
    host::files::FileError,
    model::{Digest, DigestOrigin},
};

/// A bundle cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("{0}")]
    Reading(FileError),
    /// It is no regular file.
    #[error("{} is {kind}, not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is something else.
    #[error("it is no bundle of hostlet's: {0}")]
    NotABundle(String),
    /// It ends early.
    #[error("it is cut off: {0}")]
    Cut(String),
    /// A newer hostlet made it.
    #[error("its format is {found}, and this hostlet knows {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The manifest is none.
    #[error("its manifest is wrong: {0}")]
    Manifest(String),
    /// A member that the manifest does not have there.
    #[error("it holds {found} where {expected} should be")]
    Unexpected {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A member is not what the manifest says.
    #[error("{member} in it is not what its manifest says: expected sha256:{expected}, found sha256:{actual}")]
    Digest {
        /// The member.
        member: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// It is another bundle than the one that is pinned.
    #[error("its manifest is another than the one that is pinned: expected sha256:{expected}, found sha256:{actual}")]
    Pin {
        /// What is pinned.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Its signature is wrong or missing.
    #[error("its signature {} is not acceptable: {wrong}", path.display())]
    Signature {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        wrong: Wrong,
    },
    /// It lacks an artifact.
    #[error("it holds no {what}, only {held}")]
    Missing {
        /// The artifact.
        what: String,
        /// What is there.
        held: String,
    },
    /// It carries another file than the one that somebody with more to say knows.
    #[error("its {what} has the digest sha256:{found}, and {who} says sha256:{expected}", who = who(*.origin))]
    Conflict {
        /// The artifact.
        what: String,
        /// The bundle's.
        found: Digest,
        /// The one that counts.
        expected: Digest,
        /// Who says so.
        origin: DigestOrigin,
    },
    /// Nobody but the bundle vouches for an artifact.
    #[error("nobody but the bundle itself vouches for its {0}")]
    Unvouched(String),
    /// The cache cannot be written.
    #[error("{0}")]
    Cache(Box<Problem>),
    /// It cannot be written.
    #[error("{0}")]
    Writing(FileError),
}

const fn who(origin: DigestOrigin) -> &'static str {
    match origin {
        DigestOrigin::Configuration => "the configuration",
        DigestOrigin::Catalog => "the catalog",
        _ => "what is installed",
    }
}

impl BundleError {
    /// What to do, as sentences.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Reading(error) => format!("Check {}: sources.bundle or --bundle names it.", error.path.display()),
            Self::NotAFile { .. } | Self::NotABundle(_) => {
                "Name a file that hostlet bundle create made, with sources.bundle or --bundle.".to_owned()
            }
            Self::Newer { .. } => "Use the hostlet that made it, or make the bundle again with this one.".to_owned(),
            Self::Cut(_) | Self::Manifest(_) | Self::Unexpected { .. } | Self::Digest { .. } => {
                "Copy it here again: hostlet bundle verify shows whether it is whole. If it is damaged where it was made, make it \
                 again with hostlet bundle create."
                    .to_owned()
            }
            Self::Pin { .. } => "hostlet bundle create and hostlet bundle verify print the digest of a bundle's manifest: use the \
                                 bundle that belongs to sources.bundle-digest, or change that if you trust this one."
                .to_owned(),
            Self::Signature { path, .. } => format!(
                "Sign it with the key that sources.bundle-minisign-key belongs to: minisign -S -m {} makes {}.",
                path.with_extension("").display(),
                path.display()
            ),
            Self::Missing { .. } => "Make a bundle from this configuration with hostlet bundle create (--arch for other \
                                     processors), or set the versions that are in it."
                .to_owned(),
            Self::Conflict { .. } => "Do not use this bundle unless you know why: make it again, or correct the digest that you \
                                      pinned."
                .to_owned(),
            Self::Unvouched(_) => "Pin the bundle with sources.bundle-digest or sources.bundle-minisign-key, or the artifact with \
                                   sources.*.digest; sources.*.trust-on-first-use takes its word."
                .to_owned(),
            Self::Cache(problem) => problem.remedy("the cache"),
            Self::Writing(error) => format!("Make room in {} and see that it can be written.", error.path.display()),
        }
    }
}
