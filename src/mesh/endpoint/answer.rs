//! What is read of what comes in, and what is answered.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    members::Index,
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
    session::Envelope,
    wire::{self, Frame, Message, Refused},
};
/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A member, from an address of its own.
    Member(Index),
    /// Somebody with the key who is not known yet, or who says anew who he is.
    Newcomer,
}

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
    fn read(&self, bytes: &[u8], from: IpAddr) -> Option<(Message, Sender)> {
        let place = self.members.at(from);
        let message = match Message::parse(bytes, &self.identity.key) {
            Ok(message) => message,
            Err(Refused::Forged | Refused::Malformed | Refused::NotOurs | Refused::Version(_)) => {
                let counter = if place.is_some() { &self.counters.forged } else { &self.counters.strangers };
                counter.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let sender = match (self.members.of(message.from), place) {
            _ if message.to != self.id => None,
            (Some(peer), Some(at)) if peer == at => Some(Sender::Member(peer)),
            (None, None) if self.members.open => Some(Sender::Newcomer),
            // What a newcomer's Arm says of itself may be new.
            (Some(_), None) if self.members.open && matches!(message.body, Body::Arm { .. }) => Some(Sender::Newcomer),
            (Some(_), _) => {
                lock(&self.translated).insert(message.from, from);
                None
            }
            (None, _) => None,
        };
        let Some(sender) = sender else {
            self.counters.misplaced.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.spoke(message.from);
        Some((message, sender))
    }

    /// What somebody says who is to be answered in the same session.
    pub(in crate::mesh) fn open(&self, bytes: &[u8], from: IpAddr) -> Option<(Envelope, Body)> {
        let (message, sender) = self.read(bytes, from)?;
        self.may_answer(sender).then(|| (self.envelope(message.session, message.from), message.body))
    }

    /// All newcomers together are answered as often as one peer.
    fn may_answer(&self, sender: Sender) -> bool {
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        let (all, each) = &mut *buckets;
        let place = match sender {
            Sender::Member(peer) => peer,
            Sender::Newcomer => self.members.most(),
        };
        let may = each.get_mut(place).is_some_and(|bucket| bucket.take(now)) && all.take(now);
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
            let is_peers = message.to == self.id && self.members.of(message.from).is_some();
            if place == Place::Socket && is_peers {
                lock(&self.heard).insert(message.from);
            }
            return is_peers;
        };
        let ours = message.to == self.id && probe.port.number() == port;
        let from_there = from.is_none_or(|from| from == probe.source);
        if !from_there && ours && self.ledger.is_open(&message.session, message.from) {
            lock(&self.translated).extend(from.map(|from| (message.from, from)));
        }
        let expected = ours && from_there && self.ledger.record(&message.session, message.from, &probe, place);
        if expected {
            self.spoke(message.from);
        } else if place == Place::Socket {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        expected
    }

    /// The answer to a control message, if it is to be answered.
    pub(super) fn answer(self: &Arc<Self>, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        if let Some(answer) = self.answer_to_other_version(bytes, from) {
            return Some(answer);
        }
        let (message, sender) = self.read(bytes, from)?;
        if !self.may_answer(sender) {
            return None;
        }
        let body = self.reply(&message, sender, from);
        if body.is_none() && !matches!(message.body, Body::Done { .. }) {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        let answer = self.envelope(message.session, message.from).seal(body?, 0);
        (answer.len() <= bytes.len()).then_some(answer)
    }

    /// Tells a peer that says hello in another version which one this is. Only what the peer signed is answered so, and
    /// never such an answer itself.
    fn answer_to_other_version(&self, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        let frame = Frame::parse(bytes, &self.identity.key).ok().filter(Frame::is_foreign_hello)?;
        let peer = self.members.of(frame.from).filter(|peer| self.members.at(from) == Some(*peer) && frame.to == self.id)?;
        let answer = self.envelope(frame.session, frame.from).seal(Body::OtherVersion, 0);
        (answer.len() <= bytes.len() && self.may_answer(Sender::Member(peer))).then_some(answer)
    }

    fn reply(self: &Arc<Self>, message: &Message, sender: Sender, from: IpAddr) -> Option<Body> {
        let now = self.epoch();
        let good =
            |cookie: &Nonce| [now, now.wrapping_sub(1)].iter().any(|epoch| *cookie == self.cookie(message, from, *epoch));
        let is_visitor = |visit: &&mut Visit| Sender::Member(visit.peer) == sender;
        match &message.body {
            Body::Hello => Some(Body::Challenge { cookie: self.cookie(message, from, now) }),
            Body::Arm { cookie, joiner, listening } if good(cookie) => {
                let peer = self.place_of(message, sender, joiner, from)?;
                self.arm(message, peer, from, listening)
            }
            Body::Ask { cookie, arrived, late, translated } if good(cookie) => {
                if let Some(ip) = translated {
                    lock(&self.seen_as).insert(message.from, *ip);
                }
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(is_visitor)?;
                visit.heard = Instant::now();
                visit.outgoing.confirm(arrived);
                visit.outgoing.allowance.heard(*late);
                Some(Body::Tell {
                    arrived: self.ledger.arrived(&message.session, self.eyes().of(visit.family)),
                    sent: visit.outgoing.sent(),
                    needs_you: self.host_needs(message.from),
                    late: visit.outgoing.late(),
                })
            }
            Body::Done { cookie } if good(cookie) => {
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(is_visitor)?;
                visit.done = true;
                visit.probing.abort();
                self.doors.close(&message.session);
                None
            }
            _ => None,
        }
    }

    /// A newcomer is who signed, and speaks from an address of its own.
    fn place_of(&self, message: &Message, sender: Sender, joiner: &Node, from: IpAddr) -> Option<Index> {
        match sender {
            Sender::Member(peer) => Some(peer),
            Sender::Newcomer => {
                let itself = self.id_of(joiner) == message.from && joiner.addresses.iter().any(|address| address.ip() == from);
                itself.then(|| self.members.admit(joiner, message.from)).flatten()
            }
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
        let may_open = self.opened_for_sessions.contains(&(protocol, port));
        if !(may_open && needed().iter().any(|one| (one.protocol, one.port) == (protocol, port))) {
            return listening;
        }
        let address = SocketAddr::from((at, port.number()));
        let bind = || receivers::open_for_a_while(self, address, protocol, port);
        if !self.doors.open(session, (protocol, address), bind) {
            return listening;
        }
        tokio::spawn(close_when_silent(Arc::downgrade(self), session));
        Listening { how: How::Bound, ..listening }
    }

    /// Begins a session, or goes on with it: the question may come twice.
    fn arm(self: &Arc<Self>, message: &Message, peer: usize, from: IpAddr, theirs: &[Listening]) -> Option<Body> {
        let family = Family::of(from);
        let node = self.members.node(peer)?;
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
            let targets = self.targets(&node, family, theirs);
            self.expect(message.session, &node, family);
            let outgoing = Arc::new(self.outgoing(envelope, (source, from), targets));
            let probing = tokio::spawn(sender::send(Arc::clone(&outgoing))).abort_handle();
            Visit { peer, family, outgoing, probing, heard: Instant::now(), done: false }
        });
        visit.heard = Instant::now();
        // Should something be dropped, the joiner asks once more how this one filters.
        let looking = Arc::clone(self);
        tokio::spawn(async move { looking.look_at_firewall().await });
        let listening = self.listening(family).into_iter();
        Some(Body::Armed {
            listening: listening.map(|one| self.open_door(message.session, &node, source, one)).collect(),
            firewall: self.firewall(),
            needs_you: self.host_needs(message.from),
        })
    }
}
