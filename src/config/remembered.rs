//! What hostlet itself remembers: the versions that `upgrade` or `rollback` left in force, as a drop-in like the user's own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{Catalog, CatalogFile, ConfigError, Fit, Fragment, PeersFile, Settings, catalog_file, parse_as, peers_file};
use crate::model::{Component, Digest, Version};

/// The drop-in's name.
const NAME: &str = "90-upgrade.toml";

/// Versions, and the digests that go with them where the configuration pins others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// A version for each component that is remembered.
    pub versions: BTreeMap<Component, Version>,
    /// A digest for each whose pin would be another version's.
    pub digests: BTreeMap<Component, Digest>,
}

impl Remembered {
    /// As TOML.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text =
            "# Written by `hostlet upgrade` or `hostlet rollback`: the versions that are in force. What is said here\n\
            # goes before hostlet.toml; remove this file to go by that again.\n"
                .to_owned();
        let mut section = |name: &str, lines: &[(&str, String)]| {
            if !lines.is_empty() {
                let _ = write!(text, "\n[{name}]\n");
                for (key, value) in lines {
                    let _ = writeln!(text, "{key} = \"{value}\"");
                }
            }
        };
        for (name, keys) in [
            ("kubelet", [("version", Component::Kubelet)].as_slice()),
            ("flannel", &[("version", Component::Flanneld)]),
            ("cni", &[("version", Component::CniPlugins), ("flannel-version", Component::FlannelCni)]),
        ] {
            let line = |(key, component): &(&'static str, Component)| Some((*key, self.versions.get(component)?.to_string()));
            section(name, &keys.iter().filter_map(line).collect::<Vec<_>>());
        }
        for (component, digest) in &self.digests {
            section(&format!("sources.{component}"), &[("digest", digest.to_string())]);
        }
        text
    }
}

/// The configuration as it is read, of which one drop-in is hostlet's own to write.
#[derive(Debug, Clone)]
pub struct Configuration {
    directory: PathBuf,
    fragments: Vec<Fragment>,
    sets: Vec<String>,
    catalog: Catalog,
    peers: Option<PeersFile>,
}

impl Configuration {
    /// The main file's path, all fragments in their order, and what was set on the command line.
    #[must_use]
    pub fn new(main: &Path, fragments: Vec<Fragment>, sets: Vec<String>) -> Self {
        Self { directory: main.with_extension("d"), fragments, sets, catalog: Catalog::builtin(), peers: None }
    }

    /// The catalog that it names, which has to be read for it.
    #[must_use]
    pub fn catalog_file(&self) -> Option<CatalogFile> {
        catalog_file(&self.fragments, &self.sets)
    }

    /// The same configuration with this catalog.
    #[must_use]
    pub fn with_catalog(self, catalog: Catalog) -> Self {
        Self { catalog, ..self }
    }

    /// The file of peers that is to be read for it, if it names one.
    #[must_use]
    pub fn peers_file(&self) -> Option<PathBuf> {
        peers_file(&self.fragments, &self.sets)
    }

    /// With what came of reading that file.
    #[must_use]
    pub fn with_peers(self, peers: PeersFile) -> Self {
        Self { peers: Some(peers), ..self }
    }

    /// Where hostlet remembers.
    #[must_use]
    pub fn drop_in(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// The settings as they are.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        self.parse(&self.fragments, Fit::Checked)
    }

    /// The settings as they are, also where the kubelet's version does not have all that they use: whoever goes back is not
    /// kept from it.
    pub fn settings_to_leave(&self) -> Result<Settings, ConfigError> {
        self.parse(&self.fragments, Fit::Unchecked)
    }

    /// The settings without what hostlet remembers: to be looked at, since their version of the kubelet is not in force. What
    /// that one does not have is no mistake.
    pub fn settings_without(&self) -> Result<Settings, ConfigError> {
        self.parse(&self.others().cloned().collect::<Vec<_>>(), Fit::Unchecked)
    }

    /// The settings as they are when this is remembered.
    pub fn settings_with(&self, remembered: &Remembered) -> Result<Settings, ConfigError> {
        self.parse(&self.fragments_with(remembered), Fit::Checked)
    }

    /// The same for a generation that has its own configuration, and what does not fit its kubelet's version of this one.
    pub fn settings_back_with(&self, remembered: &Remembered) -> Result<(Settings, Option<ConfigError>), ConfigError> {
        let fragments = self.fragments_with(remembered);
        let settings = self.parse(&fragments, Fit::Unchecked)?;
        Ok((settings, self.parse(&fragments, Fit::Checked).err()))
    }

    fn fragments_with(&self, remembered: &Remembered) -> Vec<Fragment> {
        let own = self.drop_in();
        let is_before = |fragment: &&Fragment| {
            let path = Path::new(&fragment.name);
            !path.starts_with(&self.directory) || path < own
        };
        let mut fragments: Vec<Fragment> = self.others().filter(is_before).cloned().collect();
        fragments.push(Fragment { name: own.display().to_string(), text: remembered.text() });
        fragments.extend(self.others().filter(|fragment| !is_before(fragment)).cloned());
        fragments
    }

    fn parse(&self, fragments: &[Fragment], fit: Fit) -> Result<Settings, ConfigError> {
        parse_as(fragments, &self.sets, self.catalog.clone(), self.peers.as_ref(), fit)
    }

    fn others(&self) -> impl Iterator<Item = &Fragment> {
        let own = self.drop_in();
        self.fragments.iter().filter(move |fragment| Path::new(&fragment.name) != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "/etc/hostlet/hostlet.toml";

    fn configuration(drop_ins: &[(&str, &str)]) -> Configuration {
        let main = "[flannel]\nenabled = false\n[kubelet]\nversion = \"1.35.1\"\n".to_owned();
        let mut fragments = vec![Fragment { name: MAIN.to_owned(), text: main }];
        let drop_in =
            |(name, text): &(&str, &str)| Fragment { name: format!("/etc/hostlet/hostlet.d/{name}"), text: (*text).to_owned() };
        fragments.extend(drop_ins.iter().map(drop_in));
        Configuration::new(Path::new(MAIN), fragments, Vec::new())
    }

    fn remembered(kubelet: &str) -> Remembered {
        let versions = BTreeMap::from([(Component::Kubelet, kubelet.parse().unwrap())]);
        Remembered { versions, ..Remembered::default() }
    }

    #[test]
    fn what_is_remembered_goes_before_the_main_file_and_replaces_what_was_remembered_before() {
        let configuration =
            configuration(&[("50-x.toml", "[kubelet]\nversion = \"1.35.2\"\n"), (NAME, "[kubelet]\nversion = \"1.35.8\"\n")]);
        let version = |settings: Result<Settings, ConfigError>| settings.unwrap().kubelet.version.to_string();
        assert_eq!(configuration.drop_in(), Path::new("/etc/hostlet/hostlet.d/90-upgrade.toml"));
        assert_eq!(version(configuration.settings()), "1.35.8");
        assert_eq!(version(configuration.settings_without()), "1.35.2");
        assert_eq!(version(configuration.settings_with(&remembered("1.36.4"))), "1.36.4");
    }

    #[test]
    fn a_later_drop_in_of_the_users_has_the_last_word() {
        let configuration = configuration(&[("95-pin.toml", "[kubelet]\nversion = \"1.35.2\"\n")]);
        assert_eq!(configuration.settings_with(&remembered("1.36.4")).unwrap().kubelet.version.to_string(), "1.35.2");
    }

    #[test]
    fn the_way_back_is_open_where_the_version_of_then_lacks_a_field_and_what_does_not_fit_is_told() {
        let configuration = configuration(&[
            ("50-x.toml", "[kubelet.config]\ntlsCurvePreferences = [23]\n"),
            (NAME, "[kubelet]\nversion = \"1.36.4\"\n"),
        ]);
        assert!(configuration.settings().is_ok() && configuration.settings_with(&remembered("1.35.1")).is_err());
        let (settings, misfit) = configuration.settings_back_with(&remembered("1.35.1")).unwrap();
        assert_eq!(settings.kubelet.version.to_string(), "1.35.1");
        assert!(misfit.unwrap().to_string().contains("kubelet 1.35.1 has no tlsCurvePreferences: it was added in 1.36"));
        assert_eq!(configuration.settings_back_with(&remembered("1.36.3")).unwrap().1, None);
        assert!(configuration.settings_to_leave().is_ok());
    }

    #[test]
    fn every_component_and_digest_can_be_remembered() {
        let version = |component: Component| (component, Version::new(1, 36, component as u16));
        let digest = |component: Component| (component, Digest::of(component.as_str().as_bytes()));
        let remembered =
            Remembered { versions: Component::ALL.map(version).into(), digests: Component::ALL.map(digest).into() };
        let main = Fragment {
            name: MAIN.to_owned(),
            text: "[flannel]\ndatastore = \"etcd\"\n[flannel.etcd]\nendpoints = \"https://10.0.0.1:2379\"\n".to_owned(),
        };
        let settings = Configuration::new(Path::new(MAIN), vec![main], Vec::new()).settings_with(&remembered).unwrap();
        for component in Component::ALL {
            assert_eq!(settings.version(component), remembered.versions.get(&component), "{component}");
            assert_eq!(settings.sources.components[&component].digest.as_ref(), remembered.digests.get(&component));
        }
    }
}
