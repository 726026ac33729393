//! `[flannel]`

use std::net::IpAddr;

use crate::{
    config::{
        catalog::Catalog,
        given::Field,
        problems::Problems,
        raw::{BackendKind, DatastoreKind, RawEtcd, RawFlannel},
        settings::{Backend, Cluster, Datastore, EtcdTls, Flannel, FlannelIdentity, Settings},
    },
    model::{Cidr, Component, Port, Version},
};

const OFF: &str = "without flannel: [flannel] enabled = false";

/// None when it is off: by `enabled = false`, or when neither [flannel] nor [cluster] is mentioned.
///
/// A standalone kubelet has no API server for flannel to keep its leases in, so that a configuration which says nothing
/// about either means none; one that mentions [flannel] without a [cluster] has to say how it is meant.
pub(super) fn flannel(
    raw: RawFlannel,
    cluster: Option<&Cluster>,
    catalog: &Catalog,
    problems: &mut Problems<'_>,
) -> Option<Flannel> {
    let enabled = problems.value(raw.enabled);
    let version = problems.value(raw.version).or_else(|| catalog.default_version(Component::Flanneld));
    let network = network_of(raw.network, true, problems).or_else(|| "10.244.0.0/16".parse().ok());
    let ipv6_network = network_of(raw.ipv6_network, false, problems);
    let kind = problems.value(raw.backend).unwrap_or(BackendKind::Vxlan);
    let way = Way {
        port: problems.value(raw.port),
        ipv6_port: problems.value(raw.ipv6_port),
        vni: vni(raw.vni, problems),
        direct_routing: problems.value(raw.direct_routing).unwrap_or(false),
    };
    let mtu = mtu(raw.mtu, ipv6_network.is_some(), problems);
    let interface = problems.value(raw.interface).map(|interface| interface.0);
    let nftables = problems.value(raw.nftables).unwrap_or(false);
    let datastore = problems.value(raw.datastore).unwrap_or(DatastoreKind::Kube);
    let kubeconfig = problems.value(raw.kubeconfig_file).map(|path| FlannelIdentity::Kubeconfig(path.0));
    let token = problems.value(raw.token_file).map(|path| FlannelIdentity::TokenFile(path.0));
    let etcd = Etcd::read(raw.etcd, problems);
    let mentioned = problems.mentioned("flannel") || problems.mentioned("cluster");
    if enabled == Some(false) || !mentioned {
        return None;
    }
    let backend = backend(kind, &way, problems);
    fits(kind, problems);
    if let Some(version) = &version {
        has_nftables(version, nftables, problems);
    }
    let datastore = match datastore {
        DatastoreKind::Kube => kube(kubeconfig, token, cluster, problems),
        DatastoreKind::Etcd => Some(etcd.datastore(problems)),
    };
    Some(Flannel {
        version: version?,
        network: network?,
        ipv6_network,
        backend,
        mtu,
        datastore: datastore?,
        interface,
        nftables,
    })
}

/// A network of one family that flannel can split among nodes. Source: flannel, pkg/subnet/config.go.
fn network_of(field: Field<Cidr>, v4: bool, problems: &mut Problems<'_>) -> Option<Cidr> {
    let (cidr, at) = problems.located(field)?;
    let (family, most, other) = if v4 { ("IPv4", 28, "flannel.ipv6-network") } else { ("IPv6", 124, "flannel.network") };
    if cidr.base().is_ipv4() != v4 {
        problems.add(&at, format!("{cidr} is not an {family} network")).help.push(format!("the other family is {other}"));
        return None;
    }
    if cidr.length() > most || cidr.length() == 0 {
        let problem = problems.add(&at, format!("{cidr} cannot be split among nodes"));
        problem.help.push(format!("allowed are prefixes from /1 to /{most}"));
        return None;
    }
    Some(cidr)
}

fn vni(field: Field<u32>, problems: &mut Problems<'_>) -> Option<u32> {
    const MOST: u32 = (1 << 24) - 1;
    let (vni, at) = problems.located(field)?;
    if (1..=MOST).contains(&vni) {
        return Some(vni);
    }
    problems.add(&at, format!("{vni} is not a VXLAN network identifier from 1 to {MOST}"));
    None
}

/// How packets travel, as far as it was said.
struct Way {
    port: Option<Port>,
    ipv6_port: Option<Port>,
    vni: Option<u32>,
    direct_routing: bool,
}

fn backend(kind: BackendKind, way: &Way, problems: &mut Problems<'_>) -> Backend {
    match kind {
        BackendKind::Vxlan => Backend::Vxlan {
            port: way.port.unwrap_or(Port::known(8472)),
            vni: way.vni.unwrap_or(1),
            direct_routing: way.direct_routing,
        },
        BackendKind::Udp => Backend::Udp { port: way.port.unwrap_or(Port::known(8285)) },
        BackendKind::HostGw => Backend::HostGw,
        BackendKind::Wireguard => {
            let port = way.port.unwrap_or(Port::known(51820));
            // flannel's own default for IPv6 is 51821, whatever the other one is: it is always written.
            let next = if port.number() == 51821 { 51820 } else { 51821 };
            let ipv6_port = way.ipv6_port.unwrap_or(Port::known(next));
            if ipv6_port == port {
                let problem = problems.add_at_key(&["flannel.ipv6-port"], format!("both families have the port {port}"));
                problem.help.push("each has a device of its own: give flannel.port and flannel.ipv6-port two ports".to_owned());
            }
            Backend::Wireguard { port, ipv6_port }
        }
    }
}

/// What the backend has no use for, or cannot do. Source: flannel, Documentation/backends.md and configuration.md.
fn fits(kind: BackendKind, problems: &mut Problems<'_>) {
    use BackendKind::{HostGw, Udp, Vxlan, Wireguard};
    let table: [(&str, &[BackendKind], &str); 6] = [
        ("flannel.vni", &[Vxlan], "only the vxlan backend has a VNI"),
        ("flannel.direct-routing", &[Vxlan], "only the vxlan backend can route directly; host-gw always does"),
        ("flannel.port", &[Vxlan, Udp, Wireguard], "the host-gw backend has no port: it sets routes only"),
        ("flannel.ipv6-port", &[Wireguard], "only the wireguard backend has a port of its own for IPv6"),
        ("flannel.mtu", &[Vxlan, Wireguard], "only the vxlan and wireguard backends take an MTU"),
        ("flannel.ipv6-network", &[Vxlan, HostGw, Wireguard], "the udp backend carries IPv4 only"),
    ];
    for (key, kinds, message) in table {
        if problems.mentioned(key) && !kinds.contains(&kind) {
            let problem = problems.add_at_key(&[key], message);
            problem.help.push(format!("remove {key}, or choose another flannel.backend"));
        }
    }
    if problems.mentioned("flannel.ipv6-port") && !problems.mentioned("flannel.ipv6-network") {
        let problem = problems.add_at_key(&["flannel.ipv6-port"], "the pods' network has no IPv6");
        problem.help.push("remove flannel.ipv6-port, or give flannel.ipv6-network".to_owned());
    }
}

/// Source: flannel's tags: EnableNFTables is in pkg/subnet/config.go from v0.25.0 on; an older one ignores it.
fn has_nftables(version: &Version, nftables: bool, problems: &mut Problems<'_>) {
    const FIRST: Version = Version::new(0, 25, 0);
    if nftables && *version < FIRST {
        let problem = problems.add_at_key(&["flannel.nftables"], format!("flannel {version} has no nftables"));
        problem.help.push(format!("it was added in {FIRST}: set flannel.version to that or later, or nftables = false"));
    }
}

/// Below the least that IP allows, and above what an interface has, there is nothing.
fn mtu(field: Field<u32>, ipv6: bool, problems: &mut Problems<'_>) -> Option<u32> {
    let (mtu, at) = problems.located(field)?;
    // 576 bytes of IPv4 or 1280 of IPv6 must be left of it behind WireGuard's 80.
    let least = if ipv6 { 1360 } else { 656 };
    if (least..=65535).contains(&mtu) {
        return Some(mtu);
    }
    problems.add(&at, format!("{mtu} is not an MTU from {least} to 65535"));
    None
}

fn kube(
    kubeconfig: Option<FlannelIdentity>,
    token: Option<FlannelIdentity>,
    cluster: Option<&Cluster>,
    problems: &mut Problems<'_>,
) -> Option<Datastore> {
    if problems.mentioned("flannel.etcd") {
        let problem = problems.add_at_key(&["flannel.etcd"], "[flannel.etcd] is given, and the datastore is kube");
        problem.help.push("set flannel.datastore = \"etcd\", or remove [flannel.etcd]".to_owned());
    }
    if !problems.mentioned("cluster") {
        let message = "flannel keeps its leases in the API server, and there is no [cluster]";
        let problem = problems.add_at_key(&["flannel.datastore", "flannel"], message);
        problem.help.push("give a [cluster], use flannel.datastore = \"etcd\", or do without: enabled = false".to_owned());
        return None;
    }
    match (problems.mentioned("flannel.kubeconfig-file"), problems.mentioned("flannel.token-file")) {
        (true, true) => {
            let problem = problems.add_at_key(&["flannel.kubeconfig-file"], "both kubeconfig-file and token-file are given");
            problem.help.push("give exactly one of them".to_owned());
        }
        (false, false) => {
            let problem = problems.add_at_key(&["flannel", "cluster"], "flannel has no identity towards the API server");
            problem.help.push(
                "give [flannel] token-file (a file with its ServiceAccount's token) or kubeconfig-file: the kubelet's own \
                 identity may read only its own Node"
                    .to_owned(),
            );
            problem.help.push(OFF.to_owned());
        }
        _ => {}
    }
    cluster?;
    kubeconfig.or(token).map(Datastore::Kube)
}

/// `[flannel.etcd]`, read whether it is used or not, so that its mistakes are found.
struct Etcd {
    endpoints: Vec<url::Url>,
    prefix: String,
    files: [Option<std::path::PathBuf>; 3],
}

impl Etcd {
    fn read(raw: RawEtcd, problems: &mut Problems<'_>) -> Self {
        let endpoints = problems.list(raw.endpoints.0).into_iter().map(|(endpoint, _)| endpoint.0).collect();
        let prefix = problems.located(raw.prefix);
        let files = [raw.ca_file, raw.cert_file, raw.key_file].map(|file| problems.value(file).map(|path| path.0));
        let prefix = match prefix {
            None => "/coreos.com/network".to_owned(),
            Some((prefix, at)) => {
                let clean = prefix.starts_with('/') && !prefix.ends_with('/') && prefix.chars().all(|c| c.is_ascii_graphic());
                if !clean {
                    problems.add(&at, format!("{prefix:?} is not a prefix of keys, such as /coreos.com/network"));
                }
                prefix
            }
        };
        Self { endpoints, prefix, files }
    }

    fn datastore(self, problems: &mut Problems<'_>) -> Datastore {
        for key in ["flannel.kubeconfig-file", "flannel.token-file"] {
            if problems.mentioned(key) {
                let problem =
                    problems.add_at_key(&[key], format!("{key} is for the datastore kube, and the datastore is etcd"));
                problem.help.push(format!("remove {key}, or set flannel.datastore = \"kube\""));
            }
        }
        if self.endpoints.is_empty() && problems.is_empty() {
            let problem =
                problems.add_at_key(&["flannel.etcd", "flannel.datastore"], "the datastore is etcd, and no endpoint is given");
            problem.help.push("give [flannel.etcd] endpoints = [\"https://10.0.1.2:2379\"]".to_owned());
        }
        let keys = ["flannel.etcd.ca-file", "flannel.etcd.cert-file", "flannel.etcd.key-file"];
        let missing: Vec<_> = keys.into_iter().filter(|key| !problems.mentioned(key)).collect();
        if !missing.is_empty() && missing.len() < keys.len() {
            let problem = problems.add_at_key(&keys, format!("TLS towards etcd needs {} too", missing.join(" and ")));
            problem.help.push("give all three of ca-file, cert-file and key-file, or none".to_owned());
        }
        if missing.len() < keys.len() && self.endpoints.iter().any(|endpoint| endpoint.scheme() == "http") {
            let message = "an endpoint is http, and the files are for TLS: they would not be used";
            problems.add_at_key(&["flannel.etcd.endpoints"], message).help.push("use https:// endpoints".to_owned());
        }
        let [ca_file, cert_file, key_file] = self.files;
        let tls = match (ca_file, cert_file, key_file) {
            (Some(ca_file), Some(cert_file), Some(key_file)) => Some(EtcdTls { ca_file, cert_file, key_file }),
            _ => None,
        };
        Datastore::Etcd { endpoints: self.endpoints, prefix: self.prefix, tls }
    }
}

/// Pods, services and nodes each have addresses of their own.
pub(super) fn networks_are_disjoint(settings: &Settings, problems: &mut Problems<'_>) {
    let Some(flannel) = &settings.flannel else { return };
    let pods = [(Some(flannel.network), "flannel.network"), (flannel.ipv6_network, "flannel.ipv6-network")];
    let services = settings.cluster.as_ref().and_then(|cluster| cluster.service_cidr);
    for (pods, key) in pods.into_iter().filter_map(|(cidr, key)| Some((cidr?, key))) {
        if let Some(services) = services.filter(|services| services.overlaps(pods)) {
            let message = format!("the services' network {services} overlaps the pods' network {pods}");
            let problem = problems.add_at_key(&[key, "cluster.service-cidr"], message);
            problem.help.push(format!("choose cluster.service-cidr and {key} so that they share no address"));
        }
        let inside: Vec<IpAddr> =
            settings.node.addresses.iter().map(|address| address.ip()).filter(|ip| pods.contains(*ip)).collect();
        for address in inside {
            let message = format!("the node's address {address} lies in the pods' network {pods}");
            let problem = problems.add_at_key(&["node.ip"], message);
            problem.help.push(format!("choose a {key} that holds no node's address"));
        }
    }
}
