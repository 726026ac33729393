//! What the user wants, validated: the result of parsing, and all that the other rooms see of the configuration.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use url::Url;

use crate::model::{Cidr, Component, Digest, NodeAddress, NodeName, Port, UnitName, Version};

/// Everything that the user wants of this node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[node]`
    pub node: Node,
    /// `[cluster]`; without one the kubelet runs standalone.
    pub cluster: Option<Cluster>,
    /// `[kubelet]`
    pub kubelet: Kubelet,
    /// `[flannel]`; `enabled = false` makes it none.
    pub flannel: Option<Flannel>,
    /// `[cni]`
    pub cni: Cni,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[sources]`
    pub sources: Sources,
    /// `[preflight]`
    pub preflight: Preflight,
    /// `[mesh]`; without one no other node is probed.
    pub mesh: Option<Mesh>,
}

/// `[node]`
#[derive(Debug, Clone)]
pub struct Node {
    /// The Node's name; by default the host's name in lower case.
    pub name: Option<NodeName>,
    /// At most one address of each family; by default the source address of the default route.
    pub addresses: Vec<NodeAddress>,
    /// What the node is for.
    pub role: Role,
    /// Labels for registration.
    pub labels: BTreeMap<String, String>,
    /// Taints for registration, as `key=value:Effect`.
    pub taints: Vec<Taint>,
}

/// What a node is for: it decides which ports it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs workloads.
    Worker,
    /// Also runs the API server and etcd.
    ControlPlane,
}

/// A taint, as the kubelet's `registerWithTaints` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, or empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// `[cluster]`
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The API server: an https URL with host and optional port, no path.
    pub server: Url,
    /// The authority that signs for it.
    pub certificate_authority: CertificateAuthority,
    /// File with the bootstrap token (`abcdef.0123456789abcdef`); not needed once the node has its client certificate.
    pub token_file: Option<PathBuf>,
    /// Addresses of the cluster's DNS service.
    pub dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
    /// The services' network, to check that nothing overlaps.
    pub service_cidr: Option<Cidr>,
}

/// Where the cluster's certificate authority comes from.
#[derive(Debug, Clone)]
pub enum CertificateAuthority {
    /// A PEM file on the host.
    File(PathBuf),
    /// PEM text in the configuration.
    Inline(String),
}

/// `[kubelet]`
#[derive(Debug, Clone)]
pub struct Kubelet {
    /// Which one.
    pub version: Version,
    /// Its root directory, absolute and canonical in form.
    pub root_directory: PathBuf,
    /// Any field of KubeletConfiguration, over hostlet's defaults, as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Additional flags, `--name=value`; none of those that hostlet sets itself.
    pub extra_args: Vec<String>,
    /// How long the health gate waits for it. Default 60 s.
    pub health_timeout: Duration,
    /// How long it must have been stable before it counts as healthy. Default 5 s.
    pub stable_window: Duration,
}

impl Kubelet {
    /// `kubelet.health-timeout` where nothing says otherwise.
    pub const HEALTH_TIMEOUT: Duration = Duration::from_mins(1);
    /// `kubelet.stable-window` where nothing says otherwise.
    pub const STABLE_WINDOW: Duration = Duration::from_secs(5);
}

/// `[flannel]`
#[derive(Debug, Clone)]
pub struct Flannel {
    /// Which one.
    pub version: Version,
    /// The pods' network (IPv4), by default 10.244.0.0/16.
    pub network: Cidr,
    /// The pods' IPv6 network.
    pub ipv6_network: Option<Cidr>,
    /// How packets travel between nodes.
    pub backend: Backend,
    /// Where leases are kept.
    pub datastore: Datastore,
    /// `--iface`; by default flannel takes the default route's, and hostlet names the node address with it.
    pub interface: Option<String>,
    /// `EnableNFTables`
    pub nftables: bool,
}

/// flannel's backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Kernel VXLAN, UDP 8472 by default.
    Vxlan {
        /// UDP port.
        port: Port,
        /// VXLAN network identifier.
        vni: u32,
    },
    /// flanneld itself carries the packets, UDP 8285 by default. amd64 only.
    Udp {
        /// UDP port.
        port: Port,
    },
    /// Routes only: all nodes on one link.
    HostGw,
    /// Kernel WireGuard, UDP 51820 by default.
    Wireguard {
        /// UDP port.
        port: Port,
    },
}

impl Backend {
    /// As flannel's net-conf.json names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan { .. } => "vxlan",
            Self::Udp { .. } => "udp",
            Self::HostGw => "host-gw",
            Self::Wireguard { .. } => "wireguard",
        }
    }

    /// The UDP port it needs, all nodes to all nodes.
    #[must_use]
    pub const fn port(self) -> Option<Port> {
        match self {
            Self::Vxlan { port, .. } | Self::Udp { port } | Self::Wireguard { port } => Some(port),
            Self::HostGw => None,
        }
    }
}

/// Where flannel keeps its leases.
#[derive(Debug, Clone)]
pub enum Datastore {
    /// The API server, with an identity of flannel's own (a node's may read only its own Node since Kubernetes 1.32).
    Kube(FlannelIdentity),
    /// etcd.
    Etcd {
        /// The endpoints' URLs.
        endpoints: Vec<Url>,
        /// The key prefix, by default /coreos.com/network.
        prefix: String,
        /// Authority, certificate and key for TLS.
        tls: Option<EtcdTls>,
    },
}

/// Who flannel is towards the API server.
#[derive(Debug, Clone)]
pub enum FlannelIdentity {
    /// A kubeconfig that the user made.
    Kubeconfig(PathBuf),
    /// A file with a ServiceAccount's token; hostlet writes the kubeconfig, which refers to the file.
    TokenFile(PathBuf),
}

/// TLS files for etcd.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// The authority.
    pub ca_file: PathBuf,
    /// The client's certificate.
    pub cert_file: PathBuf,
    /// The client's key.
    pub key_file: PathBuf,
}

/// `[cni]`
#[derive(Debug, Clone)]
pub struct Cni {
    /// Version of the reference plugins.
    pub version: Version,
    /// Version of flannel's plugin.
    pub flannel_version: Version,
}

/// `[runtime]`
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The CRI socket's path, without `unix://`.
    pub socket: PathBuf,
    /// The unit that runs the runtime; the kubelet starts after it.
    pub unit: UnitName,
}

/// `[sources]`
#[derive(Debug, Clone)]
pub struct Sources {
    /// PEM file with authorities that are trusted for downloads beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one attempt may go without a byte. Default 30 s.
    pub stall_timeout: Duration,
    /// Attempts for each file before it has failed. Default 4.
    pub attempts: u32,
    /// What is said of each component.
    pub components: BTreeMap<Component, Source>,
}

/// Where one component comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// URL template, https or file, with {version} and {arch}.
    pub url: UrlTemplate,
    /// The digest for the configured version, where the user pins it.
    pub digest: Option<Digest>,
}

/// A URL with `{version}` and `{arch}` in it; https or file once they are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate(pub(super) String);

/// `[preflight]`
#[derive(Debug, Clone, Default)]
pub struct Preflight {
    /// Checks that may fail, each with a reason.
    pub waive: Vec<Waiver>,
    /// Ports that must be bindable beside those of role and backend.
    pub extra_ports: Vec<(crate::model::Protocol, Port)>,
}

/// A check that may fail.
#[derive(Debug, Clone)]
pub struct Waiver {
    /// The check's id.
    pub check: String,
    /// Why; never empty.
    pub reason: String,
}

/// `[mesh]`
#[derive(Debug, Clone)]
pub struct Mesh {
    /// The cluster's nodes, as configuration and peers file have them; this node may be one of them. No name or address
    /// twice, and empty only where peers come from elsewhere as well.
    pub peers: Vec<Peer>,
    /// Where more of them come from.
    pub peers_from: Option<PeersFrom>,
    /// Which pairs of a large cluster are probed.
    pub sample: Sample,
    /// The file with the key that all nodes share.
    pub key_file: PathBuf,
    /// Keeps clusters apart that use the same key.
    pub cluster_name: String,
    /// UDP and TCP, for agreeing on a probe.
    pub port: Port,
    /// Which peers must have been probed.
    pub wait_for: WaitFor,
    /// How long peers that have not started are waited for.
    pub wait_timeout: Duration,
    /// Ports that must be reachable beside those of roles and backend.
    pub extra_ports: Vec<ExtraPort>,
}

/// `mesh.peers-from`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeersFrom {
    /// The cluster's Nodes, as the API server has them.
    ApiServer,
}

/// `[mesh.sample]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Clusters of more nodes than this are probed by sample: 2 to 5000.
    pub threshold: u32,
    /// How many other workers each worker draws: 8 to 1000.
    pub size: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Self { threshold: 100, size: 20 }
    }
}

/// Another node, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the cluster.
    pub name: NodeName,
    /// One address, or one of each family; the first is the primary one. Never empty.
    pub addresses: Vec<NodeAddress>,
    /// What it is for.
    pub role: Role,
}

/// Nodes that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every node.
    All,
    /// Those of one role.
    Only(Role),
}

impl Group {
    /// Whether nodes of this role belong to it.
    #[must_use]
    pub fn contains(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == role,
        }
    }
}

/// A port that the user wants reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraPort {
    /// TCP or UDP.
    pub protocol: crate::model::Protocol,
    /// Its number.
    pub port: Port,
    /// Who connects.
    pub from: Group,
    /// Who listens.
    pub to: Group,
}

/// `mesh.wait-for`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitFor {
    /// Every peer.
    All,
    /// Those of the control plane.
    ControlPlane,
    /// These.
    Names(Vec<NodeName>),
}

impl WaitFor {
    /// Whether this peer must have been probed.
    #[must_use]
    pub fn includes(&self, peer: &Peer) -> bool {
        match self {
            Self::All => true,
            Self::ControlPlane => peer.role == Role::ControlPlane,
            Self::Names(names) => names.contains(&peer.name),
        }
    }
}
