//! What all parts of a node share, and what they ask of it.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Purpose, counters::Counters, identity::Identity, visit::Visit};
use crate::{
    host::links,
    mesh::{
        body::{Firewall, Listening},
        bucket::Bucket,
        doors::Doors,
        key::{self, NodeId, Nonce},
        ledger::Ledger,
        presence::Presence,
        pulse::Pulse,
        requirement::{Family, Node, Requirement, Service},
        session::{Envelope, Target},
    },
    model::{Port, Protocol},
};

/// What all parts of a node share.
#[derive(Debug)]
pub(in crate::mesh) struct Shared {
    pub(in crate::mesh) identity: Identity,
    pub(in crate::mesh) ledger: Ledger,
    pub(in crate::mesh) counters: Counters,
    pub(in crate::mesh) pulse: Arc<Pulse>,
    pub(in crate::mesh) firewall: Firewall,
    pub(super) id: NodeId,
    pub(super) by_id: HashMap<NodeId, usize>,
    pub(super) by_address: HashMap<IpAddr, usize>,
    /// The TCP ports that are opened for a session; empty where all are open anyway.
    pub(super) opened_for_sessions: Vec<Port>,
    pub(super) doors: Doors,
    /// Another process of this host may be asking.
    is_responder: bool,
    listening: Vec<(Family, Listening)>,
    interfaces_seen: Vec<Family>,
    mtus: HashMap<IpAddr, u32>,
    pub(super) visits: Mutex<HashMap<Nonce, Visit>>,
    pub(super) buckets: Mutex<(Bucket, Vec<Bucket>)>,
    /// Peers that this node still needs answers from, and peers that spoke to it.
    pub(super) needed: Mutex<HashSet<NodeId>>,
    pub(super) heard: Mutex<HashSet<NodeId>>,
    /// When the last of them spoke.
    pub(super) last_heard: Mutex<Instant>,
    /// Peers that need answers from this node, and when they said so.
    pub(super) needed_by: Mutex<HashMap<NodeId, Instant>>,
    pub(super) secret: Nonce,
    pub(super) started: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A responder opens what nobody holds. On an installed node the kubelet's port is the kubelet's, which may start at any moment.
fn opened_for_sessions(identity: &Identity, purpose: &Purpose) -> Vec<Port> {
    let is_installed = match purpose {
        Purpose::Prove => return Vec::new(),
        Purpose::Answer { sockets } => !sockets.is_empty(),
    };
    let needed = identity.rules.received_by(&identity.this, &identity.peers).into_iter();
    let needed = needed.filter(|one| one.protocol == Protocol::Tcp && !(is_installed && one.service == Service::Kubelet));
    needed.map(|one| one.port).collect()
}

impl Shared {
    pub(super) fn new(
        identity: Identity,
        purpose: &Purpose,
        listening: Vec<(Family, Listening)>,
        interfaces_seen: Vec<Family>,
        firewall: Firewall,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let peers = || identity.peers.iter().enumerate();
        let by_id = peers().map(|(index, peer)| (identity.key.id(&peer.name), index)).collect();
        let by_address =
            peers().flat_map(|(index, peer)| peer.addresses.iter().map(move |address| (address.ip(), index))).collect();
        let links = links::links()?;
        let mtu = |index| links.iter().find(|link| link.index == index).map_or(1500, |link| link.mtu);
        let mtus = links::addresses()?.into_iter().map(|address| (address.ip, mtu(address.link))).collect();
        // A session takes some twenty answers a second.
        let buckets = (Bucket::new(20_000, 10_000, now), vec![Bucket::new(200, 100, now); identity.peers.len()]);
        Ok(Self {
            id: identity.key.id(&identity.this.name),
            by_id,
            by_address,
            opened_for_sessions: opened_for_sessions(&identity, purpose),
            doors: Doors::default(),
            is_responder: matches!(purpose, Purpose::Answer { .. }),
            listening,
            interfaces_seen,
            mtus,
            firewall,
            ledger: Ledger::default(),
            counters: Counters::default(),
            pulse: Arc::default(),
            visits: Mutex::default(),
            buckets: Mutex::new(buckets),
            needed: Mutex::default(),
            heard: Mutex::default(),
            last_heard: Mutex::new(now),
            needed_by: Mutex::default(),
            secret: key::nonce()?,
            started: now,
            identity,
        })
    }

    /// Whether it is an address of a peer's.
    pub(in crate::mesh) fn is_listed(&self, ip: IpAddr) -> bool {
        self.by_address.contains_key(&ip)
    }

    pub(in crate::mesh) fn id_of(&self, peer: &Node) -> NodeId {
        self.identity.key.id(&peer.name)
    }

    pub(in crate::mesh) fn envelope(&self, session: Nonce, to: NodeId) -> Envelope {
        Envelope { key: self.identity.key.clone(), session, from: self.id, to }
    }

    pub(in crate::mesh) fn mtu(&self, source: IpAddr) -> u32 {
        self.mtus.get(&source).copied().unwrap_or(1500)
    }

    pub(in crate::mesh) fn sees_interface(&self, family: Family) -> bool {
        self.interfaces_seen.contains(&family)
    }

    /// How this node listens.
    pub(in crate::mesh) fn listening(&self, family: Family) -> Vec<Listening> {
        self.listening.iter().filter(|(one, _)| *one == family).map(|(_, listening)| *listening).collect()
    }

    /// This node needs answers from the peer, or needs them no more.
    pub(in crate::mesh) fn needs(&self, peer: NodeId, needs: bool) {
        let mut needed = lock(&self.needed);
        if needs {
            needed.insert(peer)
        } else {
            needed.remove(&peer)
        };
    }

    /// Whether this node still needs answers from the peer.
    pub(in crate::mesh) fn is_needed(&self, peer: &Node) -> bool {
        lock(&self.needed).contains(&self.id_of(peer))
    }

    /// The same of all that ask on this host: another process may be in the middle of its preflight.
    pub(super) fn host_needs(&self, peer: &NodeId) -> bool {
        lock(&self.needed).contains(peer) || (self.is_responder && Presence::is_announced(self.identity.port))
    }

    /// The peer spoke to this node.
    pub(super) fn spoke(&self, peer: NodeId) {
        lock(&self.heard).insert(peer);
        *lock(&self.last_heard) = Instant::now();
    }

    /// The peer needs answers from this node, or no more.
    pub(in crate::mesh) fn needed_by(&self, peer: NodeId, needs: bool) {
        let mut needed_by = lock(&self.needed_by);
        if needs {
            needed_by.insert(peer, Instant::now())
        } else {
            needed_by.remove(&peer)
        };
    }

    /// Whether a peer is in the middle of a session with this node, or said that it will begin one; but not if it has been
    /// silent for so long.
    pub(super) fn is_needed_by_others(&self, silent: Duration) -> bool {
        let visits = lock(&self.visits);
        let visited = |id: &NodeId| {
            let peer = self.by_id.get(id);
            visits.values().any(|visit| visit.done && Some(&visit.peer) == peer)
        };
        visits.values().any(|visit| !visit.done && visit.heard.elapsed() < silent)
            || lock(&self.needed_by).iter().any(|(id, said)| said.elapsed() < silent && !visited(id))
    }

    /// Whether the peer's messages come here.
    pub(in crate::mesh) fn was_heard(&self, peer: NodeId) -> bool {
        lock(&self.heard).contains(&peer)
    }

    /// What this node must reach on the peer in this family, and how the peer listens there.
    pub(in crate::mesh) fn targets(&self, peer: &Node, family: Family, listening: &[Listening]) -> Vec<Target> {
        let needed = self.identity.rules.between(&self.identity.this, peer).into_iter();
        let needed = needed.filter(|requirement| requirement.family == family);
        let how = |requirement: &Requirement| {
            let found = listening.iter().find(|one| (one.protocol, one.port) == (requirement.protocol, requirement.port));
            found.map(|one| one.how)
        };
        needed.map(|requirement| Target { requirement, how: how(&requirement) }).collect()
    }

    /// Expects the peer's probes in this session.
    pub(in crate::mesh) fn expect(&self, session: Nonce, peer: &Node, family: Family) {
        let needed = self.identity.rules.between(peer, &self.identity.this).into_iter();
        let ports = needed.filter(|one| one.family == family && one.protocol == Protocol::Udp).map(|one| one.port);
        self.ledger.open(session, self.id_of(peer), ports);
    }
}
