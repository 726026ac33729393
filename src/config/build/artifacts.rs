//! `[cni]` and `[sources]`: which artifacts are needed, where they come from, and that each can be verified.

use std::{collections::BTreeMap, time::Duration};

use super::{kubelet::within, signature};
use crate::{
    config::{
        catalog::{self, Catalog},
        given::{Field, OneOrMany},
        nouns::{AbsolutePath, source_key},
        problems::Problems,
        raw::{RawCni, RawLocation, RawSigner, RawSource, RawSources},
        settings::{Bundle, ClientIdentity, Cni, Location, ProxyChoice, Settings, Source, Sources},
        text::Span,
    },
    model::{Architecture, Component, Digest, MinisignKey, Version},
};

pub(super) fn cni(raw: RawCni, catalog: &Catalog, problems: &mut Problems<'_>) -> Option<Cni> {
    let version = problems.value(raw.version).or_else(|| catalog.default_version(Component::CniPlugins));
    let flannel = problems.value(raw.flannel_version).or_else(|| catalog.default_version(Component::FlannelCni));
    Some(Cni { version: version?, flannel_version: flannel? })
}

pub(super) fn sources(raw: RawSources, catalog: Catalog, problems: &mut Problems<'_>) -> Sources {
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    let attempts = match problems.located(raw.attempts) {
        Some((attempts, at)) if !(1..=100).contains(&attempts) => {
            problems.add(&at, format!("{attempts} is not a number of attempts from 1 to 100"));
            Sources::ATTEMPTS
        }
        given => given.map_or(Sources::ATTEMPTS, |(attempts, _)| attempts),
    };
    let mirrors = mirrors(raw.mirrors, problems);
    let upstream = problems.value(raw.upstream).unwrap_or(true);
    let mut source = |component, raw| (component, source(component, raw, &mirrors, upstream, problems));
    let components = BTreeMap::from([
        source(Component::Kubelet, raw.kubelet),
        source(Component::Flanneld, raw.flanneld),
        source(Component::CniPlugins, raw.cni_plugins),
        source(Component::FlannelCni, raw.flannel_cni),
    ]);
    if problems.value(raw.builtin_catalog) == Some(false) && problems.value(raw.catalog_file).is_none() {
        let problem = problems.add_at_key(&["sources.builtin-catalog"], "without hostlet's own catalog another one is needed");
        problem.help.push("name it: sources.catalog-file = \"/etc/hostlet/catalog.csv\"".to_owned());
    }
    let no_proxy: Vec<_> = problems.list(raw.no_proxy.0).into_iter().map(|(exception, _)| exception.0).collect();
    Sources {
        catalog,
        ca_file: problems.value(raw.ca_file).map(|path| path.0),
        client_identity: {
            let (certificate, key) = (problems.value(raw.client_certificate_file), problems.value(raw.client_key_file));
            client_identity(certificate.map(|path| path.0), key.map(|path| path.0), problems)
        },
        netrc_file: problems.value(raw.netrc_file).map(|path| path.0),
        proxy: problems.value(raw.proxy).unwrap_or(ProxyChoice::Environment),
        no_proxy: problems.mentioned("sources.no-proxy").then_some(no_proxy),
        stall_timeout: within(raw.stall_timeout, Sources::STALL_TIMEOUT, second, hour, problems),
        minimum_rate: problems.value(raw.minimum_rate).unwrap_or(Sources::MINIMUM_RATE),
        attempts,
        trust_root_file: problems.value(raw.trust_root_file).map(|path| path.0),
        rekor_url: problems.value(raw.rekor_url).map_or_else(Sources::rekor, |url| url.0),
        bundle: bundle((raw.bundle, raw.bundle_digest, raw.bundle_minisign_key), problems),
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

fn client_identity(
    certificate_file: Option<std::path::PathBuf>,
    key_file: Option<std::path::PathBuf>,
    problems: &mut Problems<'_>,
) -> Option<ClientIdentity> {
    let keys = ["sources.client-certificate-file", "sources.client-key-file"];
    match (certificate_file, key_file) {
        (Some(certificate_file), Some(key_file)) => Some(ClientIdentity { certificate_file, key_file }),
        (None, None) => None,
        (given, _) => {
            let (has, lacks) = if given.is_some() { (keys[0], keys[1]) } else { (keys[1], keys[0]) };
            let problem = problems.add_at_key(&[has], format!("{has} needs {lacks} beside it"));
            problem.help.push("the two may name one PEM file that holds both".to_owned());
            None
        }
    }
}

fn mirrors(raw: OneOrMany<RawLocation>, problems: &mut Problems<'_>) -> Vec<(Location, Span)> {
    let mut mirrors = Vec::new();
    for (RawLocation(location), at) in problems.list(raw.0) {
        let location = Location { template: location.template.of_mirror(), ..location };
        if !location.template.tells_components_apart() {
            let problem = problems.add(&at, "a mirror of every component has to tell them apart");
            problem
                .help
                .push("with {component} or {file}, or without placeholders: then it is a directory of files".to_owned());
            continue;
        }
        mirrors.push((location, at));
    }
    mirrors
}

/// What is written for a component is all that it comes from: a host that shall ask nobody else never does. Without that come
/// the mirrors, which are near and meant to spare the projects' servers, and then these.
fn source(
    component: Component,
    raw: RawSource,
    mirrors: &[(Location, Span)],
    upstream: bool,
    problems: &mut Problems<'_>,
) -> Source {
    let key = source_key(component, "url");
    let given = problems.mentioned(&key);
    let own = problems.list(raw.url.0).into_iter().map(|(RawLocation(location), at)| (location, at));
    let mut located: Vec<(Location, Span)> = own.collect();
    if !given {
        located.extend(mirrors.iter().cloned());
    }
    for (location, at) in &located {
        if location.template.is_plain() && !location.allow_http {
            let message = "plain http lets anybody on the way see and hold back what is fetched";
            let problem = problems.add_once(at, message);
            if let Some(problem) = problem {
                problem
                    .help
                    .push(format!("allow it for this source: {{ url = {:?}, allow-http = true }}", location.template.as_str()));
            }
        }
    }
    let mut locations: Vec<_> = located.into_iter().map(|(location, _)| location).collect();
    if !given && upstream {
        locations.extend(Source::upstream(component));
    }
    if locations.is_empty() && problems.is_empty() {
        let keys = [key.as_str(), "sources.upstream", "sources.mirrors"];
        let problem = problems.add_at_key(&keys, format!("nothing says where {component} comes from"));
        problem.help.push(format!("name a mirror in sources.mirrors, or {key}, or leave sources.upstream true"));
    }
    let signer = RawSigner {
        signature: raw.signature,
        certificate_identity: raw.certificate_identity,
        certificate_oidc_issuer: raw.certificate_oidc_issuer,
        cosign_key: raw.cosign_key,
        minisign_key: raw.minisign_key,
    };
    Source {
        signature: signature::policy(component, signer, problems),
        locations,
        digest: problems.value(raw.digest),
        trust_on_first_use: problems.value(raw.trust_on_first_use).unwrap_or(false),
    }
}

/// Nothing is fetched whose digest nobody says: not the user, not the catalog, not upstream where the user lets it.
pub(super) fn every_artifact_can_be_verified(settings: &Settings, problems: &mut Problems<'_>) {
    for component in Component::ALL {
        let (Some(version), Some(source)) = (settings.version(component), settings.sources.components.get(&component)) else {
            continue;
        };
        let arches = [Architecture::Amd64, Architecture::Arm64];
        // A bundle may know it; whether anybody vouches for the bundle is seen when it is opened.
        let bundled = settings.sources.bundle.is_some();
        if bundled || arches.iter().any(|arch| settings.pinned(component, *arch).is_some()) {
            continue;
        }
        let key = match component {
            Component::Kubelet => "kubelet.version",
            Component::Flanneld => "flannel.version",
            Component::CniPlugins => "cni.version",
            Component::FlannelCni => "cni.flannel-version",
        };
        if let Some(plain) = source.locations.iter().find(|location| location.template.is_plain()) {
            let text = format!("{component} {version} would come over plain http, and nobody says its digest before");
            let problem = problems.add_at_key(&[&source_key(component, "url"), "sources.mirrors", key], text);
            problem.help.push(format!("pin it: {} = \"<64 hexadecimal characters>\"", source_key(component, "digest")));
            problem.help.push(format!("or take an https source instead of {}", plain.template.as_str()));
            continue;
        }
        let only_upstream = source.locations == Source::upstream(component);
        let published = catalog::has_checksum_file(component) || !only_upstream;
        if source.trust_on_first_use && published {
            continue;
        }
        let why = if published {
            "it is not in the catalog, and the checksum published beside it is not trusted"
        } else {
            "it is not in the catalog, and upstream publishes no checksums"
        };
        let problem = problems.add_at_key(&[key], format!("nobody vouches for {component} {version}: {why}"));
        problem.help.push(format!("pin it: {} = \"<64 hexadecimal characters>\"", source_key(component, "digest")));
        if published {
            problem.help.push(format!(
                "or allow it: {} = true (takes the digest from URL.sha256, once: that proves integrity, not authenticity)",
                source_key(component, "trust-on-first-use")
            ));
        }
        let known =
            |version: &Version| arches.iter().any(|arch| settings.sources.catalog.digest(component, version, *arch).is_some());
        let versions = settings.sources.catalog.versions(component);
        let versions: Vec<_> = versions.iter().filter(|version| known(version)).rev().take(6).map(Version::to_string).collect();
        if !versions.is_empty() {
            problem.help.push(format!("or take a version that is in the catalog: {}", versions.join(", ")));
        }
    }
}
