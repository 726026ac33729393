//! `manifest.json` in a bundle: what the other members are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::{
    fetch::{Evidence, Verified, fetcher, signature},
    model::{Architecture, Artifact, Component, Digest, DigestOrigin, Scheme, Signature, Version},
};

/// Its member.
pub(super) const NAME: &str = "manifest.json";
/// The version of the format.
const SCHEMA: u32 = 1;
/// No manifest is larger: an artifact takes less than 1 KiB of it.
pub(super) const LIMIT: u64 = 256 * 1024;
/// No evidence is larger.
const EVIDENCE: u64 = signature::LIMIT;
/// No bundle has more: four components, for each processor, in a few versions.
const ARTIFACTS: usize = 64;

/// What a bundle consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The version of the format.
    pub schema: u32,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// The version of the hostlet that made it.
    pub hostlet: String,
    /// The artifacts, in the order of the members.
    pub artifacts: Vec<Record>,
}

/// An artifact in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Its member's name.
    pub member: String,
    /// What it carries.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// The processor it is for.
    pub architecture: Architecture,
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Who vouched for the digest where the bundle was made.
    pub origin: DigestOrigin,
    /// Where it came from, without credentials.
    pub source: String,
    /// What was known of its signature there.
    pub signature: Signature,
    /// What proves the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRecord>,
}

/// What proves an artifact's signature, in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EvidenceRecord {
    /// Its member's name.
    pub member: String,
    /// The way of signing.
    pub scheme: Scheme,
    /// The SHA-256 of the member.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Record {
    /// Describes a verified artifact.
    pub(super) fn new(verified: &Verified, source: String) -> Self {
        let artifact = verified.artifact();
        let member = member(artifact.component, &artifact.version, artifact.architecture);
        let evidence = verified.evidence().map(|evidence| EvidenceRecord {
            member: format!("{member}{}", Evidence::suffix(evidence.scheme())),
            scheme: evidence.scheme(),
            digest: Digest::of(evidence.content()),
            size: evidence.content().len() as u64,
        });
        Self {
            member,
            component: artifact.component,
            version: artifact.version.clone(),
            architecture: artifact.architecture,
            digest: artifact.digest,
            size: verified.bytes(),
            origin: artifact.origin,
            source,
            signature: verified.signature().clone(),
            evidence,
        }
    }

    /// Whether it is the same component in the same version for the same processor.
    #[must_use]
    pub fn is_of(&self, artifact: &Artifact) -> bool {
        self.component == artifact.component && self.version == artifact.version && self.architecture == artifact.architecture
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.component, self.version, self.architecture)
    }
}

/// `kubelet-1.36.4-linux-amd64`
fn member(component: Component, version: &Version, architecture: Architecture) -> String {
    format!("{component}-{version}-linux-{architecture}")
}

impl Manifest {
    /// Of these artifacts, made now.
    pub(super) fn new(created: String, artifacts: Vec<Record>) -> Self {
        Self { schema: SCHEMA, created, hostlet: crate::version::VERSION.to_owned(), artifacts }
    }

    /// Reads it, and sees that it describes a bundle that there can be.
    pub(super) fn parse(content: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct OfSchema {
            schema: u32,
        }
        let wrong = |found: String| BundleError::Manifest(found);
        let OfSchema { schema } = serde_json::from_slice(content).map_err(|error| wrong(error.to_string()))?;
        if schema > SCHEMA {
            return Err(BundleError::Newer { found: schema, known: SCHEMA });
        }
        let manifest: Self = serde_json::from_slice(content).map_err(|error| wrong(error.to_string()))?;
        if manifest.artifacts.len() > ARTIFACTS {
            return Err(wrong(format!(
                "it names {} artifacts, and no bundle has more than {ARTIFACTS}",
                manifest.artifacts.len()
            )));
        }
        let mut names = BTreeSet::from([NAME.to_owned()]);
        for record in &manifest.artifacts {
            let expected = member(record.component, &record.version, record.architecture);
            if record.member != expected {
                return Err(wrong(format!("{record} is called {:?}, and not {expected:?}", record.member)));
            }
            if !names.insert(expected.clone()) {
                return Err(wrong(format!("{record} is there twice")));
            }
            if record.size > fetcher::LARGEST {
                return Err(wrong(format!(
                    "{record} has {} bytes, and no artifact has more than {}",
                    record.size,
                    fetcher::LARGEST
                )));
            }
            let Some(evidence) = &record.evidence else { continue };
            let expected = format!("{expected}{}", Evidence::suffix(evidence.scheme));
            if evidence.member != expected || evidence.size > EVIDENCE {
                return Err(wrong(format!("the evidence of {record}, {:?}, is not what it can be", evidence.member)));
            }
            names.insert(expected);
        }
        Ok(manifest)
    }

    /// The members behind the manifest, in order: name, size, digest.
    pub(super) fn members(&self) -> impl Iterator<Item = (Part<'_>, u64, Digest)> {
        self.artifacts.iter().flat_map(|record| {
            let evidence = record.evidence.iter();
            std::iter::once((Part::Artifact(record), record.size, record.digest))
                .chain(evidence.map(move |evidence| (Part::Evidence(evidence), evidence.size, evidence.digest)))
        })
    }
}

/// A member of a bundle.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Artifact(&'a Record),
    Evidence(&'a EvidenceRecord),
}

impl Part<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Artifact(record) => &record.member,
            Self::Evidence(evidence) => &evidence.member,
        }
    }
}
