//! URLs with placeholders.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use super::{
    catalog,
    nouns::{not_one_of, read_from_text},
    settings::{Location, Site, UrlTemplate},
};
use crate::model::{Architecture, Component, Invalid, Version};

const PLACEHOLDERS: [&str; 5] = ["{component}", "{version}", "{version-core}", "{arch}", "{file}"];

impl Site {
    /// A site about which nothing more is said.
    #[must_use]
    pub const fn of(url: Url) -> Self {
        Self { url, allow_http: false, header_file: None }
    }
}

impl Location {
    /// A location about which nothing more is said.
    #[must_use]
    pub const fn of(template: UrlTemplate) -> Self {
        Self { template, allow_http: false, header_file: None }
    }

    /// The site for one version of a component.
    pub fn fill(&self, component: Component, version: &Version, arch: Architecture) -> Result<Site, Invalid> {
        let url = self.template.fill(component, version, arch)?;
        Ok(Site { url, allow_http: self.allow_http, header_file: self.header_file.clone() })
    }
}

impl UrlTemplate {
    /// The URL for one version of a component.
    pub fn fill(&self, component: Component, version: &Version, arch: Architecture) -> Result<Url, Invalid> {
        let text = filled(&self.0, component, version, arch);
        let text = text.replace("{file}", &catalog::file_name(component, version, arch));
        let invalid = |expected: &str| Invalid::new(self.0.clone(), expected);
        let url = if text.starts_with('/') {
            Url::from_file_path(&text).map_err(|()| invalid("an absolute path"))?
        } else {
            Url::parse(&text).map_err(|error| invalid(&format!("an absolute path or a URL ({error})")))?
        };
        if !matches!(url.scheme(), "https" | "file" | "http") {
            return Err(invalid("an https:// or file:// URL, or an absolute path"));
        }
        if url.scheme() == "file" && (url.host().is_some() || !(text.starts_with("file:///") || text.starts_with('/'))) {
            return Err(invalid("a file:// URL with an absolute path and no host, such as file:///srv/mirror/kubelet"));
        }
        if url.scheme() == "file" && text.split('/').any(|part| part == "..") {
            return Err(invalid("a path without \"..\""));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "a URL without user and password, which would be printed and logged; they belong into sources.netrc-file",
            ));
        }
        if url.path().ends_with('/') || url.fragment().is_some() {
            return Err(invalid("the URL of a file: no slash at the end of its path and no fragment"));
        }
        Ok(url)
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some version's URL would be plain http.
    pub(super) fn is_plain(&self) -> bool {
        self.0.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"))
    }

    /// What is said without placeholders is a directory that holds the files under the names that upstream gives them.
    pub(super) fn of_mirror(self) -> Self {
        if self.0.contains('{') { self } else { Self(format!("{}/{{file}}", self.0.trim_end_matches('/'))) }
    }

    /// Whether two components could have the same URL.
    pub(super) fn tells_components_apart(&self) -> bool {
        self.0.contains("{component}") || self.0.contains("{file}")
    }
}

/// All placeholders but the file's name, which is made of these itself.
pub(super) fn filled(template: &str, component: Component, version: &Version, arch: Architecture) -> String {
    template
        .replace("{component}", component.as_str())
        .replace("{version}", &version.to_string())
        .replace("{version-core}", &version.core().to_string())
        .replace("{arch}", &arch.to_string())
}

impl FromStr for UrlTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let known = PLACEHOLDERS.into_iter().find(|placeholder| rest[open..].starts_with(placeholder));
            let Some(known) = known else {
                let end = rest[open..].find('}').map_or(rest.len(), |close| open + close + 1);
                return Err(not_one_of(&rest[open..end], "a placeholder of a URL", &PLACEHOLDERS));
            };
            rest = &rest[open + known.len()..];
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::new(text, "a URL or a path without control characters"));
        }
        // What ends with a slash is a directory of files with upstream's names.
        let directory = text.len() > 1 && text.ends_with('/');
        let template = Self(if directory { format!("{text}{{file}}") } else { text.to_owned() });
        template.fill(Component::Kubelet, &Version::new(1, 2, 3), Architecture::Amd64).map(|_| template)
    }
}

read_from_text!(
    UrlTemplate,
    "An https:// or file:// URL or an absolute path, in which {component}, {version}, {arch} and {file} are filled in."
);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<UrlTemplate>().unwrap_err().to_string()
    }

    fn fill(template: &str, component: Component, version: &str) -> String {
        let template: UrlTemplate = template.parse().unwrap();
        template.of_mirror().fill(component, &version.parse().unwrap(), Architecture::Arm64).unwrap().to_string()
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        assert_eq!(
            fill("https://mirror.example/v{version}/{arch}/kubelet?x=1", Component::Kubelet, "v1.36.4"),
            "https://mirror.example/v1.36.4/arm64/kubelet?x=1"
        );
        assert_eq!(
            fill("https://mirror.example/{component}/v{version}/{arch}/{file}", Component::CniPlugins, "1.9.1"),
            "https://mirror.example/cni-plugins/v1.9.1/arm64/cni-plugins-linux-arm64-v1.9.1.tgz"
        );
        assert_eq!(
            fill("https://m/{version-core}/{version}", Component::FlannelCni, "1.9.1-flannel1"),
            "https://m/1.9.1/1.9.1-flannel1"
        );
    }

    #[test]
    fn a_path_is_a_file_of_this_host_whatever_characters_it_has() {
        assert_eq!(fill("/srv/my mirror/{file}", Component::Flanneld, "0.27.4"), "file:///srv/my%20mirror/flanneld-arm64");
        assert_eq!(fill("/srv/a?b#c%20/{file}", Component::Kubelet, "1.36.4"), "file:///srv/a%3Fb%23c%2520/kubelet");
    }

    #[test]
    fn without_placeholders_a_mirror_is_a_directory_with_upstreams_names() {
        for base in ["https://mirror.example/k8s", "https://mirror.example/k8s/"] {
            assert_eq!(fill(base, Component::Flanneld, "0.27.4"), "https://mirror.example/k8s/flanneld-arm64");
        }
        assert_eq!(fill("/media/usb", Component::Kubelet, "1.36.4"), "file:///media/usb/kubelet");
    }

    #[test]
    fn unknown_placeholders_are_refused_and_the_nearest_is_named() {
        let error = refused("https://mirror/{versoin}/kubelet");
        assert!(error.contains("{versoin}") && error.contains("did you mean \"{version}\""), "{error}");
        assert!(refused("https://mirror/{arch/kubelet").contains("placeholder"));
        assert!(refused("https://mirror/}/kubelet").contains("placeholder"));
        assert!(refused("ftp://mirror/kubelet").contains("https:// or file://"));
    }

    #[test]
    fn what_cannot_name_a_file_is_refused() {
        for bad in [
            "",
            "kubelet",
            "{version}/",
            "/",
            "https://mirror/?x",
            "file://host/x",
            "file:x",
            "https://u:p@mirror/x",
            "https://mirror/x#y",
            "/srv/../x",
            "https://mirror/\n",
        ] {
            assert!(bad.parse::<UrlTemplate>().is_err(), "{bad}");
        }
    }
}
