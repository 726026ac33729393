//! Bundles: what goes into one, and taking everything out of one where the configuration says so.

use super::{Context, Failure, fetching};
use crate::{
    config,
    fetch::{FetchError, Fetched, Keeping, OpenBundle, Request, Verified, redacted},
    model::{Architecture, Artifact, Component, DigestOrigin, ObtainedFrom, Version},
};

/// Obtains and verifies everything that the configuration needs, each with where it comes from.
pub async fn collect_for_bundle(
    context: &Context,
    architectures: &[Architecture],
) -> Result<(Vec<(Verified, String)>, Keeping), Failure> {
    let mut requests = Vec::new();
    for architecture in architectures {
        for component in Component::ALL {
            let Some(version) = context.settings.version(component) else { continue };
            let known = context.settings.pinned(component, *architecture);
            if architectures.len() > 1 && matches!(known, Some((_, DigestOrigin::Configuration))) {
                return Err(Failure::PinnedForOne(component));
            }
            let artifact = match known {
                Some((digest, origin)) => {
                    Artifact { component, version: version.clone(), architecture: *architecture, digest, origin }
                }
                None => fetching::published(context, *architecture, component, version).await?,
            };
            requests.push(fetching::request(context, &artifact));
        }
    }
    let from = |request: &Request| request.sites.first().map(|site| redacted(&site.url)).unwrap_or_default();
    let sources: Vec<String> = requests.iter().map(from).collect();
    let Fetched { verified, keeping } = fetching::download(context, requests).await?;
    let source = |(verified, first): (Verified, String)| match verified.from() {
        ObtainedFrom::Source { url } => (verified.clone(), url.clone()),
        ObtainedFrom::Cache | ObtainedFrom::Bundle { .. } => (verified, first),
    };
    Ok((verified.into_iter().zip(sources).map(source).collect(), keeping))
}

/// The bundle that the configuration names, read whole.
pub(super) async fn open(context: &Context, bundle: &config::Bundle) -> Result<OpenBundle, Failure> {
    let (bundle, sources) = (bundle.clone(), context.settings.sources.clone());
    let (cache, events) = (context.cache.clone(), context.events.clone());
    let opened = blocking(context, move || OpenBundle::open(&bundle, &sources, cache, events)).await?;
    Ok(opened?)
}

/// The artifact for which nobody else knows a digest.
pub(super) async fn artifact(
    context: &Context,
    bundle: &config::Bundle,
    architecture: Architecture,
    component: Component,
    version: &Version,
) -> Result<Artifact, Failure> {
    let opened = open(context, bundle).await?;
    let source = context.settings.sources.components.get(&component);
    let source = source.ok_or_else(|| Failure::Bug(format!("nothing is said of {component}")))?;
    Ok(opened.artifact(component, version, architecture, source)?)
}

/// Takes artifacts out of the bundle. Nothing is asked over the network.
pub(super) async fn obtain(context: &Context, bundle: &config::Bundle, artifacts: &[Artifact]) -> Result<Fetched, Failure> {
    let opened = open(context, bundle).await?;
    let policy = |artifact: &Artifact| (artifact.clone(), context.settings.signature(artifact.component));
    let wanted: Vec<_> = artifacts.iter().map(policy).collect();
    let obtained: Result<Vec<Verified>, FetchError> = blocking(context, move || opened.obtain(&wanted)).await?;
    Ok(Fetched::already_kept(obtained?))
}

/// Does what blocks on a thread for it. A signal ends the wait; what is half done then is a partial download as any other.
async fn blocking<T: Send + 'static>(context: &Context, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::select! {
        done = tokio::task::spawn_blocking(work) => done.map_err(|error| Failure::Bug(error.to_string())),
        () = context.stop.cancelled() => Err(Failure::Interrupted),
    }
}
