//! What the settings say about each component that is fetched.

use url::Url;

use super::{catalog, settings::Settings};
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
            .or_else(|| catalog::digest(component, version, arch).map(|digest| (digest, DigestOrigin::Catalog)))
    }

    /// What is asked of its signature.
    #[must_use]
    pub fn signature(&self, component: Component) -> SignaturePolicy {
        self.sources.components.get(&component).map_or(SignaturePolicy::Off, |source| source.signature.clone())
    }

    /// Where the artifact is fetched from; none when it is not installed.
    #[must_use]
    pub fn url(&self, component: Component, arch: Architecture) -> Option<Url> {
        let source = self.sources.components.get(&component)?;
        // A template fills in any version: that was tried when it was parsed.
        source.url.fill(self.version(component)?, arch).ok()
    }

    /// Where its `.sha256` file is, for the components whose upstream publishes one. It comes from the same place as the
    /// artifact, so that it proves integrity and not authenticity.
    #[must_use]
    pub fn sidecar(&self, component: Component, arch: Architecture) -> Option<Url> {
        let mut url = self.url(component, arch).filter(|_| catalog::has_sidecar(component))?;
        let path = format!("{}.sha256", url.path());
        url.set_path(&path);
        Some(url)
    }
}
