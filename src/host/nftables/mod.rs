//! What nf_tables holds in this network namespace: tables, the chains that hooks lead to, and how many rules each table has.
//!
//! Promise: asks only, and only a kernel that has nf_tables already: asking another one would load the module. Gap: of a rule
//! only its end is read, so that what exactly a chain lets through is not known.

mod rule;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable,
    NlasIterator,
};
use nix::sys::socket::SockProtocol;

use super::{
    kernel::{self, Module},
    netlink,
};

/// Which packets a table is for (linux/netfilter.h, NFPROTO_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Both families of addresses.
    Inet,
    /// IPv4
    Ip,
    /// IPv6
    Ip6,
    /// Bridges, devices, ARP.
    Other(u8),
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which packets it is for.
    pub family: Family,
    /// `filter`
    pub name: String,
    /// How many rules its chains have.
    pub rules: usize,
}

/// A chain that a hook leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Which packets its table is for.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Packets to this host's own sockets come through it.
    pub is_input: bool,
    /// What no rule decided on is dropped.
    pub drops: bool,
    /// A rule in it, or in a chain that it leads to, drops or rejects.
    pub refuses: bool,
}

/// Everything that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// All tables.
    pub tables: Vec<Table>,
    /// All chains that hooks lead to.
    pub chains: Vec<Chain>,
}

/// linux/netfilter/nf_tables.h: what is asked for.
const GET_TABLE: u8 = 1;
const GET_CHAIN: u8 = 4;
const GET_RULE: u8 = 7;
/// linux/netfilter/nfnetlink.h
const NFTABLES: u16 = 10;
/// linux/netfilter.h: NF_INET_LOCAL_IN, NF_DROP.
const LOCAL_IN: u32 = 1;
const DROP: u32 = 0;

/// Looks; nothing where the kernel has no nf_tables now.
pub fn look() -> io::Result<Ruleset> {
    if kernel::module("nf_tables", "NF_TABLES").map_err(io::Error::other)? != Module::Present {
        return Ok(Ruleset::default());
    }
    let mut rules: BTreeMap<(Family, String), usize> = BTreeMap::new();
    let mut ends: Ends = BTreeMap::new();
    for message in dump(GET_RULE)? {
        // NFTA_RULE_TABLE and _CHAIN
        let (Some(table), Some(chain)) = (message.text(1), message.text(2)) else { continue };
        ends.entry((message.family, table.clone(), chain)).or_default().extend(rule::ends(&message));
        *rules.entry((message.family, table)).or_default() += 1;
    }
    let table = |message: &Message| {
        let name = message.text(1)?;
        let rules = rules.get(&(message.family, name.clone())).copied().unwrap_or_default();
        Some(Table { family: message.family, name, rules })
    };
    Ok(Ruleset {
        tables: dump(GET_TABLE)?.iter().filter_map(table).collect(),
        chains: dump(GET_CHAIN)?.iter().filter_map(|message| chain(message, &ends)).collect(),
    })
}

/// NFTA_CHAIN_TABLE, _NAME, _HOOK with NFTA_HOOK_HOOKNUM in it, and _POLICY.
fn chain(message: &Message, ends: &Ends) -> Option<Chain> {
    let hook = number(&attribute(message.attribute(4)?, 1)?)?;
    let (table, name) = (message.text(1)?, message.text(3)?);
    Some(Chain {
        family: message.family,
        refuses: refuses(message.family, &table, &name, ends),
        table,
        name,
        is_input: hook == LOCAL_IN && !matches!(message.family, Family::Other(_)),
        drops: message.attribute(5).and_then(|policy| number(&policy)) == Some(DROP),
    })
}

/// What the rules of each chain end in.
type Ends = BTreeMap<(Family, String, String), Vec<rule::End>>;

/// Whether a rule refuses in a chain or in one that is reached from it.
fn refuses(family: Family, table: &str, chain: &str, ends: &Ends) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![chain]);
    while let Some(chain) = next.pop() {
        if !seen.insert(chain) {
            continue;
        }
        for end in ends.get(&(family, table.to_owned(), chain.to_owned())).into_iter().flatten() {
            match end {
                rule::End::Refuses => return true,
                rule::End::GoesTo(other) => next.push(other),
            }
        }
    }
    false
}

/// One answer: its family, and its attributes as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    kind: u16,
    family: Family,
    attributes: Vec<u8>,
}

impl Message {
    fn attribute(&self, kind: u16) -> Option<Vec<u8>> {
        attribute(self.attributes.clone(), kind)
    }

    fn text(&self, kind: u16) -> Option<String> {
        let value = self.attribute(kind)?;
        Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(&value)).into_owned())
    }
}

fn attribute(attributes: impl AsRef<[u8]>, kind: u16) -> Option<Vec<u8>> {
    let mut all = NlasIterator::new(attributes.as_ref()).map_while(Result::ok);
    all.find(|attribute| attribute.kind() == kind).map(|attribute| attribute.value().to_vec())
}

/// Numbers are in network byte order here.
fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// struct nfgenmsg: family, version, and two bytes that mean nothing in a dump.
const HEAD: usize = 4;

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEAD
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..HEAD].fill(0);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let (head, attributes) = payload.split_at_checked(HEAD).ok_or_else(|| DecodeError::from("too short for nfgenmsg"))?;
        let family = match head[0] {
            1 => Family::Inet,
            2 => Family::Ip,
            10 => Family::Ip6,
            other => Family::Other(other),
        };
        Ok(Self { kind: header.message_type, family, attributes: attributes.to_vec() })
    }
}

fn dump(question: u8) -> io::Result<Vec<Message>> {
    let question = Message { kind: NFTABLES << 8 | u16::from(question), family: Family::Other(0), attributes: Vec::new() };
    netlink::ask(SockProtocol::NetlinkNetFilter, question, NLM_F_REQUEST | NLM_F_DUMP)
}

impl From<Message> for NetlinkPayload<Message> {
    fn from(message: Message) -> Self {
        Self::InnerMessage(message)
    }
}
