//! Signatures: who shall have signed a file, and what is remembered of who did.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use minisign_verify::PublicKey;
use serde::{Deserialize, Serialize};
use sigstore_verify::{
    crypto::VerificationKey,
    types::{DerPublicKey, HashAlgorithm},
};

use super::{Digest, Invalid, serde_as_text};

/// What is known of a file's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Signature {
    /// It was verified.
    Verified(Signed),
    /// It was to be verified if that was possible, and was not.
    Unverified {
        /// Why.
        reason: String,
    },
    /// Nobody asked for it.
    NotAsked,
}

impl Signature {
    /// Who signed, where that was verified.
    #[must_use]
    pub const fn signed(&self) -> Option<&Signed> {
        match self {
            Self::Verified(signed) => Some(signed),
            Self::Unverified { .. } | Self::NotAsked => None,
        }
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signed {
    /// By what.
    pub scheme: Scheme,
    /// The identity in the certificate, or the public key.
    pub signer: String,
    /// Who vouched for the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When, as the transparency log proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The number of its entry in the transparency log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signed by {}", self.signer)?;
        match self.time {
            Some(time) => write!(f, " at {time}"),
            None => Ok(()),
        }
    }
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// sigstore: a certificate for minutes, and a transparency log.
    Keyless,
    /// `cosign sign-blob --key`
    CosignKey,
    /// `minisign -S`
    Minisign,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keyless, Self::CosignKey, Self::Minisign];
}

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

/// Who shall have signed a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// Whoever could sign in as this identity at this issuer.
    Keyless {
        /// An email address or URI.
        identity: String,
        /// The OpenID Connect issuer's URL.
        issuer: String,
    },
    /// Whoever has the private key to this one.
    CosignKey(CosignKey),
    /// Whoever has the secret key to this one.
    Minisign(MinisignKey),
}

impl Signer {
    /// The way of signing.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match self {
            Self::Keyless { .. } => Scheme::Keyless,
            Self::CosignKey(_) => Scheme::CosignKey,
            Self::Minisign(_) => Scheme::Minisign,
        }
    }

    /// Whether a signature that was verified is one of theirs.
    #[must_use]
    pub fn made(&self, signed: &Signed) -> bool {
        let theirs = match self {
            Self::Keyless { identity, issuer } => *identity == signed.signer && Some(issuer) == signed.issuer.as_ref(),
            Self::CosignKey(key) => key.fingerprint() == signed.signer,
            Self::Minisign(key) => key.to_string() == signed.signer,
        };
        theirs && signed.scheme == self.scheme()
    }
}

/// What is asked of a file's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Nothing.
    Off,
    /// It may be missing or impossible to verify now; if it is there it must be right.
    IfAvailable(Signer),
    /// It must be there and right.
    Require(Signer),
}

impl SignaturePolicy {
    /// Who shall have signed.
    #[must_use]
    pub const fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Off => None,
            Self::IfAvailable(signer) | Self::Require(signer) => Some(signer),
        }
    }

    /// Whether what is remembered of a signature is enough.
    #[must_use]
    pub fn is_satisfied_by(&self, signature: Option<&Signature>) -> bool {
        match self {
            Self::Off | Self::IfAvailable(_) => true,
            Self::Require(signer) => signature.and_then(Signature::signed).is_some_and(|signed| signer.made(signed)),
        }
    }
}

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

    #[test]
    fn a_signature_of_somebody_else_satisfies_no_demand() {
        let signer = |identity: &str, issuer: &str| Signer::Keyless { identity: identity.into(), issuer: issuer.into() };
        let made = |scheme, name: &str, issuer: Option<&str>| {
            let issuer = issuer.map(str::to_owned);
            Signature::Verified(Signed { scheme, signer: name.into(), issuer, time: None, log_index: None })
        };
        let demand = SignaturePolicy::Require(signer("a@b", "https://c"));
        assert!(demand.is_satisfied_by(Some(&made(Scheme::Keyless, "a@b", Some("https://c")))));
        for other in [
            made(Scheme::Keyless, "x@b", Some("https://c")),
            made(Scheme::Keyless, "a@b", Some("https://x")),
            made(Scheme::Keyless, "a@b", None),
            made(Scheme::CosignKey, "a@b", Some("https://c")),
            Signature::Unverified { reason: String::new() },
            Signature::NotAsked,
        ] {
            assert!(!demand.is_satisfied_by(Some(&other)), "{other:?}");
        }
        assert!(!demand.is_satisfied_by(None));
        assert!(SignaturePolicy::IfAvailable(signer("a@b", "https://c")).is_satisfied_by(None));
    }
}
