//! Signatures that a key makes which the user knows: cosign's and minisign's.

use std::io::{self, Read};

use minisign_verify::{Error, Signature};
use sigstore_verify::crypto::VerificationKey;

use super::{Wrong, material};
use crate::model::{CosignKey, Digest, MinisignKey, Scheme, Signed};

/// Verifies what `cosign sign-blob --key` wrote, for a digest.
pub(super) fn cosign(key: &CosignKey, content: &[u8], digest: &Digest) -> Result<Signed, Wrong> {
    let signature = material::signature(content)?;
    let verifier = VerificationKey::from_spki(key.key()).map_err(|error| Wrong::Unsupported(error.to_string()))?;
    verifier
        .verify_prehashed(digest.as_bytes(), &signature)
        .map_err(|_| Wrong::File(format!("the key {} did not sign it", key.fingerprint())))?;
    Ok(Signed { scheme: Scheme::CosignKey, signer: key.fingerprint(), issuer: None, time: None, log_index: None })
}

/// A minisign signature that is of the right key, for a file that is still to come.
pub(super) fn minisign(key: &MinisignKey, content: &[u8]) -> Result<Signature, Wrong> {
    let signature = Signature::decode(material::text(content, "minisign signature")?)
        .map_err(|error| Wrong::Malformed { what: "minisign signature", found: format!("cannot be read: {error}") })?;
    key.key().verify_stream(&signature).map(drop).map_err(|error| wrong(key, &error))?;
    Ok(signature)
}

/// Verifies it for a file's content; the outer error is that of reading.
pub(super) fn minisign_content(
    key: &MinisignKey,
    signature: &Signature,
    content: &mut impl Read,
) -> io::Result<Result<Signed, Wrong>> {
    let mut verifier = match key.key().verify_stream(signature) {
        Ok(verifier) => verifier,
        Err(error) => return Ok(Err(wrong(key, &error))),
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => verifier.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let signed = Signed { scheme: Scheme::Minisign, signer: key.to_string(), issuer: None, time: None, log_index: None };
    Ok(verifier.finalize().map(|()| signed).map_err(|error| wrong(key, &error)))
}

fn wrong(key: &MinisignKey, error: &Error) -> Wrong {
    match error {
        Error::UnexpectedKeyId => Wrong::Signer { expected: format!("the key {key}"), found: "another key".to_owned() },
        Error::InvalidSignature => Wrong::File(format!("the key {key} did not sign it")),
        Error::UnsupportedLegacyMode | Error::UnexpectedAlgorithm => Wrong::Unsupported(
            "minisign's old one, which needs the whole file in memory; sign with minisign 0.10 or newer, or with -H".to_owned(),
        ),
        other => Wrong::Unsupported(other.to_string()),
    }
}

/// Verifies a signature over the content of a file that is there; the outer error is that of reading.
pub(in crate::fetch) fn minisign_file(
    key: &MinisignKey,
    signature: &[u8],
    content: &mut impl Read,
) -> io::Result<Result<(), Wrong>> {
    match minisign(key, signature) {
        Ok(signature) => Ok(minisign_content(key, &signature, content)?.map(drop)),
        Err(wrong) => Ok(Err(wrong)),
    }
}
