//! What is wanted, rendered: units and configuration files from the settings and the host's facts.

mod flannel;
mod kubeconfig;
mod kubelet;
mod kubelet_configuration;
mod system;
mod units;

pub use system::KERNEL_DEFAULTS;

use std::path::Path;

use super::wanted::{Builder, Wanted};
use crate::{
    config::Settings,
    facts::HostFacts,
    fetch::redacted,
    model::{Artifact, NodeIdentity, layout},
};

/// The settings cannot be made into a plan on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The processor is not one that artifacts exist for.
    #[error("this machine's processor is {0:?}; hostlet installs on x86_64 (amd64) and aarch64 (arm64)")]
    Architecture(String),
    /// The host's name cannot be a node's.
    #[error(
        "the host's name {0:?} cannot be a node's name (RFC 1123: lower-case letters, digits, '-' and '.'); \
         set node.name in the configuration, or the host's name with `hostnamectl set-hostname`"
    )]
    NodeName(String),
    /// No address was found.
    #[error(
        "there is no default route to take the node's address from; set node.ip in the configuration, or add a default route \
         (`ip route add default via ...`)"
    )]
    NodeAddress,
    /// There is a cluster, and no way to join it.
    #[error(
        "cluster.token-file is not set and the kubelet has no client certificate yet: without a bootstrap token (or \
         cluster.kubeconfig-file, or cluster.client-certificate-file) it cannot join; write the token that `kubeadm token create` prints into a file of mode 0600 and set cluster.token-file"
    )]
    NoToken,
}

/// Renders everything that the host shall be.
pub fn wanted(
    settings: &Settings,
    facts: &HostFacts,
    identity: &NodeIdentity,
    artifacts: &[Artifact],
) -> Result<Wanted, PlanError> {
    let root = settings.kubelet.root_directory.clone();
    let mut builder = Builder::new(identity, root, settings.runtime.unit.clone(), artifacts, facts.program);
    builder.signatures(settings.sources.components.iter().map(|(component, source)| (*component, source.signature.clone())));
    sources(&mut builder, settings, artifacts);
    executables(&mut builder, artifacts);
    system::render(&mut builder, settings, facts);
    kubelet::render(&mut builder, settings, facts, identity)?;
    flannel::render(&mut builder, settings, identity);
    units::render(&mut builder, settings, facts, identity);
    Ok(builder.finish())
}

/// A bundle takes the place of all sources.
fn sources(builder: &mut Builder, settings: &Settings, artifacts: &[Artifact]) {
    for Artifact { component, architecture, .. } in artifacts {
        let sources = match &settings.sources.bundle {
            Some(bundle) => vec![format!("the bundle {}", bundle.path.display())],
            None => settings.sites(*component, *architecture).iter().map(|site| redacted(&site.url)).collect(),
        };
        builder.sources(*component, sources);
    }
}

/// Links of the generation into the store, and of the host into the generation.
fn executables(builder: &mut Builder, artifacts: &[Artifact]) {
    use crate::model::Component::{CniPlugins, FlannelCni, Flanneld, Kubelet};
    for artifact in artifacts {
        for name in artifact.executables() {
            let target = Path::new("../../../store").join(artifact.store_name()).join("bin").join(name);
            let (directory, link, purpose) = match artifact.component {
                Kubelet | Flanneld => ("bin", "/usr/local/bin", "on the administrator's path"),
                CniPlugins | FlannelCni => ("cni", layout::CNI_PLUGINS, "CNI plugin for the container runtime"),
            };
            builder.link(&format!("{directory}/{name}"), target);
            builder.host_link(Path::new(link).join(name), Path::new(layout::CURRENT).join(directory).join(name), purpose);
        }
    }
}
