//! Which artifacts the node needs, with their digests, and getting them.

use super::{Context, Failure, Prepared, bundling};
use crate::{
    fetch::{Fetcher, Request, Verified},
    generation::manifest::Manifest,
    model::{Architecture, Artifact, Component, DigestOrigin, NodeIdentity, Version},
    output::Event,
    preflight::Cleared,
};

/// The artifacts that the settings ask for. A digest comes from the configuration, the catalog, the generation in force
/// (so that a published checksum that changes later is never taken), or else from the checksum published beside the file.
pub(super) async fn artifacts(
    context: &Context,
    identity: &NodeIdentity,
    current: Option<&Manifest>,
) -> Result<Vec<Artifact>, Failure> {
    let mut artifacts = Vec::new();
    for component in Component::ALL {
        let Some(version) = context.settings.version(component) else { continue };
        let artifact = match known(context, identity, current, component, version) {
            Some(artifact) => artifact,
            None => match &context.settings.sources.bundle {
                Some(bundle) => bundling::artifact(context, bundle, identity.architecture, component, version).await?,
                None => published(context, identity.architecture, component, version).await?,
            },
        };
        artifacts.push(artifact);
    }
    Ok(artifacts)
}

fn known(
    context: &Context,
    identity: &NodeIdentity,
    current: Option<&Manifest>,
    component: Component,
    version: &Version,
) -> Option<Artifact> {
    let architecture = identity.architecture;
    let artifact = |digest, origin| Artifact { component, version: version.clone(), architecture, digest, origin };
    if let Some((digest, origin)) = context.settings.pinned(component, architecture) {
        return Some(artifact(digest, origin));
    }
    let installed = current?.contents.artifact(component)?;
    let same = installed.version == *version && installed.architecture == architecture;
    same.then(|| artifact(installed.digest, installed.origin))
}

pub(super) async fn published(
    context: &Context,
    architecture: Architecture,
    component: Component,
    version: &Version,
) -> Result<Artifact, Failure> {
    let bug = || Failure::Bug(format!("no digest and no published checksum for {component} {version} ({architecture})"));
    let sites = context.settings.checksum_files(component, architecture);
    let site = sites.first().ok_or_else(bug)?;
    let digest = fetcher(context)?.sidecar_digest(&site.url).await?;
    Ok(Artifact { component, version: version.clone(), architecture, digest, origin: DigestOrigin::Sidecar })
}

/// Obtains and verifies what the plan needs. Only a host that passed preflight downloads anything.
pub(super) async fn fetch(context: &Context, _cleared: &Cleared, prepared: &Prepared) -> Result<Vec<Verified>, Failure> {
    if prepared.plan.fetch.is_empty() {
        return Ok(Vec::new());
    }
    context.events.emit(Event::Stage { name: "fetch" });
    if let Some(bundle) = &context.settings.sources.bundle {
        return bundling::obtain(context, bundle, prepared).await;
    }
    let requests = prepared.plan.fetch.iter().map(|artifact| request(context, artifact)).collect();
    download(context, requests).await
}

/// Where an artifact comes from, and what is asked of it.
pub(super) fn request(context: &Context, artifact: &Artifact) -> Request {
    let sites = context.settings.sites(artifact.component, artifact.architecture);
    Request { artifact: artifact.clone(), sites, signature: context.settings.signature(artifact.component) }
}

pub(super) async fn download(context: &Context, requests: Vec<Request>) -> Result<Vec<Verified>, Failure> {
    let fetcher = fetcher(context)?;
    tokio::select! {
        verified = fetcher.fetch_all(requests) => Ok(verified?),
        () = context.stop.cancelled() => Err(Failure::Interrupted),
    }
}

fn fetcher(context: &Context) -> Result<Fetcher, Failure> {
    Ok(Fetcher::new(&context.settings.sources, context.cache.clone(), context.events.clone())?)
}
