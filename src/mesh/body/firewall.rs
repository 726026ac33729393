//! What filters packets on a node, as far as it matters for the command that lets a port through.

use std::fmt;

use serde::{Serialize, Serializer};

use super::codec::{Reader, put_list, put_place, put_text};
use crate::mesh::wire::Refused;

/// What filters packets on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// Nothing that was found.
    None,
    /// firewalld.
    Firewalld,
    /// ufw.
    Ufw,
    /// Rules of nftables; these chains, three at most, drop or reject packets to the node itself.
    Nftables(Vec<Chain>),
    /// Rules of iptables, kept in nftables or (`legacy`) in the kernel's older tables.
    Iptables {
        /// The older tables.
        legacy: bool,
    },
}

/// A chain of nftables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Which packets its table is for.
    pub family: ChainFamily,
    /// Its table.
    pub table: Identifier,
    /// Its name.
    pub name: Identifier,
}

/// Which packets a table of nftables is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFamily {
    /// Both.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A name in nftables' language that stands there without quotes, of 1 to 40 bytes: it becomes part of a command that
/// somebody else is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(String);

/// More chains are in no message.
pub(in crate::mesh) const MOST_CHAINS: usize = 3;

impl Identifier {
    /// None for other names.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c));
        (first && rest && name.len() <= 40).then(|| Self(name.to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            ChainFamily::Inet => "inet",
            ChainFamily::Ip => "ip",
            ChainFamily::Ip6 => "ip6",
        };
        write!(f, "{family} {} {}", self.table.as_str(), self.name.as_str())
    }
}

impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Firewalld => f.write_str("firewalld"),
            Self::Ufw => f.write_str("ufw"),
            Self::Nftables(chains) if chains.is_empty() => f.write_str("nftables"),
            Self::Nftables(chains) => {
                let chains: Vec<_> = chains.iter().map(ToString::to_string).collect();
                write!(f, "nftables ({})", chains.join(", "))
            }
            Self::Iptables { legacy: false } => f.write_str("iptables"),
            Self::Iptables { legacy: true } => f.write_str("iptables-legacy"),
        }
    }
}

impl Serialize for Firewall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const FAMILIES: [ChainFamily; 3] = [ChainFamily::Inet, ChainFamily::Ip, ChainFamily::Ip6];

impl Firewall {
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::None => to.push(0),
            Self::Firewalld => to.push(1),
            Self::Ufw => to.push(2),
            Self::Nftables(chains) => {
                to.push(3);
                put_list(to, &chains[..chains.len().min(MOST_CHAINS)], |to, chain| {
                    put_place(to, &FAMILIES, &chain.family);
                    put_text(to, chain.table.as_str());
                    put_text(to, chain.name.as_str());
                });
            }
            Self::Iptables { legacy: false } => to.push(4),
            Self::Iptables { legacy: true } => to.push(5),
        }
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        Ok(match from.byte()? {
            0 => Self::None,
            1 => Self::Firewalld,
            2 => Self::Ufw,
            3 => {
                let chains = from.list(|from| {
                    let family = from.one_of(FAMILIES)?;
                    let mut identifier = || Identifier::new(from.text()?).ok_or(Refused::Malformed);
                    Ok(Chain { family, table: identifier()?, name: identifier()? })
                })?;
                if chains.len() > MOST_CHAINS {
                    return Err(Refused::Malformed);
                }
                Self::Nftables(chains)
            }
            4 => Self::Iptables { legacy: false },
            5 => Self::Iptables { legacy: true },
            _ => return Err(Refused::Malformed),
        })
    }
}
