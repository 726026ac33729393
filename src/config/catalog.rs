//! The releases that hostlet knows (`config/catalog.csv`), their digests, and where upstream publishes them.

use std::sync::LazyLock;

use super::settings::UrlTemplate;
use crate::model::{Architecture, Component, Digest, Version};

const CATALOG: &str = include_str!("../../config/catalog.csv");

struct Release {
    component: Component,
    version: Version,
    arch: Architecture,
    digest: Option<Digest>,
}

// A line that does not parse is left out here, and fails a test.
static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| lines().filter_map(release).collect());

fn lines() -> impl Iterator<Item = &'static str> {
    CATALOG.lines().filter(|line| !line.starts_with('#')).skip(1)
}

fn release(line: &str) -> Option<Release> {
    let [component, version, arch, digest] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
    let digest = if digest.is_empty() { None } else { Some(digest.parse().ok()?) };
    Some(Release { component: component.parse().ok()?, version: version.parse().ok()?, arch: arch.parse().ok()?, digest })
}

/// The digest of a release, if the catalog has it.
#[must_use]
pub fn digest(component: Component, version: &Version, arch: Architecture) -> Option<Digest> {
    let same = |release: &&Release| release.component == component && release.version == *version && release.arch == arch;
    RELEASES.iter().find(same).and_then(|release| release.digest)
}

/// The versions of a component that the catalog knows, oldest first.
#[must_use]
pub fn versions(component: Component) -> Vec<Version> {
    let of = RELEASES.iter().filter(|release| release.component == component);
    let mut versions: Vec<_> = of.map(|release| release.version.clone()).collect();
    versions.sort();
    versions.dedup();
    versions
}

/// The version that is installed unless the configuration says otherwise: the newest in the catalog.
#[must_use]
pub fn default_version(component: Component) -> Option<Version> {
    versions(component).pop()
}

/// Where upstream publishes a component. Source: each project's release page.
#[must_use]
pub fn url_template(component: Component) -> UrlTemplate {
    let text = match component {
        Component::Kubelet => "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/kubelet",
        Component::Flanneld => "https://github.com/flannel-io/flannel/releases/download/v{version}/flanneld-{arch}",
        Component::CniPlugins => {
            "https://github.com/containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-{arch}-v{version}.tgz"
        }
        Component::FlannelCni => {
            "https://github.com/flannel-io/cni-plugin/releases/download/v{version}/cni-plugin-flannel-linux-{arch}-v{version}.tgz"
        }
    };
    UrlTemplate(text.to_owned())
}

/// Whether upstream publishes a `.sha256` file beside each release. flannel publishes none for its daemon.
#[must_use]
pub const fn has_sidecar(component: Component) -> bool {
    !matches!(component, Component::Flanneld)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_catalog_parses_and_comes_once() {
        let mut seen = std::collections::BTreeSet::new();
        for line in lines() {
            let release = release(line).unwrap_or_else(|| panic!("{line}"));
            assert!(seen.insert((release.component, release.version, release.arch)), "twice: {line}");
            assert!(release.digest.is_some() || release.component == Component::FlannelCni, "no digest: {line}");
        }
    }

    #[test]
    fn the_newest_release_is_the_default_and_known_for_both_processors() {
        let newest = |component| default_version(component).unwrap().to_string();
        assert_eq!(Component::ALL.map(newest), ["1.36.4", "0.27.4", "1.9.1", "1.9.1-flannel1"]);
        for component in [Component::Kubelet, Component::Flanneld, Component::CniPlugins] {
            for arch in [Architecture::Amd64, Architecture::Arm64] {
                assert!(digest(component, &default_version(component).unwrap(), arch).is_some(), "{component} {arch}");
            }
        }
    }

    #[test]
    fn upstream_urls_are_well_formed() {
        let url = |component| url_template(component).fill(&default_version(component).unwrap(), Architecture::Arm64).unwrap();
        assert_eq!(url(Component::Kubelet).as_str(), "https://dl.k8s.io/release/v1.36.4/bin/linux/arm64/kubelet");
        for component in Component::ALL {
            url_template(component).as_str().parse::<UrlTemplate>().unwrap();
            assert!(!url(component).as_str().contains('{'));
        }
    }
}
