//! What one node sends in a session, and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    body::{Arrived, Body, Ending, How, Sent, Size},
    key::{Key, NodeId, Nonce},
    ledger::Ledger,
    pulse::{self, Allowance, Pulse},
    requirement::Requirement,
    wire::{Frame, Message},
};
use crate::model::{Port, Protocol};

/// The sender, receiver and run of every message of a session.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) key: Key,
    pub(super) session: Nonce,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
}

impl Envelope {
    pub(super) fn seal(&self, body: Body, size: usize) -> Vec<u8> {
        Message { session: self.session, from: self.from, to: self.to, body }.to_bytes(&self.key, size)
    }

    /// What the other one says in this session.
    pub(super) fn open(&self, bytes: &[u8]) -> Option<Body> {
        let message = Message::parse(bytes, &self.key).ok()?;
        let ours = message.session == self.session && message.from == self.to && message.to == self.from;
        ours.then_some(message.body)
    }
}

impl Envelope {
    /// The version that the other one says it speaks instead of this one.
    pub(super) fn other_version(&self, bytes: &[u8]) -> Option<u8> {
        let frame = Frame::parse(bytes, &self.key).ok().filter(Frame::is_other_version)?;
        let ours = frame.session == self.session && frame.from == self.to && frame.to == self.from;
        ours.then_some(frame.version)
    }
}

/// Whether nothing more can come of a connection: on a port that hostlet bound, hostlet's own answer is still awaited.
pub(super) fn is_final(ending: Ending, how: Option<How>) -> bool {
    match ending {
        Ending::Reached { proved } => proved || how != Some(How::Bound),
        Ending::Impostor => true,
        _ => false,
    }
}

/// A port to be probed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) requirement: Requirement,
    /// How the other one listens there.
    pub(super) how: Option<How>,
}

impl Target {
    /// Its probes' sizes.
    pub(super) const fn sizes(self) -> &'static [Size] {
        match self.requirement.protocol {
            Protocol::Tcp => &[Size::Small],
            Protocol::Udp => &[Size::Small, Size::Full],
        }
    }
}

/// All probes of one node in one session.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) envelope: Envelope,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What the interface of the source carries.
    pub(super) mtu: u32,
    pub(super) targets: Vec<Target>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) allowance: Allowance,
    /// Tells whether connections left this host; none where that cannot be seen.
    ledger: Option<Arc<Ledger>>,
    state: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    sent: BTreeMap<(Protocol, Port, Size), (u8, Ending)>,
    confirmed: BTreeSet<(Port, Size)>,
}

impl Outgoing {
    pub(super) fn new(
        envelope: Envelope,
        (source, destination): (IpAddr, IpAddr),
        mtu: u32,
        targets: Vec<Target>,
        pulse: &Arc<Pulse>,
        ledger: Option<Arc<Ledger>>,
    ) -> Self {
        let (pulse, allowance) = (Arc::clone(pulse), Allowance::new(pulse));
        Self { envelope, source, destination, mtu, targets, pulse, allowance, ledger, state: Mutex::default() }
    }

    /// Whether connections to this port were begun and none of them left this host.
    pub(super) fn is_held_back(&self, port: Port) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| !ledger.has_left(&self.envelope.session, port))
    }

    /// How much longer it may take since one of the ends did not get to run.
    pub(super) fn allowed(&self) -> Duration {
        self.allowance.of(&self.pulse)
    }

    /// More was missed than is waited for: silence then proves nothing.
    pub(super) fn is_hopeless(&self) -> bool {
        self.allowed() >= pulse::MOST
    }

    /// What this end missed.
    pub(super) fn late(&self) -> u16 {
        self.allowance.ours(&self.pulse)
    }

    fn state(&self) -> MutexGuard<'_, Progress> {
        // What is in it is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more was sent.
    pub(super) fn attempted(&self, requirement: Requirement, size: Size) {
        let mut state = self.state();
        let (attempts, _) = state.sent.entry((requirement.protocol, requirement.port, size)).or_insert((0, Ending::Silence));
        *attempts = attempts.saturating_add(1);
    }

    /// This was heard. Reaching it counts more than anything, and the first refusal more than later ones.
    pub(super) fn heard(&self, requirement: Requirement, size: Size, ending: Ending) {
        let mut state = self.state();
        let (_, last) = state.sent.entry((requirement.protocol, requirement.port, size)).or_insert((0, Ending::Silence));
        let replaces = match *last {
            Ending::Silence => true,
            Ending::Reached { proved: true } => false,
            Ending::Reached { proved: false } => matches!(ending, Ending::Reached { .. } | Ending::Impostor),
            _ => matches!(ending, Ending::Reached { .. }),
        };
        if replaces {
            *last = ending;
        }
    }

    /// A message of ICMP's came back for it.
    pub(super) fn is_rejected(&self, requirement: Requirement, size: Size) -> bool {
        matches!(self.ending(requirement, size).1, Ending::Icmp { by: Some(_), .. })
    }

    pub(super) fn ending(&self, requirement: Requirement, size: Size) -> (u8, Ending) {
        let sent = self.state().sent.get(&(requirement.protocol, requirement.port, size)).copied();
        sent.unwrap_or((0, Ending::Silence))
    }

    /// The receiver has seen these.
    pub(super) fn confirm(&self, arrived: &[Arrived]) {
        // A SYN that arrived is no connection.
        let seen =
            arrived.iter().filter(|one| one.protocol == Protocol::Udp && one.socket != 0).map(|one| (one.port, one.size));
        self.state().confirmed.extend(seen);
    }

    pub(super) fn is_confirmed(&self, port: Port, size: Size) -> bool {
        self.state().confirmed.contains(&(port, size))
    }

    /// Nothing more can be learnt.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.state();
        self.targets.iter().all(|target| {
            let Requirement { protocol, port, .. } = target.requirement;
            target.sizes().iter().all(|size| match protocol {
                Protocol::Udp => state.confirmed.contains(&(port, *size)),
                Protocol::Tcp => {
                    state.sent.get(&(protocol, port, *size)).is_some_and(|(_, ending)| is_final(*ending, target.how))
                }
            })
        })
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        let state = self.state();
        let sent = state.sent.iter();
        sent.map(|((protocol, port, size), (attempts, ending))| Sent {
            protocol: *protocol,
            port: *port,
            size: *size,
            attempts: *attempts,
            ending: *ending,
        })
        .collect()
    }
}
