//! Signatures: who shall have signed a file, and what is remembered of who did.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CosignKey, MinisignKey};

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

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyless { identity, issuer } => write!(f, "{identity} ({issuer})"),
            Self::CosignKey(key) => write!(f, "the cosign key {}", key.fingerprint()),
            Self::Minisign(key) => write!(f, "the minisign key {key}"),
        }
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

    /// As the configuration spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::IfAvailable(_) => "if-available",
            Self::Require(_) => "require",
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
