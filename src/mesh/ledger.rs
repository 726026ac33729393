//! What arrived, by session. One for the whole process: datagrams come in where they do, and sessions ask for theirs.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    num::NonZeroU16,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    body::{Arrived, Probe, Size},
    key::{NodeId, Nonce},
    receivers::Seeing,
};
use crate::model::{Port, Protocol};

/// Where a probe was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Socket,
    Interface,
    /// A packet of this host's own, on its way out.
    Leaving,
}

/// What may come in a session, and from whom.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) peer: NodeId,
    pub(super) address: IpAddr,
    /// Ports of UDP here.
    pub(super) datagrams: Vec<Port>,
    /// Ports of TCP here.
    pub(super) connections: Vec<Port>,
    /// Ports of TCP there.
    pub(super) leaving: Vec<Port>,
}

#[derive(Debug)]
struct Entry {
    peer: NodeId,
    address: IpAddr,
    /// At the socket and at the interface, a bit for each attempt.
    seen: BTreeMap<(Port, Size), (u8, u8)>,
    connections: BTreeMap<Port, Syns>,
    leaving: BTreeMap<Port, Ports>,
}

/// The ports that connections come from: behind the firewall, and before it.
#[derive(Debug, Default)]
struct Syns {
    socket: Ports,
    interface: Ports,
}

/// A few ports; more connections than are counted tell nothing new.
#[derive(Debug, Default)]
struct Ports(Vec<u16>);

impl Ports {
    fn add(&mut self, port: u16) {
        if self.0.len() < 8 && !self.0.contains(&port) {
            self.0.push(port);
        }
    }

    /// A bit for each.
    fn bits(&self) -> u8 {
        u8::try_from((1_u16 << self.0.len()) - 1).unwrap_or(u8::MAX)
    }
}

/// A packet that begins a connection: the peer's address, the port of whoever listens and that of whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syn {
    pub(super) peer: IpAddr,
    pub(super) to: u16,
    pub(super) from: u16,
}

/// Receipts. Bounded: each session has at most as many entries as its node has ports, twice.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<Nonce, Entry>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<Nonce, Entry>> {
        // What is in it is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects this in this session.
    pub(super) fn open(&self, session: Nonce, expected: Expected) {
        let Expected { peer, address, datagrams, connections, leaving } = expected;
        let datagrams = datagrams.into_iter();
        let seen = datagrams.flat_map(|port| [Size::Small, Size::Full].map(|size| ((port, size), (0, 0)))).collect();
        let connections = connections.into_iter().map(|port| (port, Syns::default())).collect();
        let leaving = leaving.into_iter().map(|port| (port, Ports::default())).collect();
        self.lock().entry(session).or_insert(Entry { peer, address, seen, connections, leaving });
    }

    /// Expects no more of them.
    pub(super) fn close(&self, session: &Nonce) {
        self.lock().remove(session);
    }

    /// Whether this peer has this session.
    pub(super) fn is_open(&self, session: &Nonce, peer: NodeId) -> bool {
        self.lock().get(session).is_some_and(|entry| entry.peer == peer)
    }

    /// Whether it was expected.
    pub(super) fn record(&self, session: &Nonce, peer: NodeId, probe: &Probe, place: Place) -> bool {
        let mut sessions = self.lock();
        let entry = sessions.get_mut(session).filter(|entry| entry.peer == peer);
        let Some((socket, interface)) = entry.and_then(|entry| entry.seen.get_mut(&(probe.port, probe.size))) else {
            return false;
        };
        let bits = match place {
            Place::Socket => socket,
            Place::Interface => interface,
            Place::Leaving => return false,
        };
        *bits |= 1_u8.checked_shl(probe.attempt.into()).unwrap_or_default();
        true
    }

    /// A connection begins. It is not signed: it counts for every session of that peer's that waits for it, and proves no
    /// port; it only tells where a connection was lost that did not come about.
    pub(super) fn record_syn(&self, syn: Syn, place: Place) {
        let Some(port) = NonZeroU16::new(syn.to).map(|port| Port::known(port.get())) else { return };
        let mut sessions = self.lock();
        for entry in sessions.values_mut().filter(|entry| entry.address == syn.peer) {
            let ports = match place {
                Place::Leaving => entry.leaving.get_mut(&port),
                Place::Socket => entry.connections.get_mut(&port).map(|syns| &mut syns.socket),
                Place::Interface => entry.connections.get_mut(&port).map(|syns| &mut syns.interface),
            };
            if let Some(ports) = ports {
                ports.add(syn.from);
            }
        }
    }

    /// Whether connections to this port of the peer's left this host.
    pub(super) fn has_left(&self, session: &Nonce, port: Port) -> bool {
        let sessions = self.lock();
        sessions.get(session).and_then(|entry| entry.leaving.get(&port)).is_none_or(|ports| !ports.0.is_empty())
    }

    /// What came in this session, as far as this node can see it.
    pub(super) fn arrived(&self, session: &Nonce, eyes: Seeing) -> Vec<Arrived> {
        let sessions = self.lock();
        let Some(entry) = sessions.get(session) else { return Vec::new() };
        let datagrams = entry.seen.iter().map(|((port, size), (socket, at))| Arrived {
            protocol: Protocol::Udp,
            port: *port,
            size: *size,
            socket: *socket,
            interface: eyes.datagrams.then_some(*at),
        });
        let connections = entry.connections.iter().filter(|_| eyes.connections).map(|(port, syns)| Arrived {
            protocol: Protocol::Tcp,
            port: *port,
            size: Size::Small,
            socket: syns.socket.bits(),
            interface: Some(syns.interface.bits()),
        });
        datagrams.chain(connections).collect()
    }
}
