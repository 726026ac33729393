//! `[cni]` and `[sources]`: which artifacts are needed, and that each can be verified.

use std::{collections::BTreeMap, time::Duration};

use super::kubelet::within;
use crate::{
    config::{
        catalog,
        nouns::source_key,
        problems::Problems,
        raw::{RawCni, RawSource, RawSources},
        settings::{Cni, Settings, Source, Sources},
    },
    model::{Architecture, Component, Version},
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
        (component, Source { url, digest: problems.value(raw.digest) })
    };
    let components = BTreeMap::from([
        source(Component::Kubelet, raw.kubelet),
        source(Component::Flanneld, raw.flanneld),
        source(Component::CniPlugins, raw.cni_plugins),
        source(Component::FlannelCni, raw.flannel_cni),
    ]);
    let stall_timeout = within(raw.stall_timeout, Duration::from_secs(30), second, hour, problems);
    Sources { ca_file: problems.value(raw.ca_file).map(|path| path.0), stall_timeout, attempts, components }
}

/// Nothing is fetched whose digest nobody says: not the user, not the catalog, not upstream.
pub(super) fn every_artifact_can_be_verified(settings: &Settings, problems: &mut Problems<'_>) {
    for component in Component::ALL {
        let Some(version) = settings.version(component) else { continue };
        let pinned = settings.sources.components.get(&component).is_some_and(|source| source.digest.is_some());
        let known =
            [Architecture::Amd64, Architecture::Arm64].iter().any(|arch| catalog::digest(component, version, *arch).is_some());
        if pinned || known || catalog::has_sidecar(component) {
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
