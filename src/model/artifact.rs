//! What hostlet obtains: components, and the files that carry them.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Digest, Invalid, Version, serde_as_text};

/// A part of the node that is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The node agent of Kubernetes.
    Kubelet,
    /// flannel's daemon.
    Flanneld,
    /// The reference CNI plugins: of them bridge, host-local, loopback and portmap.
    CniPlugins,
    /// flannel's own CNI plugin.
    FlannelCni,
}

impl Component {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Kubelet, Self::Flanneld, Self::CniPlugins, Self::FlannelCni];

    /// How it is written in the configuration, the catalog and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Flanneld => "flanneld",
            Self::CniPlugins => "cni-plugins",
            Self::FlannelCni => "flannel-cni",
        }
    }
}

impl std::str::FromStr for Component {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = || Invalid::new(text, "a component: kubelet, flanneld, cni-plugins or flannel-cni");
        Self::ALL.into_iter().find(|component| component.as_str() == text).ok_or_else(expected)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

serde_as_text!(Component, "a component: kubelet, flanneld, cni-plugins or flannel-cni");

/// A processor architecture, by Go's names, since the sources of artifacts use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// `x86_64`
    Amd64,
    /// `aarch64`
    Arm64,
}

impl Architecture {
    /// Reads the kernel's name for the machine (uname -m).
    #[must_use]
    pub fn from_machine(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" | "amd64" => Some(Self::Amd64),
            "aarch64" | "arm64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl std::str::FromStr for Architecture {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::from_machine(text).ok_or_else(|| Invalid::new(text, "an architecture hostlet knows: amd64 or arm64"))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

serde_as_text!(Architecture, "amd64 or arm64");

/// Who vouches for a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DigestOrigin {
    /// hostlet's built-in catalog.
    Catalog,
    /// The user's own catalog.
    CatalogFile,
    /// The user's configuration.
    Configuration,
    /// A checksum file beside the artifact: the same origin as the bytes, so integrity and not authenticity.
    Sidecar,
    /// A bundle that is pinned, signed or trusted on first use, or that carries the file's own signature.
    Bundle,
}

impl DigestOrigin {
    /// Who vouches for the digest, in words.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Catalog => "known to hostlet",
            Self::CatalogFile => "in sources.catalog-file",
            Self::Configuration => "pinned in the configuration",
            Self::Sidecar => {
                "published beside it and trusted on first use: integrity only; pin it in the configuration for more"
            }
            Self::Bundle => "known to the bundle, which is pinned, signed, or trusted on first use; or proved by its signature",
        }
    }
}

/// Where a file was taken from when it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum ObtainedFrom {
    /// One of its sources.
    Source {
        /// Without credentials.
        url: String,
    },
    /// hostlet's own cache: an earlier run fetched it, and it was hashed again.
    Cache,
    /// A bundle.
    Bundle {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for ObtainedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { url } => write!(f, "{url}"),
            Self::Cache => write!(f, "what an earlier run had fetched"),
            Self::Bundle { path } => write!(f, "the bundle {}", path.display()),
        }
    }
}

/// How an artifact holds what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packing {
    /// The artifact is the executable; it is installed under this name.
    Executable(&'static str),
    /// A gzipped tar archive, of which only these members come out: (name at the archive's root, name installed under).
    TarGz(Vec<(String, &'static str)>),
}

/// One file to obtain: the digest is known before the first byte is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it carries.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// The processor it is for.
    pub architecture: Architecture,
    /// The SHA-256 of the file as it is downloaded.
    pub digest: Digest,
    /// Who vouches for the digest.
    pub origin: DigestOrigin,
}

impl Artifact {
    /// How the upstream project packs it. Source: facts on artifacts (names at the root of each archive).
    #[must_use]
    pub fn packing(&self) -> Packing {
        match self.component {
            Component::Kubelet => Packing::Executable("kubelet"),
            Component::Flanneld => Packing::Executable("flanneld"),
            Component::CniPlugins => {
                Packing::TarGz(["bridge", "host-local", "loopback", "portmap"].map(|name| (name.to_owned(), name)).to_vec())
            }
            Component::FlannelCni => Packing::TarGz(vec![(format!("flannel-{}", self.architecture), "flannel")]),
        }
    }

    /// The names of the executables it brings, as they are installed.
    #[must_use]
    pub fn executables(&self) -> Vec<&'static str> {
        match self.packing() {
            Packing::Executable(name) => vec![name],
            Packing::TarGz(members) => members.into_iter().map(|(_, name)| name).collect(),
        }
    }

    /// The name of its directory in the store: `<digest>-<name>-<version>`.
    #[must_use]
    pub fn store_name(&self) -> String {
        format!("{}-{}-{}", self.digest, self.component, self.version)
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.component, self.version, self.architecture)
    }
}
