//! A file that has to be fetched: where it may come from, and what verifies it.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::Wanted;
use crate::model::{Artifact, SignaturePolicy};

/// A file that has to be fetched, verified and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What it is; its digest decides.
    pub artifact: Artifact,
    /// Where it may come from, in words and without credentials, the first one first.
    pub sources: Vec<String>,
    /// What is asked of its signature.
    pub signature: SignaturePolicy,
}

impl Fetch {
    pub(super) fn of(wanted: &Wanted, artifact: &Artifact) -> Self {
        let component = &artifact.component;
        Self {
            artifact: artifact.clone(),
            sources: wanted.sources.get(component).cloned().unwrap_or_default(),
            signature: wanted.signatures.get(component).cloned().unwrap_or(SignaturePolicy::Off),
        }
    }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Artifact { component, digest, origin, .. } = &self.artifact;
        writeln!(f, "  fetch {}", self.artifact)?;
        for (index, source) in self.sources.iter().enumerate() {
            writeln!(f, "      {} {source}", if index == 0 { "from" } else { "or from" })?;
        }
        writeln!(f, "      verified by sha256 {digest}, {}", origin.explained())?;
        match &self.signature {
            SignaturePolicy::Off => writeln!(f, "      its signature is not asked for (sources.{component}.signature)"),
            SignaturePolicy::IfAvailable(signer) => writeln!(f, "      and, where there is one, by a signature of {signer}"),
            SignaturePolicy::Require(signer) => {
                writeln!(f, "      and by a signature of {signer}, without which it is refused")
            }
        }
    }
}

impl Serialize for Fetch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Artifact { component, version, architecture, digest, origin } = &self.artifact;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("component", component)?;
        map.serialize_entry("version", version)?;
        map.serialize_entry("architecture", architecture)?;
        map.serialize_entry("digest", digest)?;
        map.serialize_entry("origin", origin)?;
        map.serialize_entry("sources", &self.sources)?;
        map.serialize_entry("signature", self.signature.name())?;
        map.serialize_entry("signer", &self.signature.signer().map(ToString::to_string))?;
        map.end()
    }
}
