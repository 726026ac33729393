//! Who must reach whom, on which port and protocol: derived from roles, flannel's backend and what the user adds. Pure.
//!
//! Promise: every node derives the same list from the same configuration, so that each knows what the other will probe.
//! Gap: a service port on a non-default number is known for this node alone (`kubelet.config.port`, the API server's in
//! `cluster.server`); a cluster uses the same on all nodes.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use crate::{
    config::{Backend, ExtraPort, Peer, Role, Settings},
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

/// What it is for and where it is: "a worker at 10.0.1.7".
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let role = if self.role == Role::Worker { "a worker" } else { "of the control plane" };
        write!(f, "{role} at {}", addresses.join(" and "))
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
        if from.name == to.name { Vec::new() } else { self.needed(from, to) }
    }

    fn needed(&self, from: &Node, to: &Node) -> Vec<Requirement> {
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
        once(needed.into_iter().filter(|one| from.address(one.family).is_some() && to.address(one.family).is_some()))
    }

    /// Everything that a node must be able to receive from any of the others.
    #[must_use]
    pub fn received_by(&self, node: &Node, others: &[Node]) -> Vec<Requirement> {
        once(others.iter().flat_map(|other| self.between(other, node)))
    }

    /// The TCP ports that the node may have to connect to on others.
    #[must_use]
    pub fn connected_to(&self, node: &Node) -> Vec<Port> {
        let roles = [Role::Worker, Role::ControlPlane].into_iter();
        let needed = once(roles.flat_map(|role| self.needed(node, &Node { role, ..node.clone() })));
        let mut ports: Vec<Port> = needed.into_iter().filter(|one| one.protocol == Protocol::Tcp).map(|one| one.port).collect();
        ports.dedup();
        ports
    }

    /// The same from nodes of any role, whoever they may be.
    #[must_use]
    pub fn received_by_any(&self, node: &Node) -> Vec<Requirement> {
        let roles = [Role::Worker, Role::ControlPlane].into_iter();
        once(roles.flat_map(|role| self.needed(&Node { role, ..node.clone() }, node)))
    }
}

/// In a fixed order, and each port once.
fn once(needed: impl Iterator<Item = Requirement>) -> Vec<Requirement> {
    let mut needed: Vec<_> = needed.collect();
    needed.sort_by_key(|one| (one.protocol, one.port, one.family, one.service));
    // What the user adds may be needed anyway.
    needed.dedup_by_key(|one| (one.protocol, one.port, one.family));
    needed
}

/// The family that services other than the overlay use: that of the receiver's first address that the other has, too.
fn primary_family(from: &Node, to: &Node) -> Option<Family> {
    to.addresses.iter().map(|address| Family::of(address.ip())).find(|family| from.address(*family).is_some())
}

/// flannel's ports.
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
        Backend::Wireguard { port, ipv6_port } => {
            let mut ports = vec![(port, Family::Ipv4, Framing::Plain)];
            ports.extend(ipv6.then_some((ipv6_port, Family::Ipv6, Framing::Plain)));
            ports
        }
    }
}

#[cfg(test)]
#[path = "requirement_tests.rs"]
mod tests;
