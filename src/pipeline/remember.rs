//! Remembering the version that an upgrade or a rollback leaves in force: a drop-in of the configuration, so that a later
//! `hostlet install` stays with it.

use std::path::PathBuf;

use super::{Failure, Prepared};
use crate::{
    config::{ConfigError, Configuration, Remembered, Settings},
    generation::manifest::Contents,
    host::look,
    model::{Component, Digest, DigestOrigin, Expected, Version},
    plan::Step,
    transaction::{Change, Content},
};

/// A drop-in that is written with the change that it belongs to, or not at all.
#[derive(Debug, Clone)]
pub struct DropIn {
    path: PathBuf,
    text: String,
}

/// The configuration does not let a version be remembered.
#[derive(Debug, thiserror::Error)]
pub enum CannotRemember {
    /// Something that is read later says another version.
    #[error(
        "kubelet {wanted} is asked for, but the configuration says {found} with more weight than {}: take kubelet.version out \
         of the drop-ins that are read after it, and do not --set it",
        drop_in.display()
    )]
    Overruled {
        /// What was asked for.
        wanted: Version,
        /// What the configuration says all the same.
        found: Version,
        /// Where hostlet would remember it.
        drop_in: PathBuf,
    },
    /// The configuration pins the digest of another version.
    #[error(
        "sources.kubelet.digest pins a file of version {pinned}: say the digest of {wanted} with --digest (as sha256sum prints \
         it), or take the pin out of the configuration to go by hostlet's catalog or the published checksum"
    )]
    Pinned {
        /// The version that the pin is for.
        pinned: Version,
        /// What was asked for.
        wanted: Version,
    },
}

impl DropIn {
    fn new(configuration: &Configuration, remembered: &Remembered) -> Self {
        Self { path: configuration.drop_in(), text: remembered.text() }
    }

    /// Adds the step that writes it, where it is not there already.
    pub(super) fn plan(&self, prepared: &mut Prepared) -> Result<(), Failure> {
        let content = Content::Plain(self.text.clone().into_bytes());
        let expected = Expected::File { digest: content.digest(), mode: 0o644 };
        if expected.difference(&look::at(&self.path)?).is_some() {
            let change = Change::WriteFile { path: self.path.clone(), content, mode: 0o644 };
            let reason = "a later `hostlet install` stays with this version".to_owned();
            prepared.plan.steps.push(Step { change, reason });
        }
        Ok(())
    }
}

/// The settings of an upgrade, and what is remembered of it.
pub fn upgrade_to(
    configuration: &Configuration,
    version: &Version,
    digest: Option<Digest>,
) -> Result<(Settings, DropIn), Failure> {
    let before = configuration.settings_without()?;
    let pinned = before.sources.components.get(&Component::Kubelet).and_then(|source| source.digest);
    if pinned.is_some() && digest.is_none() && before.kubelet.version != *version {
        return Err(CannotRemember::Pinned { pinned: before.kubelet.version, wanted: version.clone() }.into());
    }
    let remembered = Remembered {
        versions: [(Component::Kubelet, version.clone())].into(),
        digests: digest.map(|digest| (Component::Kubelet, digest)).into_iter().collect(),
    };
    let settings = configuration.settings_with(&remembered)?;
    if settings.kubelet.version != *version {
        let (found, drop_in) = (settings.kubelet.version, configuration.drop_in());
        return Err(CannotRemember::Overruled { wanted: version.clone(), found, drop_in }.into());
    }
    Ok((settings, DropIn::new(configuration, &remembered)))
}

/// The settings under which an earlier generation stays in force, and what is remembered for it: the kubelet's version, the
/// others' where the configuration says something else by now, and digests where it pins others. What of the configuration
/// its kubelet does not have comes last: the generation has its own.
pub(super) fn return_to(
    configuration: &Configuration,
    contents: &Contents,
) -> Result<(Settings, DropIn, Option<ConfigError>), Failure> {
    let before = configuration.settings_without()?;
    let mut remembered = Remembered::default();
    for record in &contents.artifacts {
        let component = record.component;
        let said = before.version(component);
        if component == Component::Kubelet || said.is_some_and(|said| *said != record.version) {
            remembered.versions.insert(component, record.version.clone());
        }
        let pinned = before.sources.components.get(&component).and_then(|source| source.digest);
        // Nobody vouches for a version that was pinned unless the pin comes back with it.
        if pinned != Some(record.digest) && (pinned.is_some() || record.origin == DigestOrigin::Configuration) {
            remembered.digests.insert(component, record.digest);
        }
    }
    let (settings, misfit) = configuration.settings_back_with(&remembered)?;
    Ok((settings, DropIn::new(configuration, &remembered), misfit))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Fragment;

    fn configuration(text: &str) -> Configuration {
        let name = "/etc/hostlet/hostlet.toml";
        let text = format!("[flannel]\nenabled = false\n{text}");
        Configuration::new(Path::new(name), vec![Fragment { name: name.to_owned(), text }], Vec::new())
    }

    #[test]
    fn a_pin_of_another_version_is_not_taken_for_the_new_one() {
        let digest = Digest::of(b"kubelet");
        let pinned = configuration(&format!("[kubelet]\nversion = \"1.36.3\"\n[sources.kubelet]\ndigest = \"{digest}\"\n"));
        let version = Version::new(1, 36, 4);
        let error = upgrade_to(&pinned, &version, None).unwrap_err();
        assert!(error.to_string().contains("--digest"), "{error}");
        upgrade_to(&pinned, &Version::new(1, 36, 3), None).unwrap();
        let other = Digest::of(b"another");
        let (settings, drop_in) = upgrade_to(&pinned, &version, Some(other)).unwrap();
        assert_eq!(settings.sources.components[&Component::Kubelet].digest, Some(other));
        assert_eq!(drop_in.path, Path::new("/etc/hostlet/hostlet.d/90-upgrade.toml"));
    }

    #[test]
    fn an_upgrade_to_a_kubelet_that_lacks_what_is_in_use_is_refused_and_one_that_has_it_is_not() {
        let digest = Some(Digest::of(b"kubelet"));
        let pin = format!("[sources.kubelet]\ndigest = \"{}\"\n", Digest::of(b"kubelet"));
        let flag =
            "[kubelet]\nversion = \"1.34.1\"\nextra-args = [\"--pod-infra-container-image=registry.k8s.io/pause:3.10\"]\n";
        let removed = configuration(&format!("{flag}{pin}"));
        upgrade_to(&removed, &Version::new(1, 34, 2), digest).unwrap();
        let error = upgrade_to(&removed, &Version::new(1, 35, 0), digest).unwrap_err();
        assert!(matches!(error, Failure::Configuration(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("it was removed in 1.35") && said.contains("instead: set the sandbox image"), "{said}");

        let gate = "[kubelet]\nversion = \"1.36.1\"\n[kubelet.config]\nfeatureGates.SidecarContainers = true\n";
        let removed = configuration(&format!("{gate}{pin}"));
        upgrade_to(&removed, &Version::new(1, 36, 2), digest).unwrap();
        let said = upgrade_to(&removed, &Version::new(1, 37, 0), digest).unwrap_err().to_string();
        assert!(
            said.contains("kubelet 1.37.0 has no feature gate SidecarContainers") && said.contains("removed in 1.37"),
            "{said}"
        );

        let field = "[kubelet]\nversion = \"1.34.1\"\n[kubelet.config]\ntlsCurvePreferences = [23]\n";
        let added = configuration(&format!("{field}{pin}"));
        assert!(added.settings().unwrap_err().to_string().contains("it was added in 1.36"));
        upgrade_to(&added, &Version::new(1, 36, 0), digest).unwrap();
    }

    #[test]
    fn what_is_read_later_must_not_say_another_version() {
        let name = "/etc/hostlet/hostlet.toml";
        let configuration = Configuration::new(
            Path::new(name),
            vec![Fragment { name: name.to_owned(), text: "[flannel]\nenabled = false\n".to_owned() }],
            vec!["kubelet.version=1.36.3".to_owned()],
        );
        let error = upgrade_to(&configuration, &Version::new(1, 36, 4), None).unwrap_err();
        assert!(error.to_string().contains("90-upgrade.toml") && error.to_string().contains("1.36.3"), "{error}");
    }
}
