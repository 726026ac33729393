//! What was found of every pair, and how that amounts to a whole.

mod words;

use std::{net::IpAddr, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    requirement::{Family, Node},
    roster::Roster,
    sample::Sampled,
    verdict::{Status, Verdict},
};
use crate::config::Role;

/// How far it came with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// It answered, and all was tried.
    Proved,
    /// Nobody answers to ARP for its address.
    Down {
        /// Where packets to it leave, if that is not where this node's address is.
        #[serde(skip_serializing_if = "Option::is_none")]
        way_out: Option<WayOut>,
    },
    /// It answers over one address family, and over this one it does not.
    OneFamily {
        /// The family in which nothing is answered.
        family: Family,
        /// Its address of that family.
        to: IpAddr,
        /// Why, as far as can be told.
        reason: String,
    },
    /// Its messages come here, and those to it get no answer.
    OneWay {
        /// The control port.
        port: u16,
    },
    /// This node has no route to its address.
    NoRoute {
        /// The address.
        to: IpAddr,
        /// What it has instead.
        route: Unroutable,
    },
    /// Its services run, and no responder.
    NoResponder {
        /// The control port.
        port: u16,
    },
    /// Its host answers that nobody listens.
    NotStarted {
        /// The control port.
        port: u16,
    },
    /// It speaks another version of the messages.
    OtherVersion {
        /// Its version.
        theirs: u8,
        /// This node's.
        ours: u8,
    },
    /// Messages between the two come from another address than their sender's.
    Translated {
        /// That address.
        seen: IpAddr,
        /// Whether it is this node's messages.
        this: bool,
    },
    /// Nothing was heard of it.
    Silent {
        /// Of what.
        reason: String,
        /// Where packets to it leave, if that is not where this node's address is.
        #[serde(skip_serializing_if = "Option::is_none")]
        way_out: Option<WayOut>,
    },
}

/// What this node's routes and rules say of an address to which it can send nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unroutable {
    /// Nothing.
    Missing,
    /// That it is unreachable.
    Unreachable,
    /// That packets to it are thrown away.
    Blackhole,
    /// That nobody may send there.
    Prohibited,
}

/// Packets leave by another link than the one that has this node's address, as rules of routing may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WayOut {
    /// By which link they leave.
    pub link: String,
    /// Which link has the address.
    pub address_at: String,
    /// This node's address.
    pub from: IpAddr,
    /// The peer's.
    pub to: IpAddr,
}

/// This node and one peer.
#[derive(Debug, Clone)]
pub struct PairReport {
    /// The peer.
    pub peer: Node,
    /// Whether it must have been probed.
    pub waited_for: bool,
    /// How far it came.
    pub state: State,
    /// One for each port, direction and size.
    pub verdicts: Vec<Verdict>,
}

impl Serialize for PairReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_struct("pair", 5)?;
        pair.serialize_field("peer", &self.peer.name)?;
        pair.serialize_field("role", if self.peer.role == Role::Worker { "worker" } else { "control-plane" })?;
        pair.serialize_field("waited-for", &self.waited_for)?;
        pair.serialize_field("progress", &self.state)?;
        pair.serialize_field("verdicts", &self.verdicts)?;
        pair.end()
    }
}

/// All pairs of this node.
#[derive(Debug, Clone)]
pub struct MeshReport {
    /// This node.
    pub this: Node,
    /// One for each peer.
    pub pairs: Vec<PairReport>,
    /// From the first question to the last verdict, waiting included.
    pub duration: Duration,
    /// Peers that the configuration does not name.
    pub roster: Roster,
    /// Where not every pair is probed.
    pub sampled: Option<Sampled>,
}

impl Serialize for MeshReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut mesh = serializer.serialize_struct("mesh", 5)?;
        mesh.serialize_field("node", &self.this.name)?;
        mesh.serialize_field("duration-ms", &u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX))?;
        if self.roster.source.is_some() {
            mesh.serialize_field("peers-from", &self.roster)?;
        } else {
            mesh.skip_field("peers-from")?;
        }
        mesh.serialize_field("sampled", &self.sampled)?;
        mesh.serialize_field("pairs", &self.pairs)?;
        mesh.end()
    }
}

/// How the whole ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Everything was proved.
    Pass,
    /// So was all that is waited for.
    SomePending,
    /// Something could not be found out.
    Unknown,
    /// Something cannot be reached.
    Failed,
}

impl State {
    /// Rather than that the peer is waited for.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self, Self::OneWay { .. } | Self::NoRoute { .. } | Self::Translated { .. } | Self::OneFamily { .. })
    }

    /// The same of a peer that answers over another family.
    pub(super) fn beside_another(self, family: Family, to: IpAddr) -> Self {
        let of = |way_out: Option<WayOut>| way_out.map_or_else(String::new, |way| format!("; {way}"));
        let reason = match self {
            Self::Down { way_out } => format!("no answer to ARP or neighbour discovery{}", of(way_out)),
            Self::NoResponder { port } => format!("its services can be reached, and udp/{port} and tcp/{port} do not answer"),
            Self::NotStarted { port } => format!("udp/{port} is refused, as where nobody listens or a rule rejects"),
            // Its messages may have come over the other family.
            Self::OneWay { port } => format!("no answer from udp/{port} and tcp/{port}"),
            Self::Silent { reason, way_out } => format!("{reason}{}", of(way_out)),
            other => return other,
        };
        Self::OneFamily { family, to, reason }
    }
}

impl PairReport {
    /// How it ended with this peer.
    #[must_use]
    pub fn ended(&self) -> Ended {
        let any = |status| self.verdicts.iter().any(|verdict| verdict.status == status);
        if any(Status::Fail) || self.state.is_failure() {
            Ended::Failed
        } else if self.state != State::Proved {
            if self.waited_for { Ended::Unknown } else { Ended::SomePending }
        } else if any(Status::Unverified) {
            Ended::Unknown
        } else {
            Ended::Pass
        }
    }
}

impl MeshReport {
    pub(super) fn new(this: Node, mut pairs: Vec<PairReport>, duration: Duration) -> Self {
        pairs.sort_by(|one, other| (other.ended(), &one.peer.name).cmp(&(one.ended(), &other.peer.name)));
        Self { this, pairs, duration, roster: Roster::default(), sampled: None }
    }

    pub(super) fn of(self, roster: Roster, sampled: Option<Sampled>) -> Self {
        Self { roster, sampled, ..self }
    }

    /// How the whole ended: as the worst pair, and not known where it is not known who the peers are.
    #[must_use]
    pub fn ended(&self) -> Ended {
        let gap = if self.roster.gap.is_some() { Ended::Unknown } else { Ended::Pass };
        self.pairs.iter().map(PairReport::ended).max().unwrap_or(Ended::Pass).max(gap)
    }

    /// One line.
    #[must_use]
    pub fn summary(&self) -> String {
        let verdicts = || self.pairs.iter().flat_map(|pair| &pair.verdicts);
        let count = |status| verdicts().filter(|verdict| verdict.status == status).count();
        let one_family = self.pairs.iter().filter(|pair| matches!(pair.state, State::OneFamily { .. })).count();
        let pending = self.pairs.iter().filter(|pair| pair.state != State::Proved).count() - one_family;
        let parts =
            [(count(Status::Fail), "failed"), (count(Status::Unverified), "unverified"), (count(Status::Pass), "passed")];
        let mut parts: Vec<_> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if pending > 0 {
            parts.push(format!("{pending} peers did not answer"));
        }
        if one_family > 0 {
            parts.push(format!("{one_family} peers answered over one address family only"));
        }
        let (peers, ms) = (self.pairs.len(), self.duration.as_millis());
        if self.roster.gap.is_some() {
            parts.push("the cluster's Nodes are not known".to_owned());
        } else if parts.is_empty() {
            parts.push("nothing to probe".to_owned());
        }
        let peers = match &self.sampled {
            Some(sampled) => format!("{peers} of {} peers (sampled)", sampled.nodes - 1),
            None => format!("{peers} peers"),
        };
        format!("{peers}, both directions: {} in {ms} ms", parts.join(", "))
    }
}
