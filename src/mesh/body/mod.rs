//! The bodies of messages, and how they are written and read.

mod codec;
mod ending;
mod firewall;
mod introduction;
mod probe;
mod receipt;

use std::net::IpAddr;

use super::{key::Nonce, requirement::Node, wire::Refused};
use crate::model::Port;

pub(super) use codec::Reader;
use codec::{put_ip, put_list, put_optional, put_port};
pub use ending::{Ending, Icmp};
pub(super) use firewall::MOST_CHAINS;
pub use firewall::{Chain, ChainFamily, Firewall, Identifier};
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
        /// Who it is, for a peer whose list does not have it yet.
        joiner: Node,
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
        /// Another address than the peer's, from which messages came that the peer signed.
        translated: Option<IpAddr>,
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
    /// Peer: you speak another version of this format than I do; mine is the one that this message has.
    OtherVersion,
}

/// What [`Body::Hello`] is called, in every version.
pub(super) const HELLO: u8 = 1;

/// What [`Body::OtherVersion`] is called, in every version.
pub(super) const OTHER_VERSION: u8 = 11;

impl Body {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Hello => HELLO,
            Self::Challenge { .. } => 2,
            Self::Arm { .. } => 3,
            Self::Armed { .. } => 4,
            Self::Ask { .. } => 5,
            Self::Tell { .. } => 6,
            Self::Probe(_) => 7,
            Self::Dial { .. } => 8,
            Self::Answer { .. } => 9,
            Self::Done { .. } => 10,
            Self::OtherVersion => OTHER_VERSION,
        }
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Hello | Self::OtherVersion => {}
            Self::Challenge { cookie } | Self::Done { cookie } => to.extend(cookie),
            Self::Arm { cookie, joiner, listening } => {
                to.extend(cookie);
                joiner.put(to);
                put_list(to, listening, |to, one| Listening::put(to, *one));
            }
            Self::Armed { listening, firewall, needs_you } => {
                put_list(to, listening, |to, one| Listening::put(to, *one));
                firewall.put(to);
                to.push((*needs_you).into());
            }
            Self::Ask { cookie, arrived, late, translated } => {
                to.extend(cookie);
                put_list(to, arrived, |to, one| Arrived::put(to, *one));
                to.extend(late.to_be_bytes());
                put_optional(to, *translated, put_ip);
            }
            Self::Tell { arrived, sent, needs_you, late } => {
                put_list(to, arrived, |to, one| Arrived::put(to, *one));
                put_list(to, sent, |to, one| Sent::put(to, *one));
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
            HELLO => Self::Hello,
            2 => Self::Challenge { cookie: from.array()? },
            3 => Self::Arm { cookie: from.array()?, joiner: Node::take(from)?, listening: from.list(Listening::take)? },
            4 => Self::Armed {
                listening: from.list(Listening::take)?,
                firewall: Firewall::take(from)?,
                needs_you: from.one_of([false, true])?,
            },
            5 => Self::Ask {
                cookie: from.array()?,
                arrived: from.list(Arrived::take)?,
                late: from.number()?,
                translated: from.optional(Reader::ip)?,
            },
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
            OTHER_VERSION => Self::OtherVersion,
            _ => return Err(Refused::Malformed),
        })
    }
}
