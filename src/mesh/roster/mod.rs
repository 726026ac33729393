//! Peers that the configuration does not name: the cluster's Nodes, laid beside it. Pure.
//!
//! Promise: what the configuration says of a node goes before what the API server says, and a difference is told; a Node that
//! cannot be a peer is told; not knowing the Nodes is never taken for there being none.

mod ask;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use serde::Serialize;

pub use ask::{Unusable, ask, credential as flannel_credential};

use super::requirement::Node;
use crate::{
    config::{PeersFrom, Role},
    host::api_server::ListedNode,
    model::{NodeAddress, NodeName},
};

/// What came of asking for peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Roster {
    /// Who was asked; nobody by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// How many Nodes there are.
    pub nodes: usize,
    /// Why the Nodes are not known, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Differences from the configuration, and Nodes that are none of the peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Nodes that are not Ready, and that the configuration does not name: nobody waits for them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub not_ready: BTreeSet<NodeName>,
    #[serde(skip)]
    peers: Vec<Node>,
}

/// Why the Nodes are not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What was seen.
    pub observed: String,
    /// What to do.
    pub remedy: String,
}

impl Roster {
    /// The Nodes are not known.
    #[must_use]
    pub fn unknown(gap: Gap) -> Self {
        Self { source: Some(source(PeersFrom::ApiServer)), gap: Some(gap), ..Self::default() }
    }

    /// These are the Nodes.
    #[must_use]
    pub fn listed(nodes: Vec<ListedNode>) -> Self {
        let mut roster = Self { source: Some(source(PeersFrom::ApiServer)), nodes: nodes.len(), ..Self::default() };
        for node in nodes {
            match peer(&node) {
                Ok(peer) => {
                    if !node.is_ready {
                        roster.not_ready.insert(peer.name.clone());
                    }
                    roster.peers.push(peer);
                }
                Err(why) => roster.notes.push(format!("the Node {} is not probed: {why}", node.name)),
            }
        }
        roster
    }

    /// The peers beside the configured ones, and what else there is to tell.
    #[must_use]
    pub fn beside(mut self, this: &Node, configured: &[Node]) -> (Vec<Node>, Self) {
        (self.take_peers(this, configured), self)
    }

    /// Takes out those that are peers beside the configured ones, and tells what contradicts those and this node.
    fn take_peers(&mut self, this: &Node, configured: &[Node]) -> Vec<Node> {
        let mut peers = Vec::new();
        for node in std::mem::take(&mut self.peers) {
            let known = configured.iter().chain([this]).find(|known| known.name == node.name);
            if let Some(known) = known {
                self.not_ready.remove(&node.name);
                self.notes.extend(difference(known, &node, known == this));
                continue;
            }
            let taken = |address: &NodeAddress| {
                configured.iter().chain([this]).chain(&peers).find(|other| other.addresses.contains(address))
            };
            let clash = node.addresses.iter().find_map(|address| Some((*address, taken(address)?.name.clone())));
            match clash {
                Some((address, other)) => self.notes.push(format!(
                    "the Node {} is not probed: its address {address} is that of {other}; is it an earlier name of that machine? \
                     kubectl delete node {}",
                    node.name, node.name
                )),
                None => peers.push(node),
            }
        }
        peers
    }
}

/// What is to be told, a line each; nothing where all is well.
impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Gap { observed, remedy }) = &self.gap {
            writeln!(f, "UNKNOWN the cluster's Nodes: {observed}\n     {remedy}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "NOTE {note}"))
    }
}

const fn source(from: PeersFrom) -> &'static str {
    match from {
        PeersFrom::ApiServer => "api-server",
    }
}

fn difference(known: &Node, listed: &Node, is_this: bool) -> Option<String> {
    let same_addresses = listed.addresses.iter().all(|address| known.addresses.contains(address));
    if same_addresses && known.role == listed.role {
        return None;
    }
    let whose = if is_this { "this node's own configuration" } else { "mesh.peers" };
    Some(format!("{}: the API server has {listed}, and {whose} {known}, which goes before it", known.name))
}

/// One address of each family, the first of those that the Node has.
fn peer(node: &ListedNode) -> Result<Node, String> {
    let name: NodeName = node.name.parse().map_err(|error| format!("{error}"))?;
    let mut addresses: Vec<NodeAddress> = Vec::new();
    for ip in node.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
        let Ok(address) = NodeAddress::try_from(ip) else { continue };
        if !addresses.iter().any(|other| other.ip().is_ipv4() == ip.is_ipv4()) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err("it has no InternalIP that other nodes can reach".to_owned());
    }
    let role = if node.is_control_plane { Role::ControlPlane } else { Role::Worker };
    Ok(Node { name, addresses, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, addresses: &[&str], is_control_plane: bool) -> ListedNode {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        ListedNode { name: name.to_owned(), is_ready: true, is_control_plane, addresses }
    }

    fn node(name: &str, address: &str, role: Role) -> Node {
        Node { name: name.parse().unwrap(), addresses: vec![address.parse().unwrap()], role }
    }

    #[test]
    fn nodes_are_peers_with_one_address_of_each_family_and_the_role_of_their_label() {
        let roster = Roster::listed(vec![
            listed("cp", &["10.0.1.1", "10.9.9.9", "fd00::1"], true),
            listed("w", &["127.0.0.1", "10.0.1.2"], false),
            listed("none", &["169.254.1.1"], false),
        ]);
        let (peers, roster) = roster.beside(&node("this", "10.0.1.7", Role::Worker), &[]);
        assert_eq!(peers[0].addresses, ["10.0.1.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(peers.iter().map(|peer| peer.role).collect::<Vec<_>>(), [Role::ControlPlane, Role::Worker]);
        assert_eq!(peers[1].addresses, ["10.0.1.2".parse().unwrap()]);
        assert_eq!(roster.notes, ["the Node none is not probed: it has no InternalIP that other nodes can reach"]);
    }

    #[test]
    fn what_is_configured_goes_before_what_is_listed_and_the_difference_is_told() {
        let roster = Roster::listed(vec![
            ListedNode { is_ready: false, ..listed("a", &["10.0.1.9"], true) },
            ListedNode { is_ready: false, ..listed("b", &["10.0.1.3"], false) },
            listed("old", &["10.0.1.2"], false),
            listed("this", &["10.0.1.7"], false),
        ]);
        let this = node("this", "10.0.1.7", Role::Worker);
        let (peers, roster) = roster.beside(&this, &[node("a", "10.0.1.2", Role::Worker)]);
        assert_eq!(peers, [node("b", "10.0.1.3", Role::Worker)]);
        assert_eq!(roster.not_ready, BTreeSet::from(["b".parse().unwrap()]));
        assert_eq!(roster.notes.len(), 2, "{:?}", roster.notes);
        assert!(
            roster.notes[0]
                .contains("the API server has of the control plane at 10.0.1.9, and mesh.peers a worker at 10.0.1.2")
        );
        assert!(roster.notes[1].contains("the Node old is not probed: its address 10.0.1.2 is that of a"));
    }
}
