//! What a node says of its end of the probes: how it listens, what arrived, and what became of its own.

use super::{
    codec::{Reader, put_place, put_port},
    ending::Ending,
    probe::Size,
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
    /// TCP or UDP: of TCP it is the SYNs, each connection's once.
    pub protocol: Protocol,
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
const PROTOCOL: u8 = 1;
const FULL: u8 = 2;
const SEEN_BEFORE: u8 = 4;

/// Protocol and size in one byte: a message must hold all of them.
const fn marks(protocol: Protocol, size: Size) -> u8 {
    let udp = if matches!(protocol, Protocol::Udp) { PROTOCOL } else { 0 };
    udp | if matches!(size, Size::Full) { FULL } else { 0 }
}

const fn protocol(marks: u8) -> Protocol {
    if marks & PROTOCOL == 0 { Protocol::Tcp } else { Protocol::Udp }
}

const fn size(marks: u8) -> Size {
    if marks & FULL == 0 { Size::Small } else { Size::Full }
}

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
        to.push(marks(one.protocol, one.size) | if one.interface.is_some() { SEEN_BEFORE } else { 0 });
        put_port(to, one.port);
        to.push(one.socket);
        to.extend(one.interface);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        let marks = from.byte()?;
        if marks > PROTOCOL | FULL | SEEN_BEFORE {
            return Err(Refused::Malformed);
        }
        let (port, socket) = (from.port()?, from.byte()?);
        let interface = if marks & SEEN_BEFORE == 0 { None } else { Some(from.byte()?) };
        Ok(Self { protocol: protocol(marks), port, size: size(marks), socket, interface })
    }
}

impl Sent {
    pub(super) fn put(to: &mut Vec<u8>, one: Self) {
        to.push(marks(one.protocol, one.size));
        put_port(to, one.port);
        to.push(one.attempts);
        one.ending.put(to);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        let marks = from.byte()?;
        if marks > PROTOCOL | FULL {
            return Err(Refused::Malformed);
        }
        let (port, attempts) = (from.port()?, from.byte()?);
        Ok(Self { protocol: protocol(marks), port, size: size(marks), attempts, ending: Ending::take(from)? })
    }
}
