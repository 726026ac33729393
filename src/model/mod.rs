//! Validated nouns. Everything here is parsed once, at the edge, and cannot hold an impossible value afterwards.
//!
//! No I/O, no clock, no environment. A type that came from a user implements `FromStr` with an error that says
//! what is allowed, and `Deserialize` through it, so that TOML errors point at the offending text.

mod address;
mod artifact;
mod digest;
mod identity;
pub mod layout;
mod name;
mod path_state;
mod secret;
mod signature;
mod signing_key;
mod validity;
mod version;

pub use address::{Cidr, NodeAddress, Port, Protocol};
pub use artifact::{Architecture, Artifact, Component, DigestOrigin, ObtainedFrom, Packing};
pub use digest::{Digest, Hasher};
pub use identity::NodeIdentity;
pub use name::{NodeName, UnitName};
pub use path_state::{Expected, PathState};
pub use secret::Secret;
pub use signature::{Scheme, Signature, SignaturePolicy, Signed, Signer};
pub use signing_key::{CosignKey, MinisignKey};
pub use validity::Validity;
pub use version::Version;

/// Text that a user gave and that is not what it should be: what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct Invalid {
    /// The text as it was given.
    pub found: String,
    /// What is allowed, as a noun phrase: "a version such as 1.36.4".
    pub expected: String,
}

impl Invalid {
    /// Names the text found and, as a noun phrase, what is allowed.
    pub fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

/// Serde through `FromStr` and `Display`, so that a noun has one spelling everywhere.
macro_rules! serde_as_text {
    ($noun:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $noun {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl serde::Serialize for $noun {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl schemars::JsonSchema for $noun {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($noun).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $expected })
            }
        }
    };
}
use serde_as_text;
