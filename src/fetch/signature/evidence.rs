//! What proves a signature, and what there is only once it was verified.

use std::{io::Read, path::Path};

use super::{Authority, SignatureProblem, Wrong, keyless, material, public_key};
use crate::{
    host::files::FileError,
    model::{Digest, MinisignKey, Scheme, Signature, SignaturePolicy, Signed, Signer},
};

/// What proves a signature, in the format of the tool that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    scheme: Scheme,
    content: Vec<u8>,
}

impl Evidence {
    /// As it was read somewhere: nothing is known of it yet.
    #[must_use]
    pub const fn new(scheme: Scheme, content: Vec<u8>) -> Self {
        Self { scheme, content }
    }

    /// What its file is called behind the name of what it is about.
    #[must_use]
    pub const fn suffix(scheme: Scheme) -> &'static str {
        match scheme {
            Scheme::Keyless => ".sigstore.json",
            Scheme::CosignKey => ".sig",
            Scheme::Minisign => ".minisig",
        }
    }

    /// The way of signing.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What its file holds.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Verifies it for the file of this digest.
    pub(in crate::fetch) fn vouch(self, signer: &Signer, authority: &Authority, digest: &Digest) -> Result<Vouched, Wrong> {
        let mut pending = None;
        let made = match signer {
            Signer::Keyless { identity, issuer } => {
                keyless::verify(authority.verifier(), &material::bundle(&self.content)?, digest, (identity, issuer))?
            }
            Signer::CosignKey(key) => public_key::cosign(key, &self.content, digest)?,
            Signer::Minisign(key) => {
                let signature = public_key::minisign(key, &self.content)?;
                pending = Some((key.clone(), signature));
                Signed { scheme: Scheme::Minisign, signer: key.to_string(), issuer: None, time: None, log_index: None }
            }
        };
        Ok(Vouched { digest: *digest, signature: Signature::Verified(made), evidence: Some(self), pending })
    }
}

/// What the policy asks of a file's signature is fulfilled: it was verified, or it may be missing. Only that makes one.
#[derive(Clone)]
pub struct Vouched {
    digest: Digest,
    signature: Signature,
    evidence: Option<Evidence>,
    /// What only the content of the file can show.
    pending: Option<(MinisignKey, minisign_verify::Signature)>,
}

impl std::fmt::Debug for Vouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vouched").field("digest", &self.digest).field("signature", &self.signature).finish_non_exhaustive()
    }
}

impl Vouched {
    /// Where no signature was verified: the problem again, where that is not good enough.
    pub(in crate::fetch) fn without(
        policy: &SignaturePolicy,
        digest: &Digest,
        problem: SignatureProblem,
    ) -> Result<Self, SignatureProblem> {
        match policy {
            SignaturePolicy::IfAvailable(_) if !problem.is_wrong() => {
                Ok(Self::unsigned(digest, Signature::Unverified { reason: problem.to_string() }))
            }
            _ => Err(problem),
        }
    }

    /// Where nobody asks for a signature; none where somebody does.
    pub(in crate::fetch) fn not_asked(policy: &SignaturePolicy, digest: &Digest) -> Option<Self> {
        matches!(policy, SignaturePolicy::Off).then(|| Self::unsigned(digest, Signature::NotAsked))
    }

    const fn unsigned(digest: &Digest, signature: Signature) -> Self {
        Self { digest: *digest, signature, evidence: None, pending: None }
    }

    /// The file's digest.
    pub(in crate::fetch) const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What is known of the signature, once the content was confirmed.
    pub(in crate::fetch) const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What proves it.
    pub(in crate::fetch) const fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// Looks at the content where that is what was signed; the inner error says what is wrong. Blocking.
    pub(in crate::fetch) fn confirm(&self, content: &mut impl Read, path: &Path) -> Result<Result<(), Wrong>, FileError> {
        let Some((key, signature)) = &self.pending else { return Ok(Ok(())) };
        let looked = public_key::minisign_content(key, signature, content);
        Ok(looked.map_err(FileError::doing("reading", path))?.map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fetch::{Verified, verified::Whole},
        host::files,
    };

    fn signer() -> Signer {
        Signer::Keyless { identity: "a@b.c".to_owned(), issuer: "https://d".to_owned() }
    }

    fn absent() -> SignatureProblem {
        SignatureProblem::Absent("nothing".to_owned())
    }

    fn wrong() -> SignatureProblem {
        SignatureProblem::Wrong { from: "x".to_owned(), wrong: Wrong::File("y".to_owned()) }
    }

    #[test]
    fn nothing_is_vouched_for_without_evidence_where_a_signature_is_required() {
        let digest = Digest::of(b"x");
        let required = SignaturePolicy::Require(signer());
        let available = SignaturePolicy::IfAvailable(signer());
        let unreachable = || SignatureProblem::Unreachable { url: String::new(), found: String::new(), transient: true };
        for problem in [absent(), unreachable(), wrong()] {
            assert!(Vouched::without(&required, &digest, problem).is_err());
        }
        for problem in [absent(), unreachable()] {
            let vouched = Vouched::without(&available, &digest, problem).unwrap();
            assert!(matches!(vouched.signature(), Signature::Unverified { .. }));
        }
        assert!(Vouched::without(&available, &digest, wrong()).is_err(), "a wrong one is worse than none");
        assert!(Vouched::without(&SignaturePolicy::Off, &digest, absent()).is_err());
        assert!(Vouched::not_asked(&required, &digest).is_none() && Vouched::not_asked(&available, &digest).is_none());
    }

    #[test]
    fn what_vouches_for_one_file_vouches_for_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        files::write(&path, b"x", 0o600).unwrap();
        let artifact = crate::model::Artifact {
            component: crate::model::Component::Kubelet,
            version: "1.36.4".parse().unwrap(),
            architecture: crate::model::Architecture::Amd64,
            digest: Digest::of(b"x"),
            origin: crate::model::DigestOrigin::Catalog,
        };
        let verified = |content: &[u8]| {
            let vouched = Vouched::not_asked(&SignaturePolicy::Off, &Digest::of(content)).unwrap();
            Verified::new(Whole::in_cache(&artifact, &path).unwrap().unwrap(), vouched).unwrap()
        };
        assert!(verified(b"x").is_ok());
        assert!(verified(b"y").unwrap_err().to_string().contains("does not belong to this file"));
    }
}
