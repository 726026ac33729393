//! Public keys that signatures are verified with.

use std::{fmt, str::FromStr};

use minisign_verify::PublicKey;
use sigstore_verify::{
    crypto::VerificationKey,
    types::{DerPublicKey, HashAlgorithm},
};

use super::{Digest, Invalid, serde_as_text};

/// A minisign public key: the second line of `minisign.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinisignKey(PublicKey, String);

impl MinisignKey {
    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.0
    }
}

impl FromStr for MinisignKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = "a minisign public key: the second line of minisign.pub, such as RWQf6LRCGA9i5…";
        // The whole file is taken, too.
        let line = text.trim().lines().last().unwrap_or_default().trim();
        let key = PublicKey::from_base64(line).map_err(|_| Invalid::new(text, expected))?;
        Ok(Self(key, line.to_owned()))
    }
}

impl fmt::Display for MinisignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

serde_as_text!(MinisignKey, "a minisign public key: the second line of minisign.pub");

/// A public key as `cosign generate-key-pair` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignKey(DerPublicKey);

impl CosignKey {
    /// The key itself, in DER.
    #[must_use]
    pub const fn key(&self) -> &DerPublicKey {
        &self.0
    }

    /// `sha256:` and the digest of the key in DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", Digest::of(self.0.as_bytes()))
    }
}

impl FromStr for CosignKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // Only signatures over SHA-256 can be verified from a digest that is known before the file is there.
        let usable = |key: &DerPublicKey| {
            let scheme = VerificationKey::from_spki(key).map(|key| key.scheme().hash_algorithm());
            matches!(scheme, Ok(Some(HashAlgorithm::Sha2256)))
        };
        let key = DerPublicKey::from_pem(text.trim()).ok().filter(usable);
        let expected = "a PEM public key (-----BEGIN PUBLIC KEY-----) for ECDSA P-256, as cosign.pub holds it";
        key.map(Self).ok_or_else(|| Invalid::new(text.lines().next().unwrap_or_default(), expected))
    }
}

impl fmt::Display for CosignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_pem())
    }
}

serde_as_text!(CosignKey, "a PEM public key for ECDSA P-256, as cosign.pub holds it");

#[cfg(test)]
mod tests {
    use super::*;

    // The key of minisign's own documentation.
    const MINISIGN: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_minisign_key_is_read_with_or_without_its_comment() {
        let key: MinisignKey = MINISIGN.parse().unwrap();
        assert_eq!(format!("untrusted comment: minisign public key\n{MINISIGN}\n").parse(), Ok(key.clone()));
        assert_eq!(key.to_string(), MINISIGN);
        for wrong in ["", "RWQf", &MINISIGN[1..], &MINISIGN.replace("RW", "AA")] {
            assert!(wrong.parse::<MinisignKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_key_that_signs_sha_256_is_a_cosign_key() {
        let pem = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap();
        let public = |key: &rcgen::KeyPair| DerPublicKey::new(rcgen::PublicKeyData::subject_public_key_info(key)).to_pem();
        let text = public(&pem(&rcgen::PKCS_ECDSA_P256_SHA256));
        assert_eq!(text.parse::<CosignKey>().unwrap().to_string().trim(), text.trim());
        for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            assert!(public(&pem(algorithm)).parse::<CosignKey>().is_err());
        }
        assert!(pem(&rcgen::PKCS_ECDSA_P256_SHA256).serialize_pem().parse::<CosignKey>().is_err(), "a private key");
    }
}
