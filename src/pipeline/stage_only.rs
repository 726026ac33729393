//! `hostlet install --stage-only`: what an image is baked with. Everything that the configuration needs is fetched, verified and
//! among the downloads, in a chroot too, where no systemd runs; the machine's first boot installs without the network.

use serde::Serialize;

use super::{Context, Failure, as_root, fetching};
use crate::{
    facts,
    model::{Component, Digest, Version},
    plan,
};

/// What the first boot finds among the downloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StagedOnly {
    /// Which.
    pub component: Component,
    /// In which version.
    pub version: Version,
    /// Of the file as it was fetched.
    pub digest: Digest,
    /// In bytes.
    pub bytes: u64,
}

/// Obtains and verifies, and changes nothing else: neither units nor what is in force.
pub async fn stage_only(context: &Context) -> Result<Vec<StagedOnly>, Failure> {
    as_root()?;
    let architecture = plan::architecture(&facts::node())?;
    let artifacts = fetching::artifacts(context, architecture, None).await?;
    let verified = fetching::obtain(context, &artifacts).await?.kept().await?;
    let staged = verified.iter().map(|verified| {
        let artifact = verified.artifact();
        StagedOnly {
            component: artifact.component,
            version: artifact.version.clone(),
            digest: artifact.digest,
            bytes: verified.bytes(),
        }
    });
    Ok(staged.collect())
}
