//! Who takes part, as configuration and key file say.

use std::sync::OnceLock;

use crate::{
    config::{Mesh, Peer, Sample, Settings, WaitFor},
    host::secret_file,
    mesh::{
        key::Key,
        problem::MeshError,
        requirement::{Node, Requirement, Rules},
        roster::Roster,
        sample::{self, Sampled},
    },
    model::NodeIdentity,
};

/// Who takes part: this node, its peers, and the rules between them.
#[derive(Debug)]
pub struct Identity {
    /// This node.
    pub this: Node,
    /// The others.
    pub peers: Vec<Node>,
    /// Who must reach whom.
    pub rules: Rules,
    /// Whether somebody who signs is answered though no list has him: where peers come from the API server, a node is in
    /// its list only once its kubelet runs.
    pub newcomers: bool,
    /// What came of asking elsewhere for peers.
    pub roster: Roster,
    /// The control port.
    pub port: u16,
    sample: Sample,
    wait_for: WaitFor,
    drawn: OnceLock<Vec<bool>>,
    pub(in crate::mesh) key: Key,
}

impl Identity {
    /// From the configuration and the key file.
    pub fn new(settings: &Settings, mesh: &Mesh, identity: &NodeIdentity) -> Result<Self, MeshError> {
        let this = Node::this(settings, identity);
        let listed = mesh.peers.iter().map(Node::from).find(|peer| peer.name == this.name);
        if let Some(listed) = listed.filter(|listed| listed.role != this.role || !same_addresses(listed, &this)) {
            let (listed, actual) = (listed.to_string(), this.to_string());
            return Err(MeshError::OtherThanListed { name: this.name.to_string(), listed, actual });
        }
        let peers = mesh.peers.iter().map(Node::from).filter(|peer| peer.name != this.name).collect();
        let key = read_key(mesh)?;
        let (newcomers, roster) = (mesh.peers_from.is_some(), Roster::default());
        let (sample, wait_for, port) = (mesh.sample, mesh.wait_for.clone(), mesh.port.number());
        Ok(Self {
            this,
            peers,
            rules: Rules::of(settings),
            newcomers,
            roster,
            port,
            sample,
            wait_for,
            drawn: OnceLock::new(),
            key,
        })
    }

    /// The peers that this node asks: all, or in a large cluster those of its pairs that were drawn, and whom it was told to
    /// wait for by name.
    #[must_use]
    pub fn asked(&self) -> Vec<&Node> {
        let named = |peer: &Node| matches!(&self.wait_for, WaitFor::Names(names) if names.contains(&peer.name));
        let drawn = self.drawn.get_or_init(|| sample::draw(&self.this, &self.peers, self.sample));
        self.peers.iter().zip(drawn).filter(|(peer, drawn)| **drawn || named(peer)).map(|(peer, _)| peer).collect()
    }

    /// What other nodes must reach on this one.
    pub(in crate::mesh) fn received(&self) -> Vec<Requirement> {
        if self.newcomers { self.rules.received_by_any(&self.this) } else { self.rules.received_by(&self.this, &self.peers) }
    }

    /// How the cluster is sampled, if it is.
    #[must_use]
    pub fn sampled(&self) -> Option<Sampled> {
        let nodes = self.peers.len() + 1;
        let Sample { threshold, size } = self.sample;
        sample::is_sampled(nodes, self.sample).then(|| Sampled { nodes, threshold, size, probed: self.asked().len() })
    }

    /// Whether a peer must have been probed. A Node that is not Ready may be gone for good.
    #[must_use]
    pub fn waits_for(&self, peer: &Node) -> bool {
        let known = Peer { name: peer.name.clone(), addresses: peer.addresses.clone(), role: peer.role };
        self.wait_for.includes(&known) && !self.roster.not_ready.contains(&peer.name)
    }

    /// With the peers that were found elsewhere.
    #[must_use]
    pub fn with_roster(mut self, roster: Roster) -> Self {
        let (mut found, roster) = roster.beside(&self.this, &self.peers);
        self.peers.append(&mut found);
        Self { roster, drawn: OnceLock::new(), ..self }
    }
}

/// The order does not matter, nor an address of this node that others do not use.
fn same_addresses(listed: &Node, actual: &Node) -> bool {
    listed.addresses.iter().all(|address| actual.addresses.contains(address))
}

fn read_key(mesh: &Mesh) -> Result<Key, MeshError> {
    let path = mesh.key_file.display().to_string();
    let content = secret_file::read(&mesh.key_file).map_err(MeshError::NoKey)?.map_err(MeshError::KeyIsOpen)?;
    Key::new(&content, &mesh.cluster_name).map_err(|reason| MeshError::NotAKey { path, reason })
}
