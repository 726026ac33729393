//! Why something could not be obtained: the thing, its source, what was found, and what to do.

use std::path::PathBuf;

use super::{BundleError, Problem, SignatureProblem, TrustRootError, UnpackProblem};
use crate::{
    host::secret_file::Exposed,
    model::{Artifact, SignaturePolicy, Signer},
};

/// Fetching, verifying or unpacking failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// `sources.ca-file` does not hold what it should.
    #[error("reading certificate authorities from {}: {found}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// `sources.client-certificate-file` or its key does not hold what it should.
    #[error("reading this node's certificate for sources from {}: {found}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// `sources.netrc-file` does not hold what it should.
    #[error("reading credentials from {}: {found}", path.display())]
    Netrc {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A file with a secret is open to others.
    #[error("{key}: {exposed}")]
    Exposed {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file, and who may have it.
        exposed: Exposed,
    },
    /// A file could not be obtained.
    #[error("fetching {what} from {}", list(failures))]
    Fetching {
        /// The artifact with its version, or the checksum file.
        what: String,
        /// What came of each source that was asked, in the order of asking.
        failures: Vec<SourceFailure>,
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
    pub(super) fn fetching(what: &str, url: String, problem: Problem) -> Self {
        Self::Fetching { what: what.to_owned(), failures: vec![SourceFailure { url, attempts: 1, problem }] }
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
                "Put the authorities' certificates into {} as PEM text (-----BEGIN CERTIFICATE-----), or leave sources.ca-file out.",
                path.display()
            ),
            Self::Identity { path, .. } => format!(
                "Put the certificate into sources.client-certificate-file and its key, without a passphrase, into \
                 sources.client-key-file, as PEM text; {} is not that.",
                path.display()
            ),
            Self::Netrc { path, .. } => {
                format!(
                    "Write {} as netrc(5) says: machine HOST login USER password PASSWORD, or leave sources.netrc-file out.",
                    path.display()
                )
            }
            Self::Exposed { exposed, .. } => {
                format!(
                    "Let nobody else have it: {}. What was in it may be known to others by now: change it.",
                    exposed.remedy()
                )
            }
            Self::Fetching { failures, .. } => {
                let mut remedies: Vec<String> = Vec::new();
                for remedy in failures.iter().map(|failure| failure.problem.remedy(&failure.url)) {
                    if !remedies.contains(&remedy) {
                        remedies.push(remedy);
                    }
                }
                remedies.join("\n")
            }
            Self::Signature { key, signer, problem, .. } => problem.remedy(key, signer.as_deref()),
            Self::TrustRoot(error) => error.remedy(),
            Self::Bundle { problem, .. } => problem.remedy(),
            Self::Unpacking { path, problem, .. } => problem.remedy(path),
        }
    }
}

/// What came of one source.
#[derive(Debug)]
pub struct SourceFailure {
    /// The source, without credentials.
    pub url: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub problem: Problem,
}

impl std::fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}{}", self.url, self.problem, after(self.attempts))
    }
}

fn list(failures: &[SourceFailure]) -> String {
    match failures {
        [one] => one.to_string(),
        many => many.iter().fold("any of its sources:".to_owned(), |text, failure| format!("{text}\n  {failure}")),
    }
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() }
}
