//! Who must reach whom, on which port and protocol: derived from roles, flannel's backend and what the user adds. Pure.
//!
//! Promise: every node derives the same list from the same configuration, so that each knows what the other will probe.
//! Gap: a service port on a non-default number is known for this node alone (`kubelet.config.port`, the API server's in
//! `cluster.server`); a cluster uses the same on all nodes.

use std::{fmt, net::IpAddr, num::NonZeroU16};

use serde::Serialize;

use crate::{
    config::{Backend, ExtraPort, Group, Peer, Role, Settings},
    model::{NodeAddress, NodeIdentity, NodeName, Port, Protocol},
};

/// A node of the mesh: this one or a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in the cluster.
    pub name: NodeName,
    /// One address, or one of each family; the first is the primary one.
    pub addresses: Vec<NodeAddress>,
    /// What it is for.
    pub role: Role,
}

impl Node {
    /// This node.
    #[must_use]
    pub fn this(settings: &Settings, identity: &NodeIdentity) -> Self {
        Self { name: identity.name.clone(), addresses: identity.addresses.clone(), role: settings.node.role }
    }

    /// Its address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(|address| address.ip()).find(|ip| Family::of(*ip) == family)
    }
}

impl From<&Peer> for Node {
    fn from(peer: &Peer) -> Self {
        Self { name: peer.name.clone(), addresses: peer.addresses.clone(), role: peer.role }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// How a datagram on the port looks, so that what filters by content sees what it will see later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// As it is.
    Plain,
    /// Behind a VXLAN header: hypervisors are known to drop valid VXLAN alone (flannel#2388).
    Vxlan,
}

/// One port that one node must be able to reach on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Requirement {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port on the receiver.
    pub port: Port,
    /// Over which addresses.
    pub family: Family,
    /// How datagrams look.
    pub framing: Framing,
    /// What for.
    pub service: Service,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

/// What a port is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// flannel's packets between nodes.
    Overlay,
    /// The API server.
    ApiServer,
    /// The kubelet's API.
    Kubelet,
    /// etcd, between the nodes of the control plane.
    Etcd,
    /// The user's word.
    Extra,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "flannel",
            Self::ApiServer => "kube-apiserver",
            Self::Kubelet => "kubelet",
            Self::Etcd => "etcd",
            Self::Extra => "mesh.extra-ports",
        })
    }
}

/// The rules of a cluster, from which the requirements between any two nodes follow.
#[derive(Debug, Clone)]
pub struct Rules {
    overlay: Vec<(Port, Family, Framing)>,
    api_server: Port,
    kubelet: Option<Port>,
    extra: Vec<ExtraPort>,
}

impl Rules {
    /// The rules that this configuration makes.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let kubelet = settings.kubelet.config.get("port").map(|port| serde_json::from_value(port.clone()).ok());
        Self {
            overlay: overlay(settings),
            // Behind a load balancer the API servers' own port is another, and kubeadm's default.
            api_server: Port::known(6443),
            kubelet: kubelet.unwrap_or(Some(Port::known(10_250))),
            extra: settings.mesh.as_ref().map(|mesh| mesh.extra_ports.clone()).unwrap_or_default(),
        }
    }

    /// What `from` must reach on `to`, in a fixed order and nothing twice; nothing from a node to itself, and nothing over a
    /// family that one of them lacks.
    #[must_use]
    pub fn between(&self, from: &Node, to: &Node) -> Vec<Requirement> {
        if from.name == to.name {
            return Vec::new();
        }
        let mut needed = Vec::new();
        for (port, family, framing) in &self.overlay {
            let service = Service::Overlay;
            needed.push(Requirement { protocol: Protocol::Udp, port: *port, family: *family, framing: *framing, service });
        }
        if let Some(family) = primary_family(from, to) {
            let tcp = |port, service| Requirement { protocol: Protocol::Tcp, port, family, framing: Framing::Plain, service };
            if to.role == Role::ControlPlane {
                needed.push(tcp(self.api_server, Service::ApiServer));
            }
            if from.role == Role::ControlPlane {
                needed.extend(self.kubelet.map(|port| tcp(port, Service::Kubelet)));
            }
            if from.role == Role::ControlPlane && to.role == Role::ControlPlane {
                needed.extend([2379, 2380].map(|port| tcp(Port::known(port), Service::Etcd)));
            }
            let wanted = |extra: &&ExtraPort| extra.from.contains(from.role) && extra.to.contains(to.role);
            needed.extend(self.extra.iter().filter(wanted).map(|extra| Requirement {
                protocol: extra.protocol,
                port: extra.port,
                family,
                framing: Framing::Plain,
                service: Service::Extra,
            }));
        }
        needed.retain(|one| from.address(one.family).is_some() && to.address(one.family).is_some());
        needed.sort_by_key(|one| (one.protocol, one.port, one.family, one.service));
        // What the user adds may be needed anyway.
        needed.dedup_by_key(|one| (one.protocol, one.port, one.family));
        needed
    }

    /// Everything that a node must be able to receive from any of the others.
    #[must_use]
    pub fn received_by(&self, node: &Node, others: &[Node]) -> Vec<Requirement> {
        let mut needed: Vec<_> = others.iter().flat_map(|other| self.between(other, node)).collect();
        needed.sort_by_key(|one| (one.protocol, one.port, one.family, one.service));
        needed.dedup_by_key(|one| (one.protocol, one.port, one.family));
        needed
    }
}

/// The family that services other than the overlay use: that of the receiver's first address that the other has, too.
fn primary_family(from: &Node, to: &Node) -> Option<Family> {
    to.addresses.iter().map(|address| Family::of(address.ip())).find(|family| from.address(*family).is_some())
}

/// flannel's ports. Source: facts on flannel; the wireguard backend takes the next port for IPv6.
fn overlay(settings: &Settings) -> Vec<(Port, Family, Framing)> {
    let Some(flannel) = &settings.flannel else { return Vec::new() };
    let ipv6 = flannel.ipv6_network.is_some();
    match flannel.backend {
        Backend::HostGw => Vec::new(),
        Backend::Udp { port } => vec![(port, Family::Ipv4, Framing::Plain)],
        Backend::Vxlan { port, .. } => {
            let mut ports = vec![(port, Family::Ipv4, Framing::Vxlan)];
            ports.extend(ipv6.then_some((port, Family::Ipv6, Framing::Vxlan)));
            ports
        }
        Backend::Wireguard { port } => {
            let next = port.number().checked_add(1).filter(|_| ipv6).and_then(NonZeroU16::new);
            let mut ports = vec![(port, Family::Ipv4, Framing::Plain)];
            ports.extend(next.map(|port| (Port::known(port.get()), Family::Ipv6, Framing::Plain)));
            ports
        }
    }
}

/// The requirements as people read them: one line for each rule rather than for each pair.
#[must_use]
pub fn matrix(rules: &Rules, nodes: &[Node]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for from in nodes {
        for to in nodes {
            for requirement in rules.between(from, to) {
                let pair = Pair { from: from.name.clone(), to: to.name.clone() };
                match rows.iter_mut().find(|row| row.requirement == requirement) {
                    Some(row) => row.pairs.push(pair),
                    None => rows.push(Row { requirement, pairs: vec![pair] }),
                }
            }
        }
    }
    rows.sort_by_key(|row| row.requirement);
    rows
}

/// A port, and everyone who must reach everyone on it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// What must be reached.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// Who must reach whom.
    pub pairs: Vec<Pair>,
}

/// A direction between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Who connects or sends.
    pub from: NodeName,
    /// Who listens.
    pub to: NodeName,
}

impl Row {
    /// "all to all", "all to control-plane" and the like, where it is one of them.
    #[must_use]
    pub fn groups(&self, nodes: &[Node]) -> Option<String> {
        const GROUPS: [(Group, &str); 3] =
            [(Group::All, "all"), (Group::Only(Role::ControlPlane), "control-plane"), (Group::Only(Role::Worker), "worker")];
        let role = |name: &NodeName| nodes.iter().find(|node| node.name == *name).map(|node| node.role);
        for (from, from_name) in GROUPS {
            for (to, to_name) in GROUPS {
                let inside = |pair: &Pair| {
                    role(&pair.from).is_some_and(|role| from.contains(role))
                        && role(&pair.to).is_some_and(|role| to.contains(role))
                };
                let froms = nodes.iter().filter(|node| from.contains(node.role));
                let possible = froms
                    .flat_map(|one| nodes.iter().filter(move |other| to.contains(other.role) && other.name != one.name))
                    .count();
                if possible == self.pairs.len() && self.pairs.iter().all(inside) {
                    return Some(format!("{from_name} to {to_name}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "requirement_tests.rs"]
mod tests;
