//! What nodes say to each other: one format for control messages and probes, over UDP and TCP.
//!
//!     0  "HLm", version    7  size of the whole message     25  from       41  body
//!     4  kind              9  session                       33  to         ..  HMAC-SHA-256 of all before it
//!     5  length of body                                                    ..  zeros, to the size
//!
//! All of this but the body, and the kinds of a hello and of the answer to another version's, is the same in every version.
//!
//! Promise: reading never panics, whatever the bytes; a message is read only if every byte of it is as the sender signed it,
//! its length and its zeros included. Nothing in a message depends on a clock.
//! Gap: messages are authentic, not secret; they name ports and what became of probes.

use std::net::IpAddr;

use super::{
    body::{self, Body},
    key::{Key, NodeId, Nonce, SIGNATURE},
};

const MAGIC: [u8; 3] = *b"HLm";

/// The version of the format. A node of another version is told apart, and named.
pub const VERSION: u8 = 2;
pub(super) const HEADER: usize = 41;

/// The first bytes of every message, for filters in the kernel.
pub(super) const START: u32 = u32::from_be_bytes([MAGIC[0], MAGIC[1], MAGIC[2], VERSION]);

/// Nothing longer is read: a jumbo frame's payload.
pub const LONGEST: usize = 9216;

/// Control messages fit into the smallest packet that every IPv6 link carries, 1280 bytes with its headers.
pub const CONTROL: usize = 1232;

/// The first message of a session, and so the longest answer that somebody who is not known yet gets.
pub const HELLO: usize = 160;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which run of which node it belongs to: the number that node drew.
    pub session: Nonce,
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What.
    pub body: Body,
}

/// Why bytes are no message to this node; all are met with silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else's traffic.
    #[error("not a message of hostlet's")]
    NotOurs,
    /// Signed with this key, by another version of hostlet.
    #[error("version {0} of the format")]
    Version(u8),
    /// Lengths that contradict each other, or a body that makes no sense.
    #[error("malformed")]
    Malformed,
    /// Signed with another key, or changed on its way.
    #[error("signed with another key, or changed")]
    Forged,
}

impl Message {
    /// The message as bytes, filled with zeros to `size`, or as long as it needs to be.
    #[must_use]
    pub fn to_bytes(&self, key: &Key, size: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        self.body.write(&mut body);
        let size = size.clamp(HEADER + body.len() + SIGNATURE, LONGEST);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.push(self.body.kind());
        bytes.extend(length(body.len()));
        bytes.extend(length(size));
        bytes.extend(self.session);
        bytes.extend(self.from);
        bytes.extend(self.to);
        bytes.extend(body);
        let signature = key.sign(&[&bytes]);
        bytes.extend(signature);
        bytes.resize(size, 0);
        bytes
    }

    /// Reads what `to_bytes` made with the same key.
    pub fn parse(bytes: &[u8], key: &Key) -> Result<Self, Refused> {
        let Frame { version, kind, session, from, to, body } = Frame::parse(bytes, key)?;
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let mut reader = body::Reader(body);
        let body = Body::read(kind, &mut reader)?;
        if reader.0.is_empty() { Ok(Self { session, from, to, body }) } else { Err(Refused::Malformed) }
    }
}

/// A message of any version, of which the signature is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'b> {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) session: Nonce,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    body: &'b [u8],
}

impl<'b> Frame<'b> {
    pub(super) fn parse(bytes: &'b [u8], key: &Key) -> Result<Self, Refused> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Refused::NotOurs)?;
        if header[..3] != MAGIC {
            return Err(Refused::NotOurs);
        }
        let mut reader = body::Reader(&header[4..]);
        let kind = reader.byte()?;
        let (body_length, size) = (reader.number()? as usize, reader.number()? as usize);
        let (session, from, to) = (reader.array()?, reader.array()?, reader.array()?);
        let signed = HEADER + body_length;
        if size != bytes.len() || size > LONGEST {
            return Err(Refused::Malformed);
        }
        let (data, rest) = bytes.split_at_checked(signed).ok_or(Refused::Malformed)?;
        let (signature, padding) = rest.split_at_checked(SIGNATURE).ok_or(Refused::Malformed)?;
        if !key.verifies(data, signature) || padding.iter().any(|byte| *byte != 0) {
            return Err(Refused::Forged);
        }
        Ok(Self { version: header[3], kind, session, from, to, body: &data[HEADER..] })
    }

    /// Whether it is the first message of somebody who speaks another version.
    pub(super) const fn is_foreign_hello(&self) -> bool {
        self.version != VERSION && self.kind == body::HELLO
    }

    /// Whether it says that its sender speaks another version.
    pub(super) const fn is_other_version(&self) -> bool {
        self.version != VERSION && self.kind == body::OTHER_VERSION
    }
}

/// The size that a header tells, before anything of it can be believed.
pub(super) fn size(header: &[u8]) -> Option<usize> {
    let bytes: [u8; 2] = header.get(7..9)?.try_into().ok()?;
    header.starts_with(&MAGIC).then_some(u16::from_be_bytes(bytes).into())
}

fn length(length: usize) -> [u8; 2] {
    // Bodies have at most 2 * 38 entries and sizes are clamped to LONGEST.
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The VXLAN header that probes of a VXLAN port stand behind: RFC 7348, with a network identifier that nobody configures, so
/// that a running device drops it.
const VXLAN: [u8; 8] = [0x08, 0, 0, 0, 0xff, 0xff, 0xff, 0];

/// The length of that header.
pub const VXLAN_HEADER: usize = VXLAN.len();

/// Puts a message behind a VXLAN header.
#[must_use]
pub fn behind_vxlan(message: &[u8]) -> Vec<u8> {
    [&VXLAN, message].concat()
}

/// The message, whether it stands behind a VXLAN header or not.
#[must_use]
pub fn without_vxlan(datagram: &[u8]) -> &[u8] {
    datagram.strip_prefix(&VXLAN).unwrap_or(datagram)
}

/// The bytes of headers before a UDP payload.
#[must_use]
pub const fn headers(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 20 + 8 } else { 40 + 8 }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
