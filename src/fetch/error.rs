//! Why something could not be obtained: the thing, its source, what was found, and what to do.

use std::path::PathBuf;

use super::{BundleError, Problem, SignatureProblem, TrustRootError, UnpackProblem, subject::Subject};
use crate::model::{Artifact, SignaturePolicy, Signer};

/// Fetching, verifying or unpacking failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// `sources.ca_file` does not hold what it should.
    #[error("reading certificate authorities from {}: {found}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A file could not be obtained.
    #[error("fetching {what} from {url}: {problem}{}", after(*.attempts))]
    Fetching {
        /// The artifact with its version, or the checksum file.
        what: String,
        /// The source, without credentials.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        problem: Box<Problem>,
    },
    /// What is asked of its signature is not fulfilled.
    #[error("{what}: {problem}")]
    Signature {
        /// The artifact with its version.
        what: String,
        /// The key that asks for a signature.
        key: String,
        /// Who shall have signed.
        signer: Option<Box<Signer>>,
        /// What is wrong.
        problem: Box<SignatureProblem>,
    },
    /// `sources.trust-root-file` does not hold what it should.
    #[error(transparent)]
    TrustRoot(#[from] TrustRootError),
    /// A bundle cannot be used or made.
    #[error("the bundle {}: {problem}", path.display())]
    Bundle {
        /// The bundle; `-` for a stream.
        path: PathBuf,
        /// What is wrong.
        problem: Box<BundleError>,
    },
    /// A verified file could not be laid out.
    #[error("unpacking {what} from {}: {problem}", path.display())]
    Unpacking {
        /// The artifact with its version.
        what: String,
        /// The file in the cache.
        path: PathBuf,
        /// What went wrong.
        problem: Box<UnpackProblem>,
    },
}

impl FetchError {
    pub(super) fn fetching(subject: &Subject, attempts: u32, problem: Problem) -> Self {
        let Subject { what, url } = subject.clone();
        Self::Fetching { what, url, attempts, problem: Box::new(problem) }
    }

    pub(super) fn signature(artifact: &Artifact, policy: &SignaturePolicy, problem: SignatureProblem) -> Self {
        Self::Signature {
            what: artifact.to_string(),
            key: format!("sources.{}.signature", artifact.component),
            signer: policy.signer().cloned().map(Box::new),
            problem: Box::new(problem),
        }
    }

    /// For `map_err` where a bundle is read or made.
    pub fn bundle(path: impl Into<PathBuf>) -> impl FnOnce(BundleError) -> Self {
        move |problem| Self::Bundle { path: path.into(), problem: Box::new(problem) }
    }

    /// What to do about it, as sentences.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Authorities { path, .. } => format!(
                "Put the authorities' certificates into {} as PEM text (-----BEGIN CERTIFICATE-----), or leave sources.ca_file out.",
                path.display()
            ),
            Self::Fetching { url, problem, .. } => problem.remedy(url),
            Self::Signature { key, signer, problem, .. } => problem.remedy(key, signer.as_deref()),
            Self::TrustRoot(error) => error.remedy(),
            Self::Bundle { problem, .. } => problem.remedy(),
            Self::Unpacking { path, problem, .. } => problem.remedy(path),
        }
    }
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() }
}
