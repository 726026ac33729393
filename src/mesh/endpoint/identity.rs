//! Who takes part, as configuration and key file say.

use crate::{
    config::{Mesh, Role, Settings},
    host::files,
    mesh::{
        key::Key,
        problem::MeshError,
        requirement::{Node, Rules},
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
    /// The control port.
    pub port: u16,
    pub(in crate::mesh) key: Key,
}

impl Identity {
    /// From the configuration and the key file.
    pub fn new(settings: &Settings, mesh: &Mesh, identity: &NodeIdentity) -> Result<Self, MeshError> {
        let this = Node::this(settings, identity);
        let listed = mesh.peers.iter().map(Node::from).find(|peer| peer.name == this.name);
        if let Some(listed) = listed.filter(|listed| listed.role != this.role || !same_addresses(listed, &this)) {
            let (listed, actual) = (describe(&listed), describe(&this));
            return Err(MeshError::OtherThanListed { name: this.name.to_string(), listed, actual });
        }
        let peers = mesh.peers.iter().map(Node::from).filter(|peer| peer.name != this.name).collect();
        let key = read_key(mesh)?;
        Ok(Self { this, peers, rules: Rules::of(settings), port: mesh.port.number(), key })
    }
}

/// The order does not matter, nor an address of this node that others do not use.
fn same_addresses(listed: &Node, actual: &Node) -> bool {
    listed.addresses.iter().all(|address| actual.addresses.contains(address))
}

fn describe(node: &Node) -> String {
    let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
    let role = if node.role == Role::Worker { "a worker" } else { "of the control plane" };
    format!("{role} at {}", addresses.join(" and "))
}

fn read_key(mesh: &Mesh) -> Result<Key, MeshError> {
    let path = mesh.key_file.display().to_string();
    let mode = files::mode(&mesh.key_file).map_err(MeshError::NoKey)?;
    if mode & 0o077 != 0 {
        return Err(MeshError::KeyIsOpen { path, mode });
    }
    let content = files::read(&mesh.key_file).map_err(MeshError::NoKey)?;
    Key::new(&content, &mesh.cluster_name).map_err(|reason| MeshError::NotAKey { path, reason })
}
