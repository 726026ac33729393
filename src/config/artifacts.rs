//! What the settings say about each component that is fetched.

use super::{
    catalog,
    settings::{Location, Settings, Site, Source},
};
use crate::model::{Architecture, Component, Digest, DigestOrigin, SignaturePolicy, Version};

impl Settings {
    /// The version to install; none when the component is flannel's and flannel is off.
    #[must_use]
    pub fn version(&self, component: Component) -> Option<&Version> {
        match component {
            Component::Kubelet => Some(&self.kubelet.version),
            Component::Flanneld => self.flannel.as_ref().map(|flannel| &flannel.version),
            Component::CniPlugins => Some(&self.cni.version),
            Component::FlannelCni => self.flannel.as_ref().map(|_| &self.cni.flannel_version),
        }
    }

    /// The digest that is known before anything is fetched, and who says so: the user before the catalog.
    #[must_use]
    pub fn pinned(&self, component: Component, arch: Architecture) -> Option<(Digest, DigestOrigin)> {
        let version = self.version(component)?;
        let user = self.sources.components.get(&component).and_then(|source| source.digest);
        user.map(|digest| (digest, DigestOrigin::Configuration))
            .or_else(|| self.sources.catalog.digest(component, version, arch))
    }

    /// What is asked of its signature.
    #[must_use]
    pub fn signature(&self, component: Component) -> SignaturePolicy {
        self.sources.components.get(&component).map_or(SignaturePolicy::Off, |source| source.signature.clone())
    }

    /// Where the artifact may be fetched from, the first one first; none when it is not installed.
    #[must_use]
    pub fn sites(&self, component: Component, arch: Architecture) -> Vec<Site> {
        let (Some(source), Some(version)) = (self.sources.components.get(&component), self.version(component)) else {
            return Vec::new();
        };
        // A template fills in any version: that was tried when it was parsed.
        source.locations.iter().filter_map(|location| location.fill(component, version, arch).ok()).collect()
    }

    /// Where its `.sha256` file may be, where the user lets it be trusted. It comes from the same places as the artifact, so
    /// that it proves integrity and not authenticity; over plain http it would prove nothing.
    #[must_use]
    pub fn checksum_files(&self, component: Component, arch: Architecture) -> Vec<Site> {
        if !self.sources.components.get(&component).is_some_and(|source| source.trust_on_first_use) {
            return Vec::new();
        }
        let beside = |mut site: Site| {
            let path = format!("{}.sha256", site.url.path());
            site.url.set_path(&path);
            site
        };
        self.sites(component, arch).into_iter().filter(|site| site.url.scheme() != "http").map(beside).collect()
    }
}

impl Source {
    /// Upstream's own servers, in the order in which they are asked.
    pub(super) fn upstream(component: Component) -> Vec<Location> {
        catalog::upstream(component).into_iter().map(Location::of).collect()
    }
}
