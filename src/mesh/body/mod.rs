//! The bodies of messages, and how they are written and read.

mod codec;
mod ending;
mod probe;
mod receipt;

use super::{key::Nonce, wire::Refused};
use crate::model::Port;

pub(super) use codec::Reader;
use codec::{put_list, put_place, put_port};
pub use ending::{Ending, Icmp};
pub use probe::{Probe, Size};
pub use receipt::{Arrived, How, Listening, Sent};

/// More entries than this are in no list of a message.
pub const MOST: usize = 40;

/// What a message says. Who starts is the joiner, whoever it is; the other one is its peer in this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Joiner: are you there?
    Hello,
    /// Peer: repeat this, so that I know that you are where you say.
    Challenge {
        /// Good for this session and address, for a while.
        cookie: Nonce,
    },
    /// Joiner: I listen so; probe me, and expect my probes.
    Arm {
        /// From the challenge.
        cookie: Nonce,
        /// How the joiner listens on what its peer must reach.
        listening: Vec<Listening>,
    },
    /// Peer: I do, and I listen so.
    Armed {
        /// How the peer listens on what the joiner must reach.
        listening: Vec<Listening>,
        /// What filters packets on the peer.
        firewall: Firewall,
        /// The peer is in a preflight of its own, and needs answers from the joiner.
        needs_you: bool,
    },
    /// Joiner: this came from you; what came from me?
    Ask {
        /// From the challenge.
        cookie: Nonce,
        /// What arrived at the joiner.
        arrived: Vec<Arrived>,
        /// Milliseconds of this session in which the joiner did not get to run.
        late: u16,
    },
    /// Peer: this.
    Tell {
        /// What arrived at the peer.
        arrived: Vec<Arrived>,
        /// What became of the peer's own probes, as far as the peer knows.
        sent: Vec<Sent>,
        /// The peer still needs answers from the joiner.
        needs_you: bool,
        /// Milliseconds of this session in which the peer did not get to run.
        late: u16,
    },
    /// A datagram that proves that a port can be reached.
    Probe(Probe),
    /// Over TCP: are you the node that I think, on this port?
    Dial {
        /// The port that was dialled.
        port: Port,
        /// Signed in the answer.
        nonce: Nonce,
    },
    /// Over TCP: I am.
    Answer {
        /// The port that was dialled.
        port: Port,
        /// From the question.
        nonce: Nonce,
    },
    /// Joiner: I need nothing more of you.
    Done {
        /// From the challenge.
        cookie: Nonce,
    },
}

/// What filters packets on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// firewalld.
    Firewalld,
    /// ufw.
    Ufw,
    /// Rules of nftables.
    Nftables,
    /// Rules of iptables.
    Iptables,
}

const FIREWALLS: [Firewall; 4] = [Firewall::Firewalld, Firewall::Ufw, Firewall::Nftables, Firewall::Iptables];

impl Body {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Challenge { .. } => 2,
            Self::Arm { .. } => 3,
            Self::Armed { .. } => 4,
            Self::Ask { .. } => 5,
            Self::Tell { .. } => 6,
            Self::Probe(_) => 7,
            Self::Dial { .. } => 8,
            Self::Answer { .. } => 9,
            Self::Done { .. } => 10,
        }
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Hello => {}
            Self::Challenge { cookie } | Self::Done { cookie } => to.extend(cookie),
            Self::Arm { cookie, listening } => {
                to.extend(cookie);
                put_list(to, listening, Listening::put);
            }
            Self::Armed { listening, firewall, needs_you } => {
                put_list(to, listening, Listening::put);
                put_place(to, &FIREWALLS, firewall);
                to.push((*needs_you).into());
            }
            Self::Ask { cookie, arrived, late } => {
                to.extend(cookie);
                put_list(to, arrived, Arrived::put);
                to.extend(late.to_be_bytes());
            }
            Self::Tell { arrived, sent, needs_you, late } => {
                put_list(to, arrived, Arrived::put);
                put_list(to, sent, Sent::put);
                to.push((*needs_you).into());
                to.extend(late.to_be_bytes());
            }
            Self::Probe(probe) => probe.put(to),
            Self::Dial { port, nonce } | Self::Answer { port, nonce } => {
                put_port(to, *port);
                to.extend(nonce);
            }
        }
    }

    pub(super) fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(match kind {
            1 => Self::Hello,
            2 => Self::Challenge { cookie: from.array()? },
            3 => Self::Arm { cookie: from.array()?, listening: from.list(Listening::take)? },
            4 => Self::Armed {
                listening: from.list(Listening::take)?,
                firewall: from.one_of(FIREWALLS)?,
                needs_you: from.one_of([false, true])?,
            },
            5 => Self::Ask { cookie: from.array()?, arrived: from.list(Arrived::take)?, late: from.number()? },
            6 => Self::Tell {
                arrived: from.list(Arrived::take)?,
                sent: from.list(Sent::take)?,
                needs_you: from.one_of([false, true])?,
                late: from.number()?,
            },
            7 => Self::Probe(Probe::take(from)?),
            8 => Self::Dial { port: from.port()?, nonce: from.array()? },
            9 => Self::Answer { port: from.port()?, nonce: from.array()? },
            10 => Self::Done { cookie: from.array()? },
            _ => return Err(Refused::Malformed),
        })
    }
}
