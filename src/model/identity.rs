//! Who this node is, once the configuration's wishes and the host's facts have met.

use super::{Architecture, NodeAddress, NodeName};

/// The node's name, addresses and processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its name in the cluster.
    pub name: NodeName,
    /// One address, or one of each family; the first is the primary one.
    pub addresses: Vec<NodeAddress>,
    /// What it executes.
    pub architecture: Architecture,
}
