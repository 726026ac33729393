//! What can be wrong with a signature, and what to do about it.

use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError};

use crate::{host::files::FileError, model::Signer};

/// Why a file counts as not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureProblem {
    /// Nobody has one.
    #[error("no signature was found beside it ({0})")]
    Absent(String),
    /// It could not be found out now.
    #[error("its signature cannot be verified: {url}: {found}")]
    Unreachable {
        /// Who was asked, without credentials.
        url: String,
        /// What came instead of an answer.
        found: String,
        /// Whether it may be otherwise in a moment.
        transient: bool,
    },
    /// It is there and wrong.
    #[error("its signature from {from} is wrong: {wrong}")]
    Wrong {
        /// Where it came from, without credentials.
        from: String,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// The cache cannot be read or written.
    #[error("{0}")]
    Cache(FileError),
}

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is not what its name says.
    #[error("the {what} {found}")]
    Malformed {
        /// What was read: a signature, a certificate ...
        what: &'static str,
        /// What it is instead, as a predicate.
        found: String,
    },
    /// Somebody else signed.
    #[error("it was signed by {found}, expected {expected}")]
    Signer {
        /// Who should have.
        expected: String,
        /// Who did.
        found: String,
    },
    /// It does not fit the file.
    #[error("it does not belong to this file ({0})")]
    File(String),
    /// The certificate is none of the trust root's.
    #[error("its certificate is not acceptable: {0}")]
    Certificate(String),
    /// The transparency log has no such entry.
    #[error("the transparency log {0} has no entry of it, so nothing proves that it was made while its certificate was valid")]
    NotLogged(String),
    /// The log's entry does not hold.
    #[error("its entry in the transparency log does not hold: {0}")]
    Log(String),
    /// The signing time is not proved, or not within the certificate's validity.
    #[error("its signing time is not acceptable: {0}")]
    Time(String),
    /// A kind of signature that is not taken.
    #[error("it is of a kind that is not taken: {0}")]
    Unsupported(String),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::IdentityMismatch { expected, actual } => Self::Signer {
                expected: expected.to_string(),
                found: actual.map_or_else(|| "nobody".to_owned(), |actual| format!("{:?}", actual.as_str())),
            },
            Error::IssuerMismatch { expected, actual } => Self::Signer {
                expected: format!("an identity of {expected}"),
                found: format!("an identity of {}", actual.map_or_else(|| "nobody".to_owned(), |actual| format!("{actual:?}"))),
            },
            Error::SignatureInvalid(found) | Error::ArtifactMismatch(found) => Self::File(found),
            Error::Certificate(CertificateError::Expired { .. } | CertificateError::NotYetValid { .. })
            | Error::TransparencyLog(TransparencyLogError::IntegratedTime(_)) => Self::Time(text),
            Error::Certificate(_) => Self::Certificate(text),
            Error::TransparencyLog(_) => Self::Log(text),
            Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => {
                Self::Time("nothing that the transparency log signed tells it".to_owned())
            }
            Error::Timestamp(_) => Self::Time(text),
            Error::InvalidBundle(_) | Error::Bundle(_) | Error::Types(_) => {
                Self::Malformed { what: "sigstore bundle", found: format!("does not hold together: {text}") }
            }
            _ => Self::Unsupported(text),
        }
    }
}

impl SignatureProblem {
    /// How much it says, where several sources have a problem each.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Absent(_) => 0,
            Self::Unreachable { .. } => 1,
            Self::Cache(_) => 2,
            Self::Wrong { .. } => 3,
        }
    }

    /// Whether it is there and wrong: a refusal even where a signature may be missing.
    #[must_use]
    pub const fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong { .. })
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { transient: true, .. })
    }

    /// What to do, as sentences.
    #[must_use]
    pub fn remedy(&self, key: &str, signer: Option<&Signer>) -> String {
        match self {
            Self::Absent(_) => format!(
                "Put the signature beside the file ({}), or set {key} = \"if-available\" or \"off\" if the digest alone is enough.",
                signer.map_or("file.sig", names)
            ),
            Self::Unreachable { url, .. } => format!(
                "Check the way to {url} (sources.rekor-url names the transparency log) and run hostlet again. A host without \
                 internet needs file.sigstore.json beside the file, or a bundle made by hostlet bundle create."
            ),
            Self::Wrong { wrong: Wrong::Signer { .. }, .. } => format!(
                "If the publisher signs as somebody else now, and says so where you trust it, set that signer beside {key}; \
                 otherwise do not use this file."
            ),
            Self::Wrong { wrong: Wrong::Certificate(_) | Wrong::Log(_), .. } => format!(
                "If the signature is not of sigstore's public instance, name its trust root with sources.trust-root-file. If \
                 hostlet is old, a newer one may know newer keys. Otherwise do not use this file, or set {key} = \"off\" to \
                 rely on the digest alone."
            ),
            Self::Wrong { wrong: Wrong::Time(_), .. } => format!(
                "Check this host's clock first. If that is right, do not use this file; {key} = \"off\" relies on the digest alone."
            ),
            Self::Wrong { .. } => format!(
                "Do not use this file unless you know why: somebody may have replaced the signature or the file. {key} = \
                 \"off\" relies on the digest alone."
            ),
            Self::Cache(error) => format!("Check {}: it must be writable by root.", error.path.display()),
        }
    }
}

/// The names that signatures have beside a file.
const fn names(signer: &Signer) -> &'static str {
    match signer {
        Signer::Keyless { .. } => "file.sig and file.cert, or file.sigstore.json",
        Signer::CosignKey(_) => "file.sig",
        Signer::Minisign(_) => "file.minisig",
    }
}
