//! sigstore: what was signed with a certificate for minutes, and logged.

use sigstore_verify::{
    SubjectAltName, VerificationPolicy, Verifier,
    crypto::{VerificationKey, parse_certificate_info},
    types::{Bundle, DerCertificate, HashAlgorithm, Sha256Hash, SignatureBytes, SignatureContent},
};

use super::Wrong;
use crate::model::{Digest, Scheme, Signed};

/// Verifies a bundle for a digest.
pub(super) fn verify(
    verifier: &Verifier,
    bundle: &Bundle,
    digest: &Digest,
    (identity, issuer): (&str, &str),
) -> Result<Signed, Wrong> {
    let entries = &bundle.verification_material.tlog_entries;
    // Older formats of bundles do without a proof, and then without an entry; here there is no way around the log.
    if entries.is_empty() || entries.iter().any(|entry| entry.inclusion_proof.is_none()) {
        return Err(Wrong::Log("the bundle holds no inclusion proof".to_owned()));
    }
    if !matches!(bundle.content, SignatureContent::MessageSignature(_)) {
        return Err(Wrong::Unsupported("an attestation about the file, where the file itself should be signed".to_owned()));
    }
    let policy = VerificationPolicy::new(identity, issuer);
    let result = verifier.verify(Sha256Hash::new(*digest.as_bytes()), bundle, &policy)?;
    // The policy asks for all of it. Were it to change under us, nothing may pass quietly.
    let whole =
        result.certificate_verified() && result.sct_verified() && result.tlog_verified() && result.identity_policy_checked();
    let time = result.integrated_time().or_else(|| result.verified_timestamps().iter().min().copied());
    match time {
        Some(time) if whole => Ok(Signed {
            scheme: Scheme::Keyless,
            signer: identity.to_owned(),
            issuer: Some(issuer.to_owned()),
            time: Some(time),
            log_index: entries.first().map(|entry| entry.log_index.get()),
        }),
        _ => Err(Wrong::Unsupported("not all of it was verified".to_owned())),
    }
}

/// What can be seen without asking the transparency log: whether signature, certificate and file belong together, and whose
/// they say they are. It proves nothing, but a signature that fails here is wrong whether the log can be reached or not.
pub(super) fn belongs(
    certificate: &DerCertificate,
    signature: &SignatureBytes,
    digest: &Digest,
    (identity, issuer): (&str, &str),
) -> Result<(), Wrong> {
    let malformed = |error: sigstore_verify::crypto::Error| Wrong::Malformed {
        what: "certificate",
        found: format!("is none of sigstore's: {error}"),
    };
    let claims = parse_certificate_info(certificate).map_err(malformed)?;
    let key = VerificationKey::from_spki(&claims.public_key).map_err(malformed)?;
    if key.scheme().hash_algorithm() != Some(HashAlgorithm::Sha2256) {
        return Err(Wrong::Unsupported(format!("{}, where one over the file's SHA-256 is needed", key.scheme().name())));
    }
    key.verify_prehashed(digest.as_bytes(), signature)
        .map_err(|_| Wrong::File("the certificate's key did not sign it".to_owned()))?;
    let signer = |name: Option<&str>, issuer: Option<&str>| {
        format!("{} of {}", name.unwrap_or("nobody").escape_debug(), issuer.unwrap_or("nobody").escape_debug())
    };
    let name = claims.identity.as_ref().map(SubjectAltName::as_str);
    if name == Some(identity) && claims.issuer.as_deref() == Some(issuer) {
        return Ok(());
    }
    Err(Wrong::Signer { expected: signer(Some(identity), Some(issuer)), found: signer(name, claims.issuer.as_deref()) })
}
