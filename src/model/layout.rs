//! Where things lie on the host. The design's table, as constants; the Filesystem Hierarchy Standard, section 3.13
//! (/opt), explains the choice of /opt: what is added to the system as a unit.

use std::path::{Path, PathBuf};

/// The user's configuration.
pub const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// Verified files, generations, and the link `current`.
pub const OPT: &str = "/opt/hostlet";
/// The generation in force; units and configuration name nothing but this.
pub const CURRENT: &str = "/opt/hostlet/current";
/// Journal and state.
pub const STATE: &str = "/var/lib/hostlet";
/// Downloads, partial and verified.
pub const CACHE: &str = "/var/cache/hostlet";
/// Lock and result of the last run.
pub const RUN: &str = "/run/hostlet";
/// Exists in throwaway copies of a machine and nowhere else: what is for rehearsals and tests works only where it is.
pub const REHEARSAL: &str = "/run/hostlet-rehearsal";
/// This program, where the units that run it find it whatever the user did with the file that was started.
pub const PROGRAM: &str = "/opt/hostlet/bin/hostlet";
/// Unit files of the administrator; systemd.unit(5).
pub const UNITS: &str = "/etc/systemd/system";
/// What a file of somebody else's ends with while hostlet's is in its place; systemd does not read it.
pub const ASIDE: &str = ".before-hostlet";
/// Credentials and static pods, where kubeadm keeps them.
pub const KUBERNETES: &str = "/etc/kubernetes";
/// The kubeconfig that the kubelet writes itself once it has its client certificate.
pub const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
/// Below the kubelet's root directory: the link to its client certificate, with its key.
pub const CLIENT_CERTIFICATE: &str = "pki/kubelet-client-current.pem";
/// The kubeconfig with the bootstrap token.
pub const BOOTSTRAP_KUBECONFIG: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// flannel's kubeconfig.
pub const FLANNEL_KUBECONFIG: &str = "/etc/kubernetes/flannel.conf";
/// Where the container runtime looks for CNI plugins.
pub const CNI_PLUGINS: &str = "/opt/cni/bin";
/// Where the container runtime looks for CNI configuration.
pub const CNI_CONFIGURATION: &str = "/etc/cni/net.d";
/// Where a kubelet keeps its pods unless told otherwise.
pub const KUBELET_ROOT: &str = "/var/lib/kubelet";

/// The directory of a generation.
#[must_use]
pub fn generation(opt: &Path, number: u64) -> PathBuf {
    opt.join("generations").join(number.to_string())
}

/// The directory of an artifact in the store.
#[must_use]
pub fn store_entry(opt: &Path, name: &str) -> PathBuf {
    opt.join("store").join(name)
}
