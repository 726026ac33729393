//! `[cni]` and `[sources]`: which artifacts are needed, and that each can be verified.

use std::{collections::BTreeMap, time::Duration};

use super::{kubelet::within, signature};
use crate::{
    config::{
        catalog,
        given::Field,
        nouns::{AbsolutePath, source_key},
        problems::Problems,
        raw::{RawCni, RawSigner, RawSource, RawSources},
        settings::{Bundle, Cni, Settings, Source, Sources},
    },
    model::{Architecture, Component, Digest, MinisignKey, Version},
};

pub(super) fn cni(raw: RawCni, problems: &mut Problems<'_>) -> Option<Cni> {
    let version = problems.value(raw.version).or_else(|| catalog::default_version(Component::CniPlugins));
    let flannel = problems.value(raw.flannel_version).or_else(|| catalog::default_version(Component::FlannelCni));
    Some(Cni { version: version?, flannel_version: flannel? })
}

pub(super) fn sources(raw: RawSources, problems: &mut Problems<'_>) -> Sources {
    const DEFAULT_ATTEMPTS: u32 = 4;
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    let attempts = match problems.located(raw.attempts) {
        Some((attempts, at)) if !(1..=100).contains(&attempts) => {
            problems.add(&at, format!("{attempts} is not a number of attempts from 1 to 100"));
            DEFAULT_ATTEMPTS
        }
        given => given.map_or(DEFAULT_ATTEMPTS, |(attempts, _)| attempts),
    };
    let mut source = |component, raw: RawSource| {
        let url = problems.value(raw.url).unwrap_or_else(|| catalog::url_template(component));
        let signer = RawSigner {
            signature: raw.signature,
            certificate_identity: raw.certificate_identity,
            certificate_oidc_issuer: raw.certificate_oidc_issuer,
            cosign_key: raw.cosign_key,
            minisign_key: raw.minisign_key,
        };
        let signature = signature::policy(component, signer, problems);
        (component, Source { url, digest: problems.value(raw.digest), signature })
    };
    let components = BTreeMap::from([
        source(Component::Kubelet, raw.kubelet),
        source(Component::Flanneld, raw.flanneld),
        source(Component::CniPlugins, raw.cni_plugins),
        source(Component::FlannelCni, raw.flannel_cni),
    ]);
    let stall_timeout = within(raw.stall_timeout, Duration::from_secs(30), second, hour, problems);
    let bundle = bundle((raw.bundle, raw.bundle_digest, raw.bundle_minisign_key), problems);
    Sources {
        ca_file: problems.value(raw.ca_file).map(|path| path.0),
        stall_timeout,
        attempts,
        trust_root_file: problems.value(raw.trust_root_file).map(|path| path.0),
        rekor_url: problems.value(raw.rekor_url).map_or_else(Sources::rekor, |url| url.0),
        bundle,
        components,
    }
}

type RawBundle = (Field<AbsolutePath>, Field<Digest>, Field<MinisignKey>);

fn bundle((path, digest, key): RawBundle, problems: &mut Problems<'_>) -> Option<Bundle> {
    let (path, digest, key) = (problems.value(path), problems.value(digest), problems.value(key));
    if path.is_none() && (digest.is_some() || key.is_some()) {
        let keys = ["sources.bundle-digest", "sources.bundle-minisign-key"];
        problems.add_at_key(&keys, "sources.bundle is missing: there is no bundle to compare this with");
    }
    Some(Bundle { path: path?.0, digest, key })
}

/// Nothing is fetched whose digest nobody says: not the user, not the catalog, not upstream.
pub(super) fn every_artifact_can_be_verified(settings: &Settings, problems: &mut Problems<'_>) {
    for component in Component::ALL {
        let Some(version) = settings.version(component) else { continue };
        let pinned = settings.sources.components.get(&component).is_some_and(|source| source.digest.is_some());
        let known =
            [Architecture::Amd64, Architecture::Arm64].iter().any(|arch| catalog::digest(component, version, *arch).is_some());
        // A bundle may know it; whether anybody vouches for the bundle is seen when it is opened.
        let bundled = settings.sources.bundle.is_some();
        if pinned || known || bundled || catalog::has_sidecar(component) {
            continue;
        }
        let versions: Vec<_> = catalog::versions(component).iter().map(Version::to_string).collect();
        let message =
            format!("nobody vouches for {component} {version}: it is not in the catalog, and upstream publishes no checksums");
        let key = if component == Component::Flanneld { "flannel.version" } else { "cni.version" };
        let problem = problems.add_at_key(&[key], message);
        problem.help.push(format!("pin it: {} = \"<64 hexadecimal characters>\"", source_key(component, "digest")));
        problem.help.push(format!("or take a version that is in the catalog: {}", versions.join(", ")));
    }
}
