//! How sending ended, as far as the sender can tell.

use std::net::IpAddr;

use super::codec::{Reader, put_ip, put_optional, put_place};
use crate::mesh::wire::Refused;

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

const MEANINGS: [Icmp; 3] = [Icmp::PortUnreachable, Icmp::Prohibited, Icmp::NoRoute];

impl Ending {
    pub(super) fn put(self, to: &mut Vec<u8>) {
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

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
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
