//! The trust root: which authorities, certificate logs and transparency logs count.

use std::path::{Path, PathBuf};

use sigstore_verify::{
    Verifier,
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
};

use crate::host::files;

/// A trust root that is read, with its keys prepared.
pub struct Authority(Verifier);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// A trust root that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the trust root{} cannot be used: {found}", .path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
pub struct TrustRootError {
    /// The file; none for the one that hostlet brings.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub found: String,
}

impl TrustRootError {
    /// What to do, as sentences.
    #[must_use]
    pub fn remedy(&self) -> String {
        "sources.trust-root-file names sigstore's trusted_root.json (`cosign trusted-root create` makes one for an instance of \
         your own); leave it out to trust the public instance, whose root is built in."
            .to_owned()
    }
}

impl Authority {
    /// The one in this file, or the one of sigstore's public instance that hostlet brings.
    pub fn new(path: Option<&Path>) -> Result<Self, TrustRootError> {
        let unusable = |found: String| TrustRootError { path: path.map(Path::to_owned), found };
        let read = path.map(files::read_text).transpose().map_err(|error| unusable(error.source.to_string()))?;
        let root = TrustedRoot::from_json(read.as_deref().unwrap_or(SIGSTORE_PRODUCTION_TRUSTED_ROOT))
            .map_err(|error| unusable(error.to_string()))?;
        for (what, missing) in [
            ("certificate authority", root.certificate_authorities.is_empty()),
            ("transparency log", root.tlogs.is_empty()),
            ("certificate log", root.ctlogs.is_empty()),
        ] {
            if missing {
                return Err(unusable(format!("it names no {what}")));
            }
        }
        Verifier::new(&root).map(Self).map_err(|error| unusable(error.to_string()))
    }

    /// What verifies with it.
    pub(super) const fn verifier(&self) -> &Verifier {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trust_root_that_is_built_in_can_be_used() {
        Authority::new(None).unwrap();
    }

    #[test]
    fn a_trust_root_that_cannot_be_used_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trusted_root.json");
        let refused = || Authority::new(Some(&path)).unwrap_err().to_string();
        assert!(refused().contains("No such file"), "{}", refused());
        for (content, expected) in [
            ("{", "EOF"),
            ("[]", "expected struct"),
            (r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#, "names no certificate authority"),
        ] {
            files::write(&path, content.as_bytes(), 0o600).unwrap();
            assert!(refused().contains(expected) && refused().contains(path.to_str().unwrap()), "{}", refused());
        }
    }
}
