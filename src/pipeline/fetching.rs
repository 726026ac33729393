//! Which artifacts the node needs, with their digests, and getting them.

use super::{Context, Failure, Prepared, bundling};
use crate::{
    fetch::{Fetched, Fetcher, Request, record_trusted, trusted_digest},
    generation::manifest::Manifest,
    model::{Architecture, Artifact, Component, DigestOrigin, Version},
    output::Event,
    preflight::Cleared,
};

/// The artifacts that the settings ask for. A digest comes from the configuration, the catalog, the generation in force
/// or what was trusted before (so that a published checksum that changes later is never taken), or else from the checksum
/// published beside the file, where the user allows that.
pub(super) async fn artifacts(
    context: &Context,
    architecture: Architecture,
    current: Option<&Manifest>,
) -> Result<Vec<Artifact>, Failure> {
    let mut artifacts = Vec::new();
    for component in Component::ALL {
        let Some(version) = context.settings.version(component) else { continue };
        let artifact = match known(context, architecture, current, component, version)? {
            Some(artifact) => artifact,
            None => match &context.settings.sources.bundle {
                Some(bundle) => bundling::artifact(context, bundle, architecture, component, version).await?,
                None => published(context, architecture, component, version).await?,
            },
        };
        artifacts.push(artifact);
    }
    Ok(artifacts)
}

fn known(
    context: &Context,
    architecture: Architecture,
    current: Option<&Manifest>,
    component: Component,
    version: &Version,
) -> Result<Option<Artifact>, Failure> {
    let artifact = |digest, origin| Artifact { component, version: version.clone(), architecture, digest, origin };
    if let Some((digest, origin)) = context.settings.pinned(component, architecture) {
        return Ok(Some(artifact(digest, origin)));
    }
    if let Some(digest) = trusted_digest(&context.state, component, version, architecture)? {
        return Ok(Some(artifact(digest, DigestOrigin::Sidecar)));
    }
    let installed = current.and_then(|manifest| manifest.contents.artifact(component));
    let same = installed.filter(|installed| installed.version == *version && installed.architecture == architecture);
    Ok(same.map(|installed| artifact(installed.digest, installed.origin)))
}

pub(super) async fn published(
    context: &Context,
    architecture: Architecture,
    component: Component,
    version: &Version,
) -> Result<Artifact, Failure> {
    let bug = || Failure::Bug(format!("no digest and no published checksum for {component} {version} ({architecture})"));
    let sites = context.settings.checksum_files(component, architecture);
    if sites.is_empty() {
        return Err(bug());
    }
    let digest = fetcher(context)?.published_digest(&format!("{component} {version}"), &sites).await?;
    Ok(Artifact { component, version: version.clone(), architecture, digest, origin: DigestOrigin::Sidecar })
}

/// Obtains and verifies what the plan needs. Only a host that passed preflight downloads anything.
pub(super) async fn fetch(context: &Context, _cleared: &Cleared, prepared: &Prepared) -> Result<Fetched, Failure> {
    if prepared.plan.fetch.is_empty() {
        return Ok(Fetched::already_kept(Vec::new()));
    }
    let artifacts: Vec<Artifact> = prepared.plan.fetch.iter().map(|fetch| fetch.artifact.clone()).collect();
    obtain(context, &artifacts).await
}

/// Obtains and verifies these, from the bundle where there is one.
pub(super) async fn obtain(context: &Context, artifacts: &[Artifact]) -> Result<Fetched, Failure> {
    context.events.emit(Event::Stage { name: "fetch" });
    if let Some(bundle) = &context.settings.sources.bundle {
        return bundling::obtain(context, bundle, artifacts).await;
    }
    let requests = artifacts.iter().map(|artifact| request(context, artifact)).collect();
    let fetched = download(context, requests).await?;
    record_trusted(&context.state, &fetched.verified)?;
    Ok(fetched)
}

/// Where an artifact comes from, and what is asked of it.
pub(super) fn request(context: &Context, artifact: &Artifact) -> Request {
    let sites = context.settings.sites(artifact.component, artifact.architecture);
    Request { artifact: artifact.clone(), sites, signature: context.settings.signature(artifact.component) }
}

pub(super) async fn download(context: &Context, requests: Vec<Request>) -> Result<Fetched, Failure> {
    let fetcher = fetcher(context)?;
    tokio::select! {
        obtained = fetcher.fetch_all(requests) => Ok(obtained?),
        () = context.stop.cancelled() => Err(Failure::Interrupted),
    }
}

fn fetcher(context: &Context) -> Result<Fetcher, Failure> {
    Ok(Fetcher::new(&context.settings.sources, context.cache.clone(), context.events.clone())?)
}
