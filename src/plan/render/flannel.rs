//! flannel's files: net-conf.json, flags, kubeconfig, and the CNI configuration list.

use serde_json::{Value, json};

use super::{kubeconfig, kubelet_configuration};
use crate::{
    config::{Backend, Datastore, Flannel, FlannelIdentity, Settings},
    model::{NodeIdentity, Secret, layout},
    plan::wanted::Builder,
    transaction::Content,
};

pub(super) fn render(builder: &mut Builder, settings: &Settings, identity: &NodeIdentity) {
    let Some(flannel) = &settings.flannel else { return };
    builder.file("etc/flanneld.env", environment(flannel, identity));
    if let Datastore::Kube(_) = flannel.datastore {
        builder.file("etc/net-conf.json", network_configuration(flannel));
    }
    if let (Datastore::Kube(FlannelIdentity::TokenFile(token)), Some(cluster)) = (&flannel.datastore, &settings.cluster) {
        let credential = json!({ "tokenFile": token });
        let text = kubeconfig::render(&cluster.server, kubelet_configuration::AUTHORITY, "flannel", &credential);
        let content = Content::Secret(Secret::new(text.into_bytes()));
        builder.host_file(layout::FLANNEL_KUBECONFIG, content, "flannel's identity towards the API server");
    }
    let conflist = format!("{}/10-flannel.conflist", layout::CNI_CONFIGURATION);
    let content = Content::Plain(format!("{:#}\n", cni_configuration()).into_bytes());
    builder.host_file(conflist, content, "the container runtime connects pods through flannel by it");
}

/// flannel takes a missing Backend.Type for udp, against its documentation: it is always written.
fn network_configuration(flannel: &Flannel) -> String {
    let kind = flannel.backend.as_str();
    let mut backend = match flannel.backend {
        Backend::Vxlan { port, vni, direct_routing } => {
            let backend = json!({ "Type": kind, "Port": port, "VNI": vni });
            if direct_routing { with(backend, "DirectRouting", json!(true)) } else { backend }
        }
        Backend::Udp { port } => json!({ "Type": kind, "Port": port }),
        Backend::Wireguard { port, ipv6_port } => {
            let backend = json!({ "Type": kind, "ListenPort": port });
            if flannel.ipv6_network.is_some() { with(backend, "ListenPortV6", json!(ipv6_port)) } else { backend }
        }
        Backend::HostGw => json!({ "Type": kind }),
    };
    if let Some(mtu) = flannel.mtu {
        backend = with(backend, "MTU", json!(mtu));
    }
    let mut configuration = json!({
        "Network": flannel.network,
        "EnableNFTables": flannel.nftables,
        "Backend": backend,
    });
    if let Some(network) = flannel.ipv6_network {
        configuration["EnableIPv6"] = Value::Bool(true);
        configuration["IPv6Network"] = json!(network);
    }
    format!("{configuration:#}\n")
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

/// flannel looks an address of --iface up among the IPv4 addresses; which IPv6 address it takes beside that has to be said.
/// Source: flannel, pkg/ipmatch/match.go.
fn interface(flannel: &Flannel, identity: &NodeIdentity) -> Vec<String> {
    let address = |v4: bool| identity.addresses.iter().find(|address| address.ip().is_ipv4() == v4);
    let mut flags = Vec::new();
    match &flannel.interface {
        Some(interface) => flags.push(format!("--iface={interface}")),
        None => flags.extend(address(true).map(|address| format!("--iface={address}"))),
    }
    if flannel.ipv6_network.is_some() {
        flags.extend(address(false).map(|address| format!("--public-ipv6={address}")));
    }
    flags
}

fn environment(flannel: &Flannel, identity: &NodeIdentity) -> String {
    let mut flags = vec!["--ip-masq".to_owned(), "--subnet-file=/run/flannel/subnet.env".to_owned()];
    flags.extend(interface(flannel, identity));
    match &flannel.datastore {
        Datastore::Kube(identity) => {
            let kubeconfig = match identity {
                FlannelIdentity::Kubeconfig(path) => path.display().to_string(),
                FlannelIdentity::TokenFile(_) => layout::FLANNEL_KUBECONFIG.to_owned(),
            };
            flags.push("--kube-subnet-mgr".to_owned());
            flags.push(format!("--kubeconfig-file={kubeconfig}"));
            flags.push(format!("--net-config-path={}/etc/net-conf.json", layout::CURRENT));
        }
        Datastore::Etcd { endpoints, prefix, tls } => {
            let endpoints: Vec<&str> = endpoints.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
            flags.push(format!("--etcd-endpoints={}", endpoints.join(",")));
            flags.push(format!("--etcd-prefix={prefix}"));
            if let Some(tls) = tls {
                flags.push(format!("--etcd-cafile={}", tls.ca_file.display()));
                flags.push(format!("--etcd-certfile={}", tls.cert_file.display()));
                flags.push(format!("--etcd-keyfile={}", tls.key_file.display()));
            }
        }
    }
    format!("# Written by hostlet.\nNODE_NAME={}\nFLANNELD_ARGS={}\n", identity.name, flags.join(" "))
}

/// As flannel's own manifests have it (kube-flannel.yml: cni-conf.json).
fn cni_configuration() -> Value {
    json!({
        "name": "cbr0",
        "cniVersion": "0.3.1",
        "plugins": [
            { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}
