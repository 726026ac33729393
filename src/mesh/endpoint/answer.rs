//! What is read of what comes in, and what is answered.

use std::{
    net::IpAddr,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    shared::{Shared, lock},
    visit::Visit,
};
use crate::mesh::{
    body::{Body, How, Listening},
    key::Nonce,
    ledger::Place,
    receivers,
    requirement::{Family, Node},
    sender,
    session::{Envelope, Outgoing},
    wire::{self, Message, Refused},
};
use crate::model::Protocol;

/// A session of which nothing is heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// A port that was opened for a session of which nothing is heard for so long is closed: who asks does so all the time.
const SILENT: Duration = Duration::from_secs(2);

/// A cookie is good for this long, at the least.
const COOKIE: Duration = Duration::from_secs(30);

/// The peer may vanish.
async fn close_when_silent(shared: Weak<Shared>, session: Nonce) {
    loop {
        tokio::time::sleep(SILENT / 4).await;
        let Some(shared) = shared.upgrade() else { return };
        let visits = lock(&shared.visits);
        if visits.get(&session).is_none_or(|visit| visit.done || visit.heard.elapsed() > SILENT) {
            shared.doors.close(&session);
            return;
        }
    }
}

impl Shared {
    /// Reads a message that is for this node, from where it says; anything else is counted.
    fn read(&self, bytes: &[u8], from: IpAddr) -> Option<(Message, usize)> {
        if !self.is_listed(from) {
            self.counters.stranger();
            return None;
        }
        let message = match Message::parse(bytes, &self.identity.key) {
            Ok(message) => message,
            Err(Refused::Forged | Refused::Malformed | Refused::NotOurs | Refused::Version(_)) => {
                self.counters.forged.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let peer = self.by_id.get(&message.from).copied().filter(|_| message.to == self.id);
        let Some(peer) = peer.filter(|peer| self.by_address.get(&from) == Some(peer)) else {
            self.counters.misplaced.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.spoke(message.from);
        Some((message, peer))
    }

    /// What somebody says who is to be answered in the same session.
    pub(in crate::mesh) fn open(&self, bytes: &[u8], from: IpAddr) -> Option<(Envelope, Body)> {
        let (message, peer) = self.read(bytes, from)?;
        self.may_answer(peer).then(|| (self.envelope(message.session, message.from), message.body))
    }

    fn may_answer(&self, peer: usize) -> bool {
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        let (all, each) = &mut *buckets;
        let may = each.get_mut(peer).is_some_and(|bucket| bucket.take(now)) && all.take(now);
        if !may {
            self.counters.too_many.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// A datagram came to a port that is probed; whether it was one that was expected.
    pub(in crate::mesh) fn probed(&self, from: Option<IpAddr>, port: u16, datagram: &[u8], place: Place) -> bool {
        let bytes = wire::without_vxlan(datagram);
        // A raw socket for IPv6 does not tell whose it is; the signature does.
        let Ok(message) = Message::parse(bytes, &self.identity.key) else {
            if place == Place::Socket {
                self.counters.forged.fetch_add(1, Ordering::Relaxed);
            }
            return false;
        };
        let Body::Probe(probe) = message.body else {
            // Where a responder of this host answers, this is how a process that asks hears of peers.
            let is_peers = message.to == self.id && self.by_id.contains_key(&message.from);
            if place == Place::Socket && is_peers {
                lock(&self.heard).insert(message.from);
            }
            return is_peers;
        };
        let right = message.to == self.id && probe.port.number() == port && from.is_none_or(|from| from == probe.source);
        let expected = right && self.ledger.record(&message.session, message.from, &probe, place);
        if expected {
            self.spoke(message.from);
        } else if place == Place::Socket {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        expected
    }

    /// The answer to a control message, if it is to be answered.
    pub(super) fn answer(self: &Arc<Self>, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        let (message, peer) = self.read(bytes, from)?;
        if !self.may_answer(peer) {
            return None;
        }
        let body = self.reply(&message, peer, from);
        if body.is_none() && !matches!(message.body, Body::Done { .. }) {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        let answer = self.envelope(message.session, message.from).seal(body?, 0);
        (answer.len() <= bytes.len()).then_some(answer)
    }

    fn reply(self: &Arc<Self>, message: &Message, peer: usize, from: IpAddr) -> Option<Body> {
        let now = self.epoch();
        let good =
            |cookie: &Nonce| [now, now.wrapping_sub(1)].iter().any(|epoch| *cookie == self.cookie(message, from, *epoch));
        match &message.body {
            Body::Hello => Some(Body::Challenge { cookie: self.cookie(message, from, now) }),
            Body::Arm { cookie, listening } if good(cookie) => self.arm(message, peer, from, listening),
            Body::Ask { cookie, arrived, late } if good(cookie) => {
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(|visit| visit.peer == peer)?;
                visit.heard = Instant::now();
                visit.outgoing.confirm(arrived);
                visit.outgoing.allowance.heard(*late);
                Some(Body::Tell {
                    arrived: self.ledger.arrived(&message.session, self.sees_interface(visit.family)),
                    sent: visit.outgoing.sent(),
                    needs_you: self.host_needs(&message.from),
                    late: visit.outgoing.late(),
                })
            }
            Body::Done { cookie } if good(cookie) => {
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(|visit| visit.peer == peer)?;
                visit.done = true;
                visit.probing.abort();
                self.doors.close(&message.session);
                None
            }
            _ => None,
        }
    }

    fn epoch(&self) -> u64 {
        self.started.elapsed().as_secs() / COOKIE.as_secs()
    }

    /// Needs no memory of who said hello.
    fn cookie(&self, message: &Message, from: IpAddr, epoch: u64) -> Nonce {
        let address = from.to_string();
        let pieces: [&[u8]; 5] = [&self.secret, &message.session, &message.from, address.as_bytes(), &epoch.to_be_bytes()];
        let signature = self.identity.key.sign(&pieces);
        let mut cookie = Nonce::default();
        cookie.copy_from_slice(&signature[..16]);
        cookie
    }

    /// Opens a port that nobody holds, where the peer needs it.
    fn open_door(self: &Arc<Self>, session: Nonce, peer: &Node, at: IpAddr, listening: Listening) -> Listening {
        let Listening { protocol, port, .. } = listening;
        let needed = || self.identity.rules.between(peer, &self.identity.this);
        let may_open = protocol == Protocol::Tcp && self.opened_for_sessions.contains(&port);
        if !(may_open && needed().iter().any(|one| (one.protocol, one.port) == (protocol, port))) {
            return listening;
        }
        let answer = |listener| tokio::spawn(receivers::accept(Arc::clone(self), listener, port)).abort_handle();
        if !self.doors.open(session, (at, port.number()).into(), answer) {
            return listening;
        }
        tokio::spawn(close_when_silent(Arc::downgrade(self), session));
        Listening { how: How::Bound, ..listening }
    }

    /// Begins a session, or goes on with it: the question may come twice.
    fn arm(self: &Arc<Self>, message: &Message, peer: usize, from: IpAddr, theirs: &[Listening]) -> Option<Body> {
        let family = Family::of(from);
        let source = self.identity.this.address(family)?;
        let mut visits = lock(&self.visits);
        // A peer has one session in each family: a new one means that it started again.
        visits.retain(|session, visit| {
            let keep = *session == message.session
                || !(visit.heard.elapsed() > FORGOTTEN || (visit.peer == peer && visit.family == family));
            if !keep {
                self.ledger.close(session);
                self.doors.close(session);
            }
            keep
        });
        let visit = visits.entry(message.session).or_insert_with(|| {
            let envelope = self.envelope(message.session, message.from);
            let node = &self.identity.peers[peer];
            let targets = self.targets(node, family, theirs);
            self.expect(message.session, node, family);
            let outgoing = Arc::new(Outgoing::new(envelope, (source, from), self.mtu(source), targets, &self.pulse));
            let probing = tokio::spawn(sender::send(Arc::clone(&outgoing))).abort_handle();
            Visit { peer, family, outgoing, probing, heard: Instant::now(), done: false }
        });
        visit.heard = Instant::now();
        let listening = self.listening(family).into_iter();
        Some(Body::Armed {
            listening: listening.map(|one| self.open_door(message.session, &self.identity.peers[peer], source, one)).collect(),
            firewall: self.firewall,
            needs_you: self.host_needs(&message.from),
        })
    }
}
