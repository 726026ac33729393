//! The bodies of messages, and how they are written and read.

use std::net::IpAddr;

use super::{key::Nonce, wire::Refused};
use crate::model::{Port, Protocol};

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

/// What a probe says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The port it was sent to.
    pub port: Port,
    /// How large it is.
    pub size: Size,
    /// The how manieth it is, from 0.
    pub attempt: u8,
    /// The address that the sender sees as its own.
    pub source: IpAddr,
    /// The address that it was sent to.
    pub destination: IpAddr,
}

/// How large a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 128 bytes.
    Small,
    /// As large as the sender's interface allows, not to be fragmented.
    Full,
}

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

/// How sending ended, as far as the sender can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "ending")]
pub enum Ending {
    /// Nothing was heard.
    Silence,
    /// TCP: connected; by hostlet's own answer, or the real service's handshake.
    Reached {
        /// Hostlet answered.
        proved: bool,
    },
    /// TCP: connected to somebody who did not give hostlet's answer.
    Impostor,
    /// TCP: reset.
    Reset,
    /// An ICMP message, or the kernel's own word where there is no address.
    Icmp {
        /// Its meaning.
        meaning: Icmp,
        /// Who sent it.
        by: Option<IpAddr>,
    },
    /// ICMP: too large for the next hop.
    TooLarge {
        /// What it carries.
        mtu: u16,
        /// Who said so; none: this host.
        by: Option<IpAddr>,
    },
    /// This host's own firewall refused to send.
    NotPermitted,
    /// No answer to ARP or neighbour discovery.
    NoNeighbour,
}

/// What an ICMP message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Icmp {
    /// Nobody listens, or a rule says so.
    PortUnreachable,
    /// A rule forbids it.
    Prohibited,
    /// No route.
    NoRoute,
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

/// Takes bytes off a slice; never beyond its end.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Refused::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Refused> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u16, Refused> {
        self.array().map(u16::from_be_bytes)
    }

    fn port(&mut self) -> Result<Port, Refused> {
        let number = self.number()?;
        if number == 0 { Err(Refused::Malformed) } else { Ok(Port::known(number)) }
    }

    fn ip(&mut self) -> Result<IpAddr, Refused> {
        match self.byte()? {
            4 => self.array::<4>().map(IpAddr::from),
            6 => self.array::<16>().map(IpAddr::from),
            _ => Err(Refused::Malformed),
        }
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<Option<T>, Refused> {
        Ok(if self.one_of([false, true])? { Some(read(self)?) } else { None })
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Refused>) -> Result<Vec<T>, Refused> {
        let count = usize::from(self.byte()?);
        if count > MOST {
            return Err(Refused::Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// One of a few values, by its place among them.
    fn one_of<T, const N: usize>(&mut self, values: [T; N]) -> Result<T, Refused> {
        let place = usize::from(self.byte()?);
        values.into_iter().nth(place).ok_or(Refused::Malformed)
    }
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const SIZES: [Size; 2] = [Size::Small, Size::Full];
const HOWS: [How; 3] = [How::Bound, How::Taken, How::Blind];
const MEANINGS: [Icmp; 3] = [Icmp::PortUnreachable, Icmp::Prohibited, Icmp::NoRoute];
const FIREWALLS: [Firewall; 4] = [Firewall::Firewalld, Firewall::Ufw, Firewall::Nftables, Firewall::Iptables];

fn put_place<T: PartialEq>(to: &mut Vec<u8>, values: &[T], value: &T) {
    let place = values.iter().position(|other| other == value).unwrap_or_default();
    to.push(u8::try_from(place).unwrap_or_default());
}

fn put_port(to: &mut Vec<u8>, port: Port) {
    to.extend(port.number().to_be_bytes());
}

fn put_ip(to: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            to.push(4);
            to.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            to.push(6);
            to.extend(v6.octets());
        }
    }
}

fn put_optional<T>(to: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    to.push(value.is_some().into());
    if let Some(value) = value {
        put(to, value);
    }
}

/// The first entries, as many as a reader takes.
fn put_list<T: Copy>(to: &mut Vec<u8>, values: &[T], put: impl Fn(&mut Vec<u8>, T)) {
    let count = values.len().min(MOST);
    to.push(u8::try_from(count).unwrap_or_default());
    for value in &values[..count] {
        put(to, *value);
    }
}

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

impl Listening {
    fn put(to: &mut Vec<u8>, one: Self) {
        put_place(to, &PROTOCOLS, &one.protocol);
        put_port(to, one.port);
        put_place(to, &HOWS, &one.how);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self { protocol: from.one_of(PROTOCOLS)?, port: from.port()?, how: from.one_of(HOWS)? })
    }
}

impl Arrived {
    fn put(to: &mut Vec<u8>, one: Self) {
        put_port(to, one.port);
        put_place(to, &SIZES, &one.size);
        to.push(one.socket);
        put_optional(to, one.interface, Vec::push);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self {
            port: from.port()?,
            size: from.one_of(SIZES)?,
            socket: from.byte()?,
            interface: from.optional(Reader::byte)?,
        })
    }
}

impl Sent {
    fn put(to: &mut Vec<u8>, one: Self) {
        put_place(to, &PROTOCOLS, &one.protocol);
        put_port(to, one.port);
        put_place(to, &SIZES, &one.size);
        to.push(one.attempts);
        one.ending.put(to);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(Self {
            protocol: from.one_of(PROTOCOLS)?,
            port: from.port()?,
            size: from.one_of(SIZES)?,
            attempts: from.byte()?,
            ending: Ending::take(from)?,
        })
    }
}

impl Ending {
    fn put(self, to: &mut Vec<u8>) {
        match self {
            Self::Silence => to.push(0),
            Self::Reached { proved } => to.extend([1, proved.into()]),
            Self::Impostor => to.push(2),
            Self::Reset => to.push(3),
            Self::Icmp { meaning, by } => {
                to.push(4);
                put_place(to, &MEANINGS, &meaning);
                put_optional(to, by, put_ip);
            }
            Self::TooLarge { mtu, by } => {
                to.push(5);
                to.extend(mtu.to_be_bytes());
                put_optional(to, by, put_ip);
            }
            Self::NotPermitted => to.push(6),
            Self::NoNeighbour => to.push(7),
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(match from.byte()? {
            0 => Self::Silence,
            1 => Self::Reached { proved: from.one_of([false, true])? },
            2 => Self::Impostor,
            3 => Self::Reset,
            4 => Self::Icmp { meaning: from.one_of(MEANINGS)?, by: from.optional(Reader::ip)? },
            5 => Self::TooLarge { mtu: from.number()?, by: from.optional(Reader::ip)? },
            6 => Self::NotPermitted,
            7 => Self::NoNeighbour,
            _ => return Err(Refused::Malformed),
        })
    }
}

impl Probe {
    fn put(&self, to: &mut Vec<u8>) {
        put_port(to, self.port);
        put_place(to, &SIZES, &self.size);
        to.push(self.attempt);
        put_ip(to, self.source);
        put_ip(to, self.destination);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        let (port, size, attempt) = (from.port()?, from.one_of(SIZES)?, from.byte()?);
        // A bit of a byte stands for each attempt.
        if attempt > 7 {
            return Err(Refused::Malformed);
        }
        Ok(Self { port, size, attempt, source: from.ip()?, destination: from.ip()? })
    }
}
