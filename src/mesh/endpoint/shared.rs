//! What all parts of a node share, and what they ask of it.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Purpose, counters::Counters, identity::Identity, members::Members, visit::Visit};
use crate::{
    host::{detached, links},
    mesh::{
        body::{Firewall, Listening},
        bucket::Bucket,
        doors::Doors,
        firewall,
        key::{self, NodeId, Nonce},
        ledger::{Expected, Ledger},
        presence::Presence,
        pulse::Pulse,
        receivers::Eyes,
        requirement::{Family, Node, Requirement, Service},
        session::{Envelope, Outgoing, Target},
    },
    model::{Port, Protocol},
};

/// What all parts of a node share.
#[derive(Debug)]
pub(in crate::mesh) struct Shared {
    pub(in crate::mesh) identity: Identity,
    pub(in crate::mesh) ledger: Arc<Ledger>,
    pub(in crate::mesh) counters: Counters,
    pub(in crate::mesh) pulse: Arc<Pulse>,
    pub(super) members: Members,
    /// What filters packets here, when it was last looked, and when that was.
    pub(super) firewall: Mutex<(Firewall, Instant)>,
    pub(super) id: NodeId,
    /// The ports that are opened for a session; empty where all are open anyway.
    pub(super) opened_for_sessions: Vec<(Protocol, Port)>,
    pub(super) doors: Doors,
    /// Another process of this host may be asking.
    is_responder: bool,
    eyes: Eyes,
    listening: Vec<(Family, Listening)>,
    /// What each link carries, by the kernel's number for it, and which link has which address.
    mtus: HashMap<u32, u32>,
    links_of: HashMap<IpAddr, u32>,
    pub(super) visits: Mutex<HashMap<Nonce, Visit>>,
    pub(super) buckets: Mutex<(Bucket, Vec<Bucket>)>,
    /// Peers that this node still needs answers from, and peers that spoke to it.
    pub(super) needed: Mutex<HashSet<NodeId>>,
    pub(super) heard: Mutex<HashSet<NodeId>>,
    /// When the last of them spoke.
    pub(super) last_heard: Mutex<Instant>,
    /// Members whose messages came from addresses that are not theirs, and from which ones.
    pub(super) translated: Mutex<HashMap<NodeId, IpAddr>>,
    /// Peers that said the same of this node.
    pub(super) seen_as: Mutex<HashMap<NodeId, IpAddr>>,
    /// Peers that need answers from this node, and when they said so.
    pub(super) needed_by: Mutex<HashMap<NodeId, Instant>>,
    pub(super) secret: Nonce,
    pub(super) started: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A responder opens what nobody holds. On an installed node the kubelet and flannel may start at any moment.
fn opened_for_sessions(identity: &Identity, purpose: &Purpose) -> Vec<(Protocol, Port)> {
    let is_installed = match purpose {
        Purpose::Prove => return Vec::new(),
        Purpose::Answer { sockets } => !sockets.is_empty(),
    };
    let needed = identity.received().into_iter();
    let is_ours = |service| matches!(service, Service::Kubelet | Service::Overlay);
    needed.filter(|one| !(is_installed && is_ours(one.service))).map(|one| (one.protocol, one.port)).collect()
}

impl Shared {
    pub(super) fn new(
        identity: Identity,
        purpose: &Purpose,
        listening: Vec<(Family, Listening)>,
        eyes: Eyes,
        firewall: Firewall,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let members = Members::new(&identity.peers, &identity.key, identity.newcomers);
        let mtus = links::links()?.into_iter().map(|link| (link.index, link.mtu)).collect();
        let links_of = links::addresses()?.into_iter().map(|address| (address.ip, address.link)).collect();
        // A session takes some twenty answers a second.
        let buckets = (Bucket::new(20_000, 10_000, now), vec![Bucket::new(200, 100, now); members.most() + 1]);
        Ok(Self {
            id: identity.key.id(&identity.this.name),
            members,
            opened_for_sessions: opened_for_sessions(&identity, purpose),
            doors: Doors::default(),
            is_responder: matches!(purpose, Purpose::Answer { .. }),
            listening,
            eyes,
            mtus,
            links_of,
            firewall: Mutex::new((firewall, now)),
            ledger: Arc::default(),
            counters: Counters::default(),
            pulse: Arc::default(),
            visits: Mutex::default(),
            buckets: Mutex::new(buckets),
            needed: Mutex::default(),
            heard: Mutex::default(),
            last_heard: Mutex::new(now),
            translated: Mutex::default(),
            seen_as: Mutex::default(),
            needed_by: Mutex::default(),
            secret: key::nonce()?,
            started: now,
            identity,
        })
    }

    /// Whether somebody there may be answered, should he sign what he says.
    pub(in crate::mesh) fn may_speak(&self, ip: IpAddr) -> bool {
        self.members.open || self.members.at(ip).is_some()
    }

    /// Another address than the peer's, from which its messages came here.
    pub(in crate::mesh) fn translated(&self, peer: NodeId) -> Option<IpAddr> {
        lock(&self.translated).get(&peer).copied()
    }

    /// Another address than this node's, from which its messages came to the peer, as the peer says.
    pub(in crate::mesh) fn seen_as(&self, peer: NodeId) -> Option<IpAddr> {
        lock(&self.seen_as).get(&peer).copied()
    }

    /// All probes of one session.
    pub(in crate::mesh) fn outgoing(&self, envelope: Envelope, between: (IpAddr, IpAddr), targets: Vec<Target>) -> Outgoing {
        let sees_leaving = self.eyes.of(Family::of(between.0)).leaving;
        let ledger = sees_leaving.then(|| Arc::clone(&self.ledger));
        Outgoing::new(envelope, between, self.mtu(between), targets, &self.pulse, ledger)
    }

    /// What filters packets here.
    pub(in crate::mesh) fn firewall(&self) -> Firewall {
        lock(&self.firewall).0.clone()
    }

    /// Looks again what filters packets here, if that was not a moment ago: rules may have come since.
    pub(in crate::mesh) async fn look_at_firewall(&self) {
        const RECENT: Duration = Duration::from_millis(100);
        {
            let mut looked = lock(&self.firewall);
            if looked.1.elapsed() < RECENT {
                return;
            }
            // Fifty peers that come at once make one look.
            looked.1 = Instant::now();
        }
        if let Ok(found) = detached::run("mesh-firewall", firewall::active).await {
            lock(&self.firewall).0 = found;
        }
    }

    pub(in crate::mesh) fn id_of(&self, peer: &Node) -> NodeId {
        self.identity.key.id(&peer.name)
    }

    pub(in crate::mesh) fn envelope(&self, session: Nonce, to: NodeId) -> Envelope {
        Envelope { key: self.identity.key.clone(), session, from: self.id, to }
    }

    /// What the link carries by which packets leave. A node's address may be on the loopback, which carries more.
    fn mtu(&self, (source, destination): (IpAddr, IpAddr)) -> u32 {
        let leaves = links::way_out(source, destination).ok().flatten();
        let link = leaves.or_else(|| self.links_of.get(&source).copied());
        link.and_then(|link| self.mtus.get(&link).copied()).unwrap_or(1500)
    }

    pub(in crate::mesh) const fn eyes(&self) -> Eyes {
        self.eyes
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
    pub(super) fn host_needs(&self, peer: NodeId) -> bool {
        lock(&self.needed).contains(&peer) || (self.is_responder && Presence::is_announced(self.identity.port))
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
            let peer = self.members.of(*id);
            visits.values().any(|visit| visit.done && Some(visit.peer) == peer)
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
        let Some(address) = peer.address(family) else { return };
        let there = self.identity.rules.between(&self.identity.this, peer);
        let here = self.identity.rules.between(peer, &self.identity.this);
        let ports = |needed: Vec<Requirement>, protocol| {
            let fits = move |one: &Requirement| one.family == family && one.protocol == protocol;
            needed.into_iter().filter(fits).map(|one| one.port).collect()
        };
        self.ledger.open(
            session,
            Expected {
                peer: self.id_of(peer),
                address,
                datagrams: ports(here.clone(), Protocol::Udp),
                connections: ports(here, Protocol::Tcp),
                leaving: ports(there, Protocol::Tcp),
            },
        );
    }
}
