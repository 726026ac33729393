//! What the fuzz targets share: a key, and messages signed with it, since what is not signed does not get far.

use hostlet::mesh::key::{Key, NodeId, Nonce, SIGNATURE};

/// The length of a message's header, as `src/mesh/wire.rs` draws it.
pub const HEADER: usize = 41;

/// The file that holds the same key.
pub const SHARED: &str = "a key of more than sixteen bytes";

/// The key of all that is said.
pub fn key() -> Key {
    Key::new(SHARED.as_bytes(), "kubernetes").expect("it is long enough")
}

/// Who says something to whom.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    /// The session.
    pub session: Nonce,
    /// Who.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
}

/// A message of any kind and body, signed rightly, and filled with zeros to `size` bytes.
pub fn signed(key: &Key, envelope: Envelope, version: u8, kind: u8, body: &[u8], size: usize) -> Vec<u8> {
    let body = &body[..body.len().min(1024)];
    let size = size.max(HEADER + body.len() + SIGNATURE);
    let length = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut bytes = vec![b'H', b'L', b'm', version, kind];
    bytes.extend(length(body.len()));
    bytes.extend(length(size));
    bytes.extend(envelope.session);
    bytes.extend(envelope.from);
    bytes.extend(envelope.to);
    bytes.extend(body);
    let signature = key.sign(&[&bytes]);
    bytes.extend(signature);
    bytes.resize(size, 0);
    bytes
}
