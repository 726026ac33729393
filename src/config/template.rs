//! URLs with placeholders.

use std::str::FromStr;

use url::Url;

use super::{
    nouns::{not_one_of, read_from_text},
    settings::UrlTemplate,
};
use crate::model::{Architecture, Invalid, Version};

use serde::{Deserialize, Deserializer, de::Error as _};

const PLACEHOLDERS: [&str; 2] = ["{version}", "{arch}"];

impl UrlTemplate {
    /// The URL for one version (without its `v`) and processor.
    pub fn fill(&self, version: &Version, arch: Architecture) -> Result<Url, Invalid> {
        let text = self.0.replace("{version}", &version.to_string()).replace("{arch}", &arch.to_string());
        let invalid = |expected: &str| Invalid::new(self.0.clone(), expected);
        let url = Url::parse(&text).map_err(|error| invalid(&format!("a URL ({error})")))?;
        match url.scheme() {
            "https" | "file" => {}
            "http" => {
                return Err(invalid(
                    "an https:// or file:// URL: plain http lets anybody on the way see and hold back what is fetched",
                ));
            }
            _ => return Err(invalid("an https:// or file:// URL")),
        }
        if url.scheme() == "file" && (url.host().is_some() || !text.starts_with("file:///")) {
            return Err(invalid("a file:// URL with an absolute path and no host, such as file:///srv/mirror/kubelet"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a URL without user and password, which would be printed and logged"));
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
        let template = Self(text.to_owned());
        template.fill(&Version::new(1, 2, 3), Architecture::Amd64).map(|_| template)
    }
}

read_from_text!(UrlTemplate, "An https:// or file:// URL, in which {version} and {arch} are filled in.");

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<UrlTemplate>().unwrap_err().to_string()
    }

    #[test]
    fn version_and_processor_are_filled_in() {
        let template: UrlTemplate = "https://mirror.example/v{version}/{arch}/kubelet?x=1".parse().unwrap();
        let url = template.fill(&"v1.36.4".parse().unwrap(), Architecture::Arm64).unwrap();
        assert_eq!(url.as_str(), "https://mirror.example/v1.36.4/arm64/kubelet?x=1");
        assert!("file:///srv/mirror/kubelet".parse::<UrlTemplate>().is_ok());
    }

    #[test]
    fn plain_http_is_refused_with_the_reason() {
        assert!(refused("http://mirror/kubelet").contains("plain http lets anybody"));
        assert!(refused("ftp://mirror/kubelet").contains("https:// or file://"));
    }

    #[test]
    fn unknown_placeholders_are_refused_and_the_nearest_is_named() {
        let error = refused("https://mirror/{versoin}/kubelet");
        assert!(error.contains("{versoin}") && error.contains("did you mean \"{version}\""), "{error}");
        assert!(refused("https://mirror/{arch/kubelet").contains("placeholder"));
        assert!(refused("https://mirror/}/kubelet").contains("placeholder"));
    }

    #[test]
    fn what_cannot_name_a_file_is_refused() {
        for bad in ["", "kubelet", "https://mirror/", "file://host/x", "file:x", "https://u:p@mirror/x", "https://mirror/x#y"] {
            assert!(bad.parse::<UrlTemplate>().is_err(), "{bad}");
        }
    }
}
