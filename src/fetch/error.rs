//! Why something could not be obtained: the thing, its source, what was found, and what to do.

use std::path::PathBuf;

use super::{Problem, UnpackProblem, subject::Subject};

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

    /// What to do about it, as sentences.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Authorities { path, .. } => format!(
                "Put the authorities' certificates into {} as PEM text (-----BEGIN CERTIFICATE-----), or leave sources.ca_file out.",
                path.display()
            ),
            Self::Fetching { url, problem, .. } => problem.remedy(url),
            Self::Unpacking { path, problem, .. } => problem.remedy(path),
        }
    }
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() }
}
