//! The releases that are known, with their digests, and where upstream publishes them. hostlet's own are in
//! `config/catalog.csv`; a file of the user's in the same format goes before them, or takes their place.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use super::{
    problem::{ConfigError, Problem},
    settings::UrlTemplate,
    template,
    text::{Fragment, Texts},
};
use crate::model::{Architecture, Component, Digest, DigestOrigin, Version};

const BUILTIN: &str = include_str!("../../config/catalog.csv");
const HEADER: &str = "component,version,arch,sha256";

type Key = (Component, Version, Architecture);

/// Releases and their digests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<BTreeMap<Key, (Option<Digest>, DigestOrigin)>>);

static BUILT_IN: LazyLock<Catalog> = LazyLock::new(|| {
    // A line that does not parse is left out here, and fails a test.
    let releases = lines(BUILTIN).filter_map(|(_, line)| release(line).ok());
    Catalog(Arc::new(releases.map(|(key, digest)| (key, (digest, DigestOrigin::Catalog))).collect()))
});

impl Catalog {
    /// hostlet's own.
    #[must_use]
    pub fn builtin() -> Self {
        BUILT_IN.clone()
    }

    /// One that the user wrote; every mistake in it is reported.
    pub fn read(file: &Fragment) -> Result<Self, ConfigError> {
        let texts = Texts::new(std::slice::from_ref(file), &[], None);
        let mut releases = BTreeMap::new();
        let mut problems = Vec::new();
        for (at, line) in lines(&file.text) {
            let mistake = match release(line) {
                Ok((key, digest)) => {
                    releases.insert(key, (digest, DigestOrigin::CatalogFile)).map(|_| "it is there twice".to_owned())
                }
                Err(mistake) => Some(mistake),
            };
            if let Some(mistake) = mistake {
                let mut problem = Problem::new(texts.place(&(at..at + line.len()), false), mistake);
                problem.help.push(format!("each line of a catalog is {HEADER}, such as kubelet,1.36.4,amd64,cf2562db…"));
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(Self(Arc::new(releases))) } else { Err(ConfigError { problems }) }
    }

    /// These releases, and those of another catalog that are not among them.
    #[must_use]
    pub fn before(&self, other: &Self) -> Self {
        let mut releases = (*other.0).clone();
        releases.extend(self.0.iter().map(|(key, release)| (key.clone(), *release)));
        Self(Arc::new(releases))
    }

    /// The digest of a release and whose word it is, if the catalog has it.
    #[must_use]
    pub fn digest(&self, component: Component, version: &Version, arch: Architecture) -> Option<(Digest, DigestOrigin)> {
        let (digest, origin) = self.0.get(&(component, version.clone(), arch))?;
        digest.map(|digest| (digest, *origin))
    }

    /// The versions of a component that it knows, oldest first.
    #[must_use]
    pub fn versions(&self, component: Component) -> Vec<Version> {
        let of = self.0.keys().filter(|(of, _, _)| *of == component);
        let mut versions: Vec<_> = of.map(|(_, version, _)| version.clone()).collect();
        versions.dedup();
        versions
    }

    /// The version that is installed unless the configuration says otherwise: the newest. A catalog without any release of a
    /// component leaves that to hostlet's own.
    #[must_use]
    pub fn default_version(&self, component: Component) -> Option<Version> {
        self.versions(component).pop().or_else(|| Self::builtin().versions(component).pop())
    }
}

/// The lines that say something, with the position of each.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    let all = text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line.trim_end())
    });
    all.filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && *line != HEADER)
}

fn release(line: &str) -> Result<(Key, Option<Digest>), String> {
    let fields: Vec<_> = line.split(',').map(str::trim).collect();
    let [component, version, arch, digest] = fields[..] else {
        return Err(format!("{} fields where 4 are needed", fields.len()));
    };
    let digest = if digest.is_empty() { None } else { Some(digest.parse().map_err(|error| format!("{error}"))?) };
    let component = component.parse().map_err(|error| format!("{error}"))?;
    let version = version.parse().map_err(|error| format!("{error}"))?;
    let arch = arch.parse().map_err(|error| format!("{error}"))?;
    Ok(((component, version, arch), digest))
}

/// Where upstream publishes a component, the likelier place first. Source: each project's release page.
#[must_use]
pub fn upstream(component: Component) -> Vec<UrlTemplate> {
    let texts: &[&str] = match component {
        Component::Kubelet => &["https://dl.k8s.io/release/v{version}/bin/linux/{arch}/kubelet"],
        Component::Flanneld => &["https://github.com/flannel-io/flannel/releases/download/v{version}/flanneld-{arch}"],
        Component::CniPlugins => &[
            "https://github.com/containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-{arch}-v{version}.tgz",
        ],
        // The file's name lost the tag's suffix between v1.7.1-flannel2, which has it, and v1.9.0-flannel1.
        Component::FlannelCni => &[
            "https://github.com/flannel-io/cni-plugin/releases/download/v{version}/cni-plugin-flannel-linux-{arch}-v{version-core}.tgz",
            "https://github.com/flannel-io/cni-plugin/releases/download/v{version}/cni-plugin-flannel-linux-{arch}-v{version}.tgz",
        ],
    };
    texts.iter().map(|text| UrlTemplate((*text).to_owned())).collect()
}

/// The name that upstream gives a component's file.
pub(super) fn file_name(component: Component, version: &Version, arch: Architecture) -> String {
    let upstream = upstream(component);
    let template = upstream.first().map(UrlTemplate::as_str).unwrap_or_default();
    let name = template.rsplit('/').next().unwrap_or_default();
    template::filled(name, component, version, arch)
}

/// Whether upstream publishes a `.sha256` file beside each release. flannel publishes none for its daemon.
#[must_use]
pub const fn has_checksum_file(component: Component) -> bool {
    !matches!(component, Component::Flanneld)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Fragment {
        Fragment { name: "/etc/hostlet/catalog.csv".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn every_line_of_the_built_in_catalog_parses_and_comes_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, line) in lines(BUILTIN) {
            let ((component, version, arch), digest) = release(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(seen.insert((component, version, arch)), "twice: {line}");
            assert!(digest.is_some() || component == Component::FlannelCni, "no digest: {line}");
        }
        assert!(seen.len() > 50);
    }

    #[test]
    fn the_newest_release_is_the_default_and_known_for_both_processors() {
        let catalog = Catalog::builtin();
        let newest = |component| catalog.default_version(component).unwrap().to_string();
        assert_eq!(Component::ALL.map(newest), ["1.36.4", "0.27.4", "1.9.1", "1.9.1-flannel1"]);
        for component in [Component::Kubelet, Component::Flanneld, Component::CniPlugins] {
            for arch in [Architecture::Amd64, Architecture::Arm64] {
                let version = catalog.default_version(component).unwrap();
                assert!(catalog.digest(component, &version, arch).is_some(), "{component} {arch}");
            }
        }
    }

    #[test]
    fn upstream_urls_are_well_formed() {
        let catalog = Catalog::builtin();
        let url = |component| {
            let version = catalog.default_version(component).unwrap();
            upstream(component)[0].fill(component, &version, Architecture::Arm64).unwrap().to_string()
        };
        assert_eq!(url(Component::Kubelet), "https://dl.k8s.io/release/v1.36.4/bin/linux/arm64/kubelet");
        assert!(url(Component::FlannelCni).ends_with("/v1.9.1-flannel1/cni-plugin-flannel-linux-arm64-v1.9.1.tgz"));
        for component in Component::ALL {
            for template in upstream(component) {
                template.as_str().parse::<UrlTemplate>().unwrap();
            }
            assert!(!url(component).contains('{'));
        }
    }

    #[test]
    fn a_users_catalog_goes_before_the_built_in_one_and_says_so() {
        let digest = "ab".repeat(32);
        let own = Catalog::read(&file(&format!(
            "# ours\n{HEADER}\nkubelet,v1.36.4,amd64,{digest}\nkubelet, 1.36.9 ,amd64,{digest}\n"
        )));
        let both = own.unwrap().before(&Catalog::builtin());
        let find = |version: &str, arch| both.digest(Component::Kubelet, &version.parse().unwrap(), arch);
        assert_eq!(find("1.36.4", Architecture::Amd64), Some((digest.parse().unwrap(), DigestOrigin::CatalogFile)));
        assert_eq!(find("1.36.4", Architecture::Arm64).unwrap().1, DigestOrigin::Catalog);
        assert_eq!(both.default_version(Component::Kubelet), Some(Version::new(1, 36, 9)));
    }

    #[test]
    fn every_mistake_in_a_users_catalog_is_shown_where_it_stands() {
        let digest = "ab".repeat(32);
        let line = format!("kubelet,1.36.4,amd64,{digest}");
        let text = format!(
            "{line}\nkubelet,1.36.4,amd64\nkublet,1.36.4,amd64,{digest}\nkubelet,1.36,amd64,{digest}\n{line}\nkubelet,1.36.5,amd64,abc\n"
        );
        let error = Catalog::read(&file(&text)).unwrap_err();
        let lines: Vec<_> = error.problems.iter().map(|problem| problem.place.as_ref().unwrap().line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6], "{error}");
        for part in ["catalog.csv:2:1: 3 fields", "a component:", "1.36.4 (or", "twice", "64 hexadecimal", HEADER] {
            assert!(error.to_string().contains(part), "no {part:?} in {error}");
        }
    }
}
