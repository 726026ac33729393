//! What a node says of its end of the probes: how it listens, what arrived, and what became of its own.

use super::{
    codec::{Reader, put_optional, put_place, put_port},
    ending::Ending,
    probe::{SIZES, Size},
};
use crate::{
    mesh::wire::Refused,
    model::{Port, Protocol},
};

/// How a node listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
    /// How.
    pub how: How,
}

/// How a node listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Hostlet itself holds the port.
    Bound,
    /// Somebody else does; UDP is seen by a raw socket behind the firewall, TCP is answered by whoever it is.
    Taken,
    /// Somebody else does, and hostlet cannot look behind the firewall.
    Blind,
}

/// What arrived of the probes of one port and size: a bit for each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The port.
    pub port: Port,
    /// The size.
    pub size: Size,
    /// At the socket, behind the firewall.
    pub socket: u8,
    /// At the interface, before the firewall; none where that cannot be seen.
    pub interface: Option<u8>,
}

/// What the sender of probes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
    /// The size; small for TCP.
    pub size: Size,
    /// How often it was tried.
    pub attempts: u8,
    /// How it ended.
    pub ending: Ending,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const HOWS: [How; 3] = [How::Bound, How::Taken, How::Blind];

impl Listening {
    pub(super) fn put(to: &mut Vec<u8>, one: Self) {
        put_place(to, &PROTOCOLS, &one.protocol);
        put_port(to, one.port);
        put_place(to, &HOWS, &one.how);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self { protocol: from.one_of(PROTOCOLS)?, port: from.port()?, how: from.one_of(HOWS)? })
    }
}

impl Arrived {
    pub(super) fn put(to: &mut Vec<u8>, one: Self) {
        put_port(to, one.port);
        put_place(to, &SIZES, &one.size);
        to.push(one.socket);
        put_optional(to, one.interface, Vec::push);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self {
            port: from.port()?,
            size: from.one_of(SIZES)?,
            socket: from.byte()?,
            interface: from.optional(Reader::byte)?,
        })
    }
}

impl Sent {
    pub(super) fn put(to: &mut Vec<u8>, one: Self) {
        put_place(to, &PROTOCOLS, &one.protocol);
        put_port(to, one.port);
        put_place(to, &SIZES, &one.size);
        to.push(one.attempts);
        one.ending.put(to);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self {
            protocol: from.one_of(PROTOCOLS)?,
            port: from.port()?,
            size: from.one_of(SIZES)?,
            attempts: from.byte()?,
            ending: Ending::take(from)?,
        })
    }
}
