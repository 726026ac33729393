//! What arrived, by session. One for the whole process: datagrams come in where they do, and sessions ask for theirs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    body::{Arrived, Probe, Size},
    key::{NodeId, Nonce},
};
use crate::model::Port;

/// Where a probe was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Socket,
    Interface,
}

#[derive(Debug)]
struct Entry {
    peer: NodeId,
    /// At the socket and at the interface, a bit for each attempt.
    seen: BTreeMap<(Port, Size), (u8, u8)>,
}

/// Receipts. Bounded: each session has at most as many entries as its node has ports, twice.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<Nonce, Entry>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<Nonce, Entry>> {
        // What is in it is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects probes of this session from this peer, on these ports.
    pub(super) fn open(&self, session: Nonce, peer: NodeId, ports: impl Iterator<Item = Port>) {
        let seen = ports.flat_map(|port| [Size::Small, Size::Full].map(|size| ((port, size), (0, 0)))).collect();
        self.lock().entry(session).or_insert(Entry { peer, seen });
    }

    /// Expects no more of them.
    pub(super) fn close(&self, session: &Nonce) {
        self.lock().remove(session);
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
        };
        *bits |= 1_u8.checked_shl(probe.attempt.into()).unwrap_or_default();
        true
    }

    /// What came in this session; `interface` says whether one can see there.
    pub(super) fn arrived(&self, session: &Nonce, interface: bool) -> Vec<Arrived> {
        let sessions = self.lock();
        let seen = sessions.get(session).into_iter().flat_map(|entry| &entry.seen);
        seen.map(|((port, size), (socket, at))| Arrived {
            port: *port,
            size: *size,
            socket: *socket,
            interface: interface.then_some(*at),
        })
        .collect()
    }
}
