//! What the user wants, validated: the result of parsing, and all that the other rooms see of the configuration.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use super::catalog::Catalog;
use crate::model::{
    Cidr, Component, Digest, MinisignKey, NodeAddress, NodeName, Port, SignaturePolicy, UnitName, Version, layout,
};

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
    /// Who completes the Node once it has registered.
    pub cloud_provider: Option<CloudProvider>,
    /// Labels for registration.
    pub labels: BTreeMap<String, String>,
    /// Taints for registration, as `key=value:Effect`.
    pub taints: Vec<Taint>,
}

/// `--cloud-provider`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudProvider {
    /// A cloud controller manager: the Node registers with the taint node.cloudprovider.kubernetes.io/uninitialized.
    External,
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
    /// What the node bootstraps with; not needed once it has its client certificate.
    pub credential: Option<JoinCredential>,
    /// Addresses of the cluster's DNS service.
    pub dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
    /// The services' network, to check that nothing overlaps.
    pub service_cidr: Option<Cidr>,
    /// How long a run waits for a Node that is Ready. Default 5 minutes.
    pub ready_timeout: Duration,
}

impl Cluster {
    /// `cluster.ready-timeout` where nothing says otherwise: as long as `kubeadm join` waits for the kubelet's certificate.
    pub const READY_TIMEOUT: Duration = Duration::from_mins(5);

    /// Credentials for bootstrapping that lie in hostlet's own directory, and go when the node has joined. What lies elsewhere
    /// is the user's.
    pub fn own_credentials(&self) -> impl Iterator<Item = &Path> {
        let own = Path::new(layout::CONFIGURATION).parent().unwrap_or(Path::new("/etc/hostlet"));
        self.credentials().filter(move |path| path.starts_with(own))
    }

    /// The files with what the node bootstraps with.
    pub fn credentials(&self) -> impl Iterator<Item = &Path> {
        let (one, other) = match &self.credential {
            None => (None, None),
            Some(JoinCredential::TokenFile(path) | JoinCredential::Kubeconfig(path)) => (Some(path), None),
            Some(JoinCredential::Certificate { certificate, key }) => (Some(certificate), Some(key)),
        };
        one.into_iter().chain(other).map(PathBuf::as_path)
    }

    /// The file with the bootstrap token, where it is one.
    #[must_use]
    pub fn token_file(&self) -> Option<&Path> {
        match &self.credential {
            Some(JoinCredential::TokenFile(path)) => Some(path),
            _ => None,
        }
    }
}

/// What a node bootstraps with: the kubelet asks for a client certificate of its own with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinCredential {
    /// A file with a bootstrap token (`abcdef.0123456789abcdef`).
    TokenFile(PathBuf),
    /// A kubeconfig, of which the current context's user counts.
    Kubeconfig(PathBuf),
    /// PEM files with a client certificate and its key.
    Certificate {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Where the cluster's certificate authority comes from.
#[derive(Debug, Clone)]
pub enum CertificateAuthority {
    /// A PEM file on the host.
    File(PathBuf),
    /// PEM text in the configuration.
    Inline(String),
    /// What the cluster publishes of itself, if the SHA-256 of its authority's public key is one of these: kubeadm's
    /// discovery by token.
    Discovered(Vec<Digest>),
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
    /// How large packets between nodes may be, the backend's headers included; by default as the interface says.
    pub mtu: Option<u32>,
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
        /// Nodes on the same link are reached by plain routes, as with host-gw.
        direct_routing: bool,
    },
    /// flanneld itself carries the packets, UDP 8285 by default. amd64 only.
    Udp {
        /// UDP port.
        port: Port,
    },
    /// Routes only: all nodes on one link.
    HostGw,
    /// Kernel WireGuard, UDP 51820 by default. Each family has a device and a port of its own.
    Wireguard {
        /// UDP port over IPv4.
        port: Port,
        /// UDP port over IPv6, where the pods' network has it: 51821 by default.
        ipv6_port: Port,
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
            Self::Vxlan { port, .. } | Self::Udp { port } | Self::Wireguard { port, .. } => Some(port),
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
    /// The releases that are known, with their digests: the user's file before the built-in ones.
    pub catalog: Catalog,
    /// PEM file with authorities that are trusted for downloads beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Who this node is towards sources that ask for a client's certificate.
    pub client_identity: Option<ClientIdentity>,
    /// netrc(5) file with the credentials of mirrors and of the proxy.
    pub netrc_file: Option<PathBuf>,
    /// The proxy.
    pub proxy: ProxyChoice,
    /// Hosts, domains and networks that are reached without it; the environment's NO_PROXY where it is none.
    pub no_proxy: Option<Vec<String>>,
    /// How long one attempt may go without a byte, and the time over which `minimum_rate` is looked at. Default 30 s.
    pub stall_timeout: Duration,
    /// Bytes a second below which a source counts as stalled; 0 turns that off. Default 1024.
    pub minimum_rate: u64,
    /// Attempts for each file and source before it has failed. Default 4.
    pub attempts: u32,
    /// sigstore's trust root; by default the public instance's, which is built in.
    pub trust_root_file: Option<PathBuf>,
    /// The transparency log that proves when something was signed.
    pub rekor_url: Url,
    /// A bundle that everything is taken from.
    pub bundle: Option<Bundle>,
    /// What is said of each component.
    pub components: BTreeMap<Component, Source>,
}

impl Sources {
    /// `sources.stall-timeout` where nothing says otherwise.
    pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
    /// `sources.minimum-rate` where nothing says otherwise.
    pub const MINIMUM_RATE: u64 = 1024;
    /// `sources.attempts` where nothing says otherwise.
    pub const ATTEMPTS: u32 = 4;
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            catalog: Catalog::builtin(),
            ca_file: None,
            client_identity: None,
            netrc_file: None,
            proxy: ProxyChoice::Environment,
            no_proxy: None,
            stall_timeout: Self::STALL_TIMEOUT,
            minimum_rate: Self::MINIMUM_RATE,
            attempts: Self::ATTEMPTS,
            trust_root_file: None,
            rekor_url: Self::rekor(),
            bundle: None,
            components: BTreeMap::new(),
        }
    }
}

impl Sources {
    /// Rekor of sigstore's public instance, where upstream's signatures are logged.
    #[must_use]
    #[allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a constant, and each test parses it")]
    pub fn rekor() -> Url {
        Url::parse("https://rekor.sigstore.dev").unwrap()
    }
}

/// PEM files of a client's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, with those between it and its authority behind it.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// `sources.proxy`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one, whatever the environment says; http or https, without credentials.
    Url(Url),
}

/// Where one component comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it may come from, the first one first. Never empty.
    pub locations: Vec<Location>,
    /// The digest for the configured version, where the user pins it.
    pub digest: Option<Digest>,
    /// Where nobody else says a digest, the one in the file published beside the artifact is taken, once.
    pub trust_on_first_use: bool,
    /// Who shall have signed it.
    pub signature: SignaturePolicy,
}

/// A bundle made by `hostlet bundle create`.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The file.
    pub path: PathBuf,
    /// The digest of its manifest, where the user pins it.
    pub digest: Option<Digest>,
    /// The key that signed its manifest, where the user has it.
    pub key: Option<MinisignKey>,
}

/// A place that artifacts may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its URL, with placeholders.
    pub template: UrlTemplate,
    /// Plain http is taken: only with a digest that is known before.
    pub allow_http: bool,
    /// File with header lines for requests to it.
    pub header_file: Option<PathBuf>,
}

/// A location for one artifact: the placeholders are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// https or file; http only where that is allowed.
    pub url: Url,
    /// Plain http is taken.
    pub allow_http: bool,
    /// File with header lines for requests to it.
    pub header_file: Option<PathBuf>,
}

/// A URL or an absolute path with placeholders in it; https, file, or http once they are filled in.
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
