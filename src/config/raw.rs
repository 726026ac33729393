//! The configuration as it is written: the structs that fragments are read into, and that the JSON schema is made from.
//! The first sentence of each field's comment is what people see in the schema and in messages about a wrong type.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    given::{Field, OneOrMany},
    kubelet_fields::KubeletConfig,
    nouns::{
        AbsolutePath, Domain, Endpoint, Interface, ProtocolPort, ProxyException, PublicKeyHash, RekorUrl, Seconds, Server,
        ServiceAddress, SocketPath,
    },
    settings::{CloudProvider, Group, Location, PeersFrom, ProxyChoice, Role, Taint, UrlTemplate},
};
use crate::model::{Cidr, CosignKey, Digest, MinisignKey, NodeAddress, NodeName, Port, UnitName, Version};

/// The configuration of hostlet.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline, title = "hostlet.toml")]
pub(super) struct Raw {
    /// This node.
    pub(super) node: RawNode,
    /// The cluster that the node joins; without this section the kubelet runs standalone.
    pub(super) cluster: RawCluster,
    /// The kubelet.
    pub(super) kubelet: RawKubelet,
    /// The pods' network.
    pub(super) flannel: RawFlannel,
    /// The CNI plugins.
    pub(super) cni: RawCni,
    /// The container runtime that is already on the host.
    pub(super) runtime: RawRuntime,
    /// Where artifacts come from.
    pub(super) sources: RawSources,
    /// The checks before anything is installed.
    pub(super) preflight: RawPreflight,
    /// The other nodes, and how reaching them is proved before anything is installed.
    pub(super) mesh: RawMesh,
}

/// `[node]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawNode {
    /// The Node's name; by default the host's name in lower case.
    pub(super) name: Field<NodeName>,
    /// The node's address, or one of each family in a list; by default the source address of the default route.
    pub(super) ip: OneOrMany<NodeAddress>,
    /// What the node is for: worker or control-plane.
    pub(super) role: Field<Role>,
    /// external, where a cloud controller manager completes the Node.
    pub(super) cloud_provider: Field<CloudProvider>,
    /// Labels that the Node gets when it registers.
    pub(super) labels: BTreeMap<String, Field<String>>,
    /// Taints that the Node gets when it registers, each as key=value:Effect.
    pub(super) taints: Vec<Field<Taint>>,
}

/// `[cluster]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawCluster {
    /// The API server's https URL: a host and an optional port, no path.
    pub(super) server: Field<Server>,
    /// The PEM file with the authority that signed the API server's certificate.
    pub(super) ca_file: Field<AbsolutePath>,
    /// The same as PEM text; exactly one of ca-file, ca and ca-hash.
    pub(super) ca: Field<String>,
    /// The SHA-256 of the authority's public key, or a list of those that are allowed: the authority is then discovered.
    pub(super) ca_hash: OneOrMany<PublicKeyHash>,
    /// The file with the bootstrap token; not read once the node has its client certificate.
    pub(super) token_file: Field<AbsolutePath>,
    /// A kubeconfig to bootstrap with, in the place of a token: the user of its current context counts.
    pub(super) kubeconfig_file: Field<AbsolutePath>,
    /// The PEM file with a client certificate to bootstrap with, in the place of a token.
    pub(super) client_certificate_file: Field<AbsolutePath>,
    /// The PEM file with its key.
    pub(super) client_key_file: Field<AbsolutePath>,
    /// The address or addresses of the cluster's DNS service.
    pub(super) dns: OneOrMany<ServiceAddress>,
    /// The cluster's DNS domain.
    pub(super) domain: Field<Domain>,
    /// The network of the services.
    pub(super) service_cidr: Field<Cidr>,
    /// How long install and upgrade wait for a Node that is Ready: a duration such as 5m, or seconds.
    pub(super) ready_timeout: Field<Seconds>,
}

/// `[kubelet]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawKubelet {
    /// The kubelet's version, 1.33 or newer.
    pub(super) version: Field<Version>,
    /// The kubelet's root directory.
    pub(super) root_dir: Field<AbsolutePath>,
    /// Any fields of KubeletConfiguration (v1beta1), over hostlet's defaults.
    pub(super) config: KubeletConfig,
    /// Additional flags, each as --name=value; none that hostlet sets itself.
    pub(super) extra_args: Vec<Field<String>>,
    /// How long the health gate waits for the kubelet: a duration such as 60s, or seconds.
    pub(super) health_timeout: Field<Seconds>,
    /// How long the kubelet must have been stable before it counts as healthy.
    pub(super) stable_window: Field<Seconds>,
}

/// `[flannel]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawFlannel {
    /// Whether flannel is installed.
    pub(super) enabled: Field<bool>,
    /// flannel's version.
    pub(super) version: Field<Version>,
    /// The pods' IPv4 network.
    pub(super) network: Field<Cidr>,
    /// The pods' IPv6 network.
    pub(super) ipv6_network: Field<Cidr>,
    /// How packets travel between nodes: vxlan, udp, host-gw or wireguard.
    pub(super) backend: Field<BackendKind>,
    /// The backend's UDP port.
    pub(super) port: Field<Port>,
    /// The backend's UDP port over IPv6, with backend wireguard and ipv6-network.
    pub(super) ipv6_port: Field<Port>,
    /// The VXLAN network identifier, with backend vxlan only.
    pub(super) vni: Field<u32>,
    /// Whether nodes on the same link are reached by plain routes, with backend vxlan only.
    pub(super) direct_routing: Field<bool>,
    /// How large packets between nodes may be, with backend vxlan or wireguard; by default as the interface says.
    pub(super) mtu: Field<u32>,
    /// Where leases are kept: kube or etcd.
    pub(super) datastore: Field<DatastoreKind>,
    /// A kubeconfig for flannel, with datastore kube.
    pub(super) kubeconfig_file: Field<AbsolutePath>,
    /// The file with the token of flannel's ServiceAccount, with datastore kube.
    pub(super) token_file: Field<AbsolutePath>,
    /// The network interface for traffic between nodes, by name or address; by default the default route's.
    pub(super) interface: Field<Interface>,
    /// Whether flannel writes nftables rules instead of iptables'.
    pub(super) nftables: Field<bool>,
    /// etcd, with datastore etcd.
    pub(super) etcd: RawEtcd,
}

/// `[flannel.etcd]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawEtcd {
    /// The URL or URLs of etcd.
    pub(super) endpoints: OneOrMany<Endpoint>,
    /// The prefix of flannel's keys.
    pub(super) prefix: Field<String>,
    /// The PEM file with the authority that signed etcd's certificates.
    pub(super) ca_file: Field<AbsolutePath>,
    /// The PEM file with flannel's client certificate.
    pub(super) cert_file: Field<AbsolutePath>,
    /// The PEM file with its key.
    pub(super) key_file: Field<AbsolutePath>,
}

/// `[cni]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawCni {
    /// The version of the reference plugins.
    pub(super) version: Field<Version>,
    /// The version of flannel's plugin.
    pub(super) flannel_version: Field<Version>,
}

/// `[runtime]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawRuntime {
    /// The CRI socket's path, with or without unix:// before it.
    pub(super) socket: Field<SocketPath>,
    /// The systemd unit that runs the container runtime.
    pub(super) unit: Field<UnitName>,
}

/// `[sources]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSources {
    /// Mirrors that every component is asked for first: URLs or directories, the first one first.
    pub(super) mirrors: OneOrMany<RawLocation>,
    /// Whether the projects' own servers are asked after the mirrors.
    pub(super) upstream: Field<bool>,
    /// A PEM file with authorities that are trusted for downloads beside the system's.
    pub(super) ca_file: Field<AbsolutePath>,
    /// A PEM file with this node's certificate, for mirrors that ask for one.
    pub(super) client_certificate_file: Field<AbsolutePath>,
    /// The PEM file with the key of client-certificate-file, of mode 0600.
    pub(super) client_key_file: Field<AbsolutePath>,
    /// A netrc(5) file with the credentials of mirrors and of the proxy, of mode 0600.
    pub(super) netrc_file: Field<AbsolutePath>,
    /// The proxy's URL, or direct for none; by default what HTTPS_PROXY and HTTP_PROXY say.
    pub(super) proxy: Field<ProxyChoice>,
    /// Hosts, domains, addresses and networks that are reached without the proxy; by default what NO_PROXY says.
    pub(super) no_proxy: OneOrMany<ProxyException>,
    /// How long one attempt may go without a byte: a duration such as 30s, or seconds.
    pub(super) stall_timeout: Field<Seconds>,
    /// Bytes a second; what comes more slowly over stall-timeout counts as stalled. 0 turns that off.
    pub(super) minimum_rate: Field<u64>,
    /// How often each file is attempted at each source.
    pub(super) attempts: Field<u32>,
    /// A file with releases and their digests, in the format of hostlet's own catalog, which it goes before.
    pub(super) catalog_file: Field<AbsolutePath>,
    /// Whether hostlet's own catalog counts beside catalog-file.
    pub(super) builtin_catalog: Field<bool>,
    /// sigstore's trusted_root.json; by default that of the public instance, which is built in.
    pub(super) trust_root_file: Field<AbsolutePath>,
    /// The transparency log (Rekor) that proves when a file was signed.
    pub(super) rekor_url: Field<RekorUrl>,
    /// A bundle made by hostlet bundle create: everything is taken from it, and nothing from the network.
    pub(super) bundle: Field<AbsolutePath>,
    /// The digest of the bundle's manifest, as hostlet bundle create printed it.
    pub(super) bundle_digest: Field<Digest>,
    /// The minisign public key that signed the bundle's manifest; the signature lies beside the bundle as FILE.minisig.
    pub(super) bundle_minisign_key: Field<MinisignKey>,
    /// The kubelet's source.
    pub(super) kubelet: RawSource,
    /// The source of flannel's daemon.
    pub(super) flanneld: RawSource,
    /// The source of the reference CNI plugins.
    pub(super) cni_plugins: RawSource,
    /// The source of flannel's CNI plugin.
    pub(super) flannel_cni: RawSource,
}

/// `[sources.*]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSource {
    /// Where it comes from, instead of the mirrors and upstream: a URL or path, or a list, the first one first.
    pub(super) url: OneOrMany<RawLocation>,
    /// The SHA-256 of the file for the configured version and this node's processor.
    pub(super) digest: Field<Digest>,
    /// Whether the checksum published beside it is taken, once, where nothing else says its digest.
    pub(super) trust_on_first_use: Field<bool>,
    /// Whether its signature is verified: require, if-available or off.
    pub(super) signature: Field<SignatureMode>,
    /// The identity in the certificate of a keyless signature, as cosign's --certificate-identity.
    pub(super) certificate_identity: Field<String>,
    /// The issuer of that identity, as cosign's --certificate-oidc-issuer.
    pub(super) certificate_oidc_issuer: Field<String>,
    /// The public key of cosign sign-blob --key, as PEM text.
    pub(super) cosign_key: Field<CosignKey>,
    /// The public key of minisign, the second line of minisign.pub.
    pub(super) minisign_key: Field<MinisignKey>,
}

/// What of `[sources.*]` is about signatures.
pub(super) struct RawSigner {
    pub(super) signature: Field<SignatureMode>,
    pub(super) certificate_identity: Field<String>,
    pub(super) certificate_oidc_issuer: Field<String>,
    pub(super) cosign_key: Field<CosignKey>,
    pub(super) minisign_key: Field<MinisignKey>,
}

/// An element of `sources.mirrors` or `sources.*.url`: a URL, or a table with it.
#[derive(Debug)]
pub(super) struct RawLocation(pub(super) Location);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LocationTable {
    url: UrlTemplate,
    #[serde(default)]
    allow_http: bool,
    header_file: Option<AbsolutePath>,
}

impl<'de> Deserialize<'de> for RawLocation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let wrong = |error: toml::de::Error| serde::de::Error::custom(error.message());
        if value.is_table() {
            let table = LocationTable::deserialize(value).map_err(wrong)?;
            let header_file = table.header_file.map(|path| path.0);
            return Ok(Self(Location { template: table.url, allow_http: table.allow_http, header_file }));
        }
        let template = UrlTemplate::deserialize(value).map_err(wrong)?;
        Ok(Self(Location::of(template)))
    }
}

impl JsonSchema for RawLocation {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Location".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "object"],
            "description": "A URL or an absolute path, with placeholders, or a table with it as url.",
            "properties": {
                "url": { "type": "string", "description": "A URL or an absolute path, with placeholders." },
                "allow-http": {
                    "type": "boolean",
                    "description": "Whether plain http is taken, which needs a digest that is known before."
                },
                "header-file": { "type": "string", "description": "A file with header lines for requests to it." }
            },
            "additionalProperties": false
        })
    }
}

/// `[preflight]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawPreflight {
    /// Checks that may fail, each with a reason.
    pub(super) waive: Vec<RawWaiver>,
    /// Ports that must be free beside those of role and backend, each as tcp/8080.
    pub(super) extra_ports: Vec<Field<ProtocolPort>>,
}

/// An element of `preflight.waive`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawWaiver {
    /// The check's id.
    pub(super) check: Field<String>,
    /// Why it may fail; it is recorded in the report.
    pub(super) reason: Field<String>,
}

/// `[mesh]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawMesh {
    /// The cluster's nodes; the list may be the same on all of them, this node included.
    pub(super) peers: Vec<RawPeer>,
    /// A TOML file with more peers, in the same form: peers = [...] or [[peers]].
    pub(super) peers_file: Field<AbsolutePath>,
    /// Where else peers come from: api-server, which is asked for the cluster's Nodes with flannel's identity.
    pub(super) peers_from: Field<PeersFrom>,
    /// How large a cluster is before each node probes a sample of the others.
    pub(super) sample: RawSample,
    /// The file with the key that all nodes share, of mode 0600 or stricter.
    pub(super) key_file: Field<AbsolutePath>,
    /// The cluster's name; nodes of different names do not answer each other.
    pub(super) cluster_name: Field<Domain>,
    /// The port, UDP and TCP, that nodes agree on a probe over.
    pub(super) port: Field<Port>,
    /// Which peers must have been probed: all, control-plane, or a list of names.
    pub(super) wait_for: WaitForRaw,
    /// How long peers that have not started are waited for: a duration such as 5m, or seconds.
    pub(super) wait_timeout: Field<Seconds>,
    /// Ports that must be reachable beside those of roles and backend.
    pub(super) extra_ports: Vec<RawExtraPort>,
}

/// The file of `mesh.peers-file`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawPeersFile {
    /// The nodes, as in mesh.peers.
    pub(super) peers: Vec<RawPeer>,
}

/// `[mesh.sample]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSample {
    /// Clusters of more nodes than this are probed by sample: all pairs with the control plane, and some between workers.
    pub(super) threshold: Field<u32>,
    /// How many other workers each worker draws.
    pub(super) size: Field<u32>,
}

/// An element of `mesh.peers`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawPeer {
    /// The Node's name.
    pub(super) name: Field<NodeName>,
    /// Its address, or one of each family in a list.
    pub(super) ip: OneOrMany<NodeAddress>,
    /// What it is for: worker or control-plane.
    pub(super) role: Field<Role>,
}

/// An element of `mesh.extra-ports`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawExtraPort {
    /// The port, as tcp/9100.
    pub(super) port: Field<ProtocolPort>,
    /// Which nodes connect to it: all, worker or control-plane.
    pub(super) from: Field<Group>,
    /// Which nodes listen on it: all, worker or control-plane.
    pub(super) to: Field<Group>,
}

/// The value of `mesh.wait-for`, a word or names.
pub(super) type WaitForRaw = OneOrMany<NodeName>;

/// The values of `flannel.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackendKind {
    Vxlan,
    Udp,
    HostGw,
    Wireguard,
}

/// The values of `flannel.datastore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatastoreKind {
    Kube,
    Etcd,
}

/// The values of `sources.*.signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureMode {
    Require,
    IfAvailable,
    Off,
}

/// Reads a word of a fixed list; anything else is refused with the list and the nearest of its words.
macro_rules! read_from_list {
    ($noun:ty, $name:literal, $($text:literal => $value:expr),+) => {
        impl<'de> Deserialize<'de> for $noun {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $($text => Ok($value),)+
                    other => Err(serde::de::Error::custom(super::nouns::not_one_of(other, $name, &[$($text),+]))),
                }
            }
        }
        impl JsonSchema for $noun {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($noun).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),+] })
            }
        }
    };
}

read_from_list!(BackendKind, "a backend of flannel", "vxlan" => Self::Vxlan, "udp" => Self::Udp, "host-gw" => Self::HostGw,
    "wireguard" => Self::Wireguard);
read_from_list!(DatastoreKind, "a datastore of flannel", "kube" => Self::Kube, "etcd" => Self::Etcd);
read_from_list!(SignatureMode, "a demand on signatures", "require" => Self::Require, "if-available" => Self::IfAvailable,
    "off" => Self::Off);
read_from_list!(PeersFrom, "a source of peers", "api-server" => Self::ApiServer);
read_from_list!(CloudProvider, "a cloud provider (kubelets know no others since 1.31)", "external" => Self::External);
read_from_list!(Role, "a role", "worker" => Self::Worker, "control-plane" => Self::ControlPlane);
read_from_list!(Group, "a group of nodes", "all" => Self::All, "worker" => Self::Only(Role::Worker),
    "control-plane" => Self::Only(Role::ControlPlane));
