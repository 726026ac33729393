//! What one generation of the node consists of, as `manifest.json` in its directory remembers it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{
    Architecture, Artifact, Component, Digest, DigestOrigin, Expected, NodeName, ObtainedFrom, Signature, UnitName, Version,
};

/// The version of the format. A manifest with a higher one was written by a newer hostlet.
pub const SCHEMA: u32 = 1;

/// `manifest.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// [`SCHEMA`] of the hostlet that wrote it.
    pub schema: u32,
    /// The generation's number.
    pub number: u64,
    /// When it was staged (RFC 3339, UTC).
    pub created: String,
    /// The version of the hostlet that staged it.
    pub hostlet: String,
    /// What it consists of; two generations with equal contents are the same.
    pub contents: Contents,
    /// What is known of its entries in the store.
    #[serde(flatten)]
    pub stored: Stored,
}

/// What is known of entries of the store, by their name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The digests of the executables: entry, then file name.
    pub executables: BTreeMap<String, BTreeMap<String, Digest>>,
    /// Who signed what was downloaded for the entry.
    #[serde(default)]
    pub signatures: BTreeMap<String, Signature>,
    /// Where the download came from; an earlier hostlet did not note it.
    #[serde(default)]
    pub obtained: BTreeMap<String, ObtainedFrom>,
}

/// What a node shall be: compared with the manifest's to see whether anything is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contents {
    /// The node's name.
    pub node: NodeName,
    /// The kubelet's root directory.
    pub root_directory: PathBuf,
    /// The CRI runtime's unit.
    pub runtime_unit: UnitName,
    /// What was downloaded for it.
    pub artifacts: Vec<ArtifactRecord>,
    /// What lies in the generation's directory, by path in it.
    pub entries: BTreeMap<String, Expected>,
    /// What lies outside of it, by path.
    pub host: BTreeMap<PathBuf, Expected>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Units that are enabled and running, in the order in which they start.
    pub units: Vec<UnitRecord>,
}

/// An artifact in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArtifactRecord {
    /// What it carries.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// The processor it is for.
    pub architecture: Architecture,
    /// The digest of the file as it was downloaded.
    pub digest: Digest,
    /// Who vouched for the digest.
    pub origin: DigestOrigin,
}

impl From<&Artifact> for ArtifactRecord {
    fn from(artifact: &Artifact) -> Self {
        Self {
            component: artifact.component,
            version: artifact.version.clone(),
            architecture: artifact.architecture,
            digest: artifact.digest,
            origin: artifact.origin,
        }
    }
}

impl From<&ArtifactRecord> for Artifact {
    fn from(record: &ArtifactRecord) -> Self {
        Self {
            component: record.component,
            version: record.version.clone(),
            architecture: record.architecture,
            digest: record.digest,
            origin: record.origin,
        }
    }
}

/// A unit in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitRecord {
    /// Its name.
    pub name: UnitName,
    /// The digest over all that its process reads from the generation: a change of it means a restart.
    pub inputs: Digest,
    /// What it reads outside of the generation, its unit file and drop-ins among them.
    pub reads: Vec<PathBuf>,
}

impl Contents {
    /// The artifact of a component.
    #[must_use]
    pub fn artifact(&self, component: Component) -> Option<&ArtifactRecord> {
        self.artifacts.iter().find(|artifact| artifact.component == component)
    }

    /// The record of a unit.
    #[must_use]
    pub fn unit(&self, name: &UnitName) -> Option<&UnitRecord> {
        self.units.iter().find(|unit| unit.name == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_hostlet_wrote_of_the_store_still_reads() {
        let digest = Digest::of(b"x");
        let earlier = format!(r#"{{ "executables": {{ "entry": {{ "kubelet": "{digest}" }} }} }}"#);
        let stored: Stored = serde_json::from_str(&earlier).unwrap();
        assert_eq!(stored.executables["entry"]["kubelet"], digest);
        assert!(stored.signatures.is_empty() && stored.obtained.is_empty());
        let url = "https://mirror.example/kubelet".to_owned();
        let obtained = [ObtainedFrom::Source { url }, ObtainedFrom::Cache, ObtainedFrom::Bundle { path: "/srv/b".into() }];
        let obtained = ["a", "b", "c"].map(str::to_owned).into_iter().zip(obtained).collect();
        let now = Stored { obtained, ..stored };
        assert_eq!(serde_json::from_str::<Stored>(&serde_json::to_string(&now).unwrap()).unwrap(), now);
    }
}
