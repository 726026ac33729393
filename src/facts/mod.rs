//! One read-only look at the host: what it is ([`HostFacts`]), and what lies where hostlet wants something
//! ([`Observed`]). Nothing here changes anything; what cannot be known is an error that names it.

mod foreign;
mod look;
mod observed;

use std::{net::IpAddr, path::PathBuf};

pub use foreign::{Foreign, Saved, foreign};
pub use look::{bootstrap_token, host, identity, node, observe};
pub use observed::{Activity, Footprint, Observed, UnitFacts};

use crate::{
    generation::manifest::Manifest,
    host::{files::FileError, kubeconfig::Identity, mounts::MountTableError, systemd::SystemdError},
    model::{Digest, UnitName},
};

/// Something about the host could not be found out, or a file that the configuration names is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mounts could not be read.
    #[error(transparent)]
    Mounts(#[from] MountTableError),
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The bootstrap token cannot be read.
    #[error(
        "cluster.token-file: reading {}: {why}; write a token that `kubeadm token create` prints into it, owned by root, mode 0600",
        path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What the node is to bootstrap with cannot be used.
    #[error(
        "cluster.{key}: {}: {why}; give a client certificate of the cluster's authority that is valid and may ask for \
         certificates (ClusterRole system:node-bootstrapper), or a bootstrap token with cluster.token-file", path.display()
    )]
    Identity {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A token is needed, and no file is named.
    #[error(
        "cluster.token-file is not set; write a token that `kubeadm token create` prints into a file of mode 0600 and name it there"
    )]
    NoToken,
    /// The cluster's authority cannot be read.
    #[error(
        "cluster.ca-file: reading {}: {why}; copy /etc/kubernetes/pki/ca.crt of a control-plane node there, or give the PEM \
         text as cluster.ca",
        path.display()
    )]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A thread that looked was ended: hostlet is being stopped.
    #[error("looking at the host was interrupted")]
    Interrupted,
}

/// What tells who the node is. The kernel answers all of it at once: no file system and no daemon that hangs is asked.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The kernel's host name.
    pub hostname: String,
    /// The kernel's name for the processor: `x86_64`.
    pub machine: String,
    /// The source addresses of the default routes, IPv4 before IPv6.
    pub default_sources: Vec<IpAddr>,
}

/// What the host is, as far as the plan depends on it.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Who the node is.
    pub node: NodeFacts,
    /// The digest of this program.
    pub program: Digest,
    /// Whether `/etc/resolv.conf` leads to systemd-resolved's stub, which pods cannot reach.
    pub resolved_stub: bool,
    /// Whether the kernel already can do what the module would bring.
    pub kernel: KernelAbilities,
    /// How the kubelet's root directory is mounted.
    pub root_mount: RootMount,
    /// Whether the kubelet already has its client certificate.
    pub client_certificate: bool,
    /// What adopting an earlier kubelet means, or meant.
    pub foreign: Foreign,
    /// Credentials that were read from the files the configuration names.
    pub credentials: Credentials,
}

impl HostFacts {
    /// With what adopting an earlier kubelet means.
    #[must_use]
    pub fn with_foreign(self, foreign: Foreign) -> Self {
        Self { foreign, ..self }
    }

    /// Where hostlet wrote a mount unit for the root directory, the directory counts as shared by it: the unit stays wanted.
    #[must_use]
    pub fn with_mount_unit_of(mut self, current: Option<&Manifest>) -> Self {
        let has_unit = current
            .is_some_and(|manifest| manifest.contents.unit(&UnitName::of_mount(&manifest.contents.root_directory)).is_some());
        if has_unit && self.root_mount == RootMount::Shared {
            self.root_mount = RootMount::SharedByOurs;
        }
        self
    }
}

/// Abilities of the running kernel, whether built in or loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelAbilities {
    /// `overlay` is among the file systems.
    pub overlay: bool,
    /// Bridged packets can be passed to iptables.
    pub bridge_netfilter: bool,
}

/// How the kubelet's root directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootMount {
    /// The mount that covers it is shared: nothing to do.
    Shared,
    /// It is shared because of a mount unit that hostlet wrote: the unit stays.
    SharedByOurs,
    /// It is not, and the directory is no mount point: a shared bind mount of its own is needed.
    Covered,
    /// The directory is a mount point of its own that is not shared: it is made shared, since a bind on top would hide it.
    Private(PathBuf),
}

/// What the configuration's files held. A file that is not named is `None`.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// What the kubelet bootstraps with.
    pub bootstrap: Option<Identity>,
    /// The cluster's authority (PEM).
    pub certificate_authority: Option<String>,
}
