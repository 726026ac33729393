//! Names of nodes and of systemd units.

use std::{fmt, os::unix::ffi::OsStrExt, path::Path, str::FromStr};

use super::{Invalid, serde_as_text};

/// The name of a Kubernetes node: an RFC 1123 subdomain, lower case, at most 253 characters.
///
/// Source: Kubernetes' `ValidateNodeName` (NameIsDNSSubdomain).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let label = |label: &str| {
            edge(label.chars().next())
                && edge(label.chars().last())
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(text, "a node name: lower-case letters, digits, '-' and '.', at most 253 characters (RFC 1123)"))
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(NodeName, "a node name: an RFC 1123 subdomain");

/// The name of a systemd unit with its type: `kubelet.service`. Source: systemd.unit(5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

impl UnitName {
    /// A name that is written in hostlet's own code.
    #[must_use]
    pub fn known(name: &'static str) -> Self {
        debug_assert!(name.parse::<Self>().is_ok(), "{name}");
        Self(name.to_owned())
    }

    /// Whether it is a mount's.
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.0.rsplit_once('.').is_some_and(|(_, kind)| kind == "mount")
    }

    /// Whether it is a service's: only that has a process.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.0.rsplit_once('.').is_some_and(|(_, kind)| kind == "service")
    }

    /// The name of the mount unit for a path, escaped as systemd.unit(5) says under "String Escaping".
    #[must_use]
    pub fn of_mount(path: &Path) -> Self {
        let parts: Vec<&[u8]> =
            path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Self::known("-.mount");
        }
        let mut name = String::new();
        for (index, byte) in parts.join(&b'/').into_iter().enumerate() {
            match byte {
                b'/' => name.push('-'),
                b'.' if index == 0 => name.push_str("\\x2e"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(byte.into()),
                other => name.push_str(&format!("\\x{other:02x}")),
            }
        }
        Self(format!("{name}.mount"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const TYPES: [&str; 9] = ["service", "socket", "mount", "target", "slice", "scope", "timer", "path", "swap"];
        let stem_is_valid =
            |stem: &str| !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        match text.rsplit_once('.') {
            Some((stem, kind)) if text.len() <= 255 && TYPES.contains(&kind) && stem_is_valid(stem) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Invalid::new(text, "the name of a systemd unit with its type, such as containerd.service")),
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(UnitName, "the name of a systemd unit, such as containerd.service");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_rfc_1123_subdomains() {
        for good in ["a", "node-07", "node-07.example.com", "0"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", "Node", "-a", "a-", "a..b", "a_b", "a b", &"a".repeat(254), "ä"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mount_units_are_named_as_systemd_escapes_paths() {
        // What `systemd-escape -p --suffix=mount` of systemd 252 prints.
        for (path, name) in [
            ("/var/lib/kubelet", "var-lib-kubelet.mount"),
            ("/var/lib/my-kubelet", r"var-lib-my\x2dkubelet.mount"),
            ("//data//kube_let/", "data-kube_let.mount"),
            ("/.hidden/a.b:c", r"\x2ehidden-a.b:c.mount"),
            ("/a b/ä", r"a\x20b-\xc3\xa4.mount"),
            ("/", "-.mount"),
        ] {
            assert_eq!(UnitName::of_mount(Path::new(path)).as_str(), name);
        }
    }

    #[test]
    fn unit_names_carry_their_type() {
        for good in ["kubelet.service", r"var-lib-my\x2dkubelet.mount", "getty@tty1.service"] {
            assert!(good.parse::<UnitName>().is_ok(), "{good}");
        }
        for bad in ["kubelet", ".service", "a/b.service", "kubelet.exe", "a b.service"] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad}");
        }
    }
}
