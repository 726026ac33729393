//! Why a node cannot take part.

use std::io;

use super::key;
use crate::host::{files, secret_file::Exposed};

/// Why this node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The key cannot be read.
    #[error(
        "the key that all nodes share (mesh.key-file) cannot be read: {0}; make one with: openssl rand -hex 32, and copy it to every node"
    )]
    NoKey(files::FileError),
    /// Others can read the key, or change it.
    #[error("the key that all nodes share (mesh.key-file): {0}; {remedy}", remedy = .0.remedy())]
    KeyIsOpen(Exposed),
    /// It is no key.
    #[error("{path} holds no key: {reason}")]
    NotAKey {
        /// The file.
        path: String,
        /// What is wrong.
        reason: key::TooShort,
    },
    /// The peers list says something else of this node than its own configuration.
    #[error(
        "mesh.peers says of this node, {name}: {listed}; but it is {actual}. The other nodes go by that list: correct it, or [node]"
    )]
    OtherThanListed {
        /// This node.
        name: String,
        /// What the list says.
        listed: String,
        /// What is true.
        actual: String,
    },
    /// The control port is held.
    #[error("the control port {port} (mesh.port) is held by {holder}; stop that, or set another port on all nodes")]
    PortInUse {
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// A socket cannot be opened.
    #[error("the node cannot listen for the other nodes: {0}")]
    Sockets(#[from] io::Error),
}
