//! What was found of every pair, for people and as JSON.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    time::Duration,
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    body::Size,
    requirement::Node,
    roster::Roster,
    sample::Sampled,
    verdict::{Evidence, Status, Verdict},
};
use crate::config::Role;

/// How far it came with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// It answered, and all was tried.
    Proved,
    /// Nobody answers to ARP for its address.
    Down,
    /// Its messages come here, and those to it get no answer.
    OneWay {
        /// The control port.
        port: u16,
    },
    /// This node has no route to its address.
    NoRoute {
        /// The address.
        to: IpAddr,
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
    },
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

impl PairReport {
    /// How it ended with this peer.
    #[must_use]
    pub fn ended(&self) -> Ended {
        let any = |status| self.verdicts.iter().any(|verdict| verdict.status == status);
        if any(Status::Fail) || matches!(self.state, State::OneWay { .. } | State::NoRoute { .. } | State::Translated { .. }) {
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
        let pending = self.pairs.iter().filter(|pair| pair.state != State::Proved).count();
        let parts =
            [(count(Status::Fail), "failed"), (count(Status::Unverified), "unverified"), (count(Status::Pass), "passed")];
        let mut parts: Vec<_> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if pending > 0 {
            parts.push(format!("{pending} peers did not answer"));
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

/// Everything that is no pass, worst first; then the summary.
impl fmt::Display for MeshReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.roster.fmt(f)?;
        if let Some(Sampled { nodes, threshold, size, .. }) = &self.sampled {
            writeln!(
                f,
                "SAMPLED {nodes} nodes are more than mesh.sample.threshold ({threshold}): all pairs with the control plane are probed, \
                 and of each worker at least {size} drawn pairs with others, the same on every node"
            )?;
        }
        for pair in &self.pairs {
            write_state(f, &self.this, pair)?;
            for verdict in pair.verdicts.iter().filter(|verdict| verdict.status != Status::Pass) {
                // A port that nothing of any size reaches is told once.
                let small_failed = |other: &&Verdict| {
                    other.evidence.from == verdict.evidence.from
                        && other.evidence.requirement == verdict.evidence.requirement
                        && other.evidence.size == Size::Small
                        && other.status != Status::Pass
                };
                if verdict.evidence.size == Size::Full && pair.verdicts.iter().any(|other| small_failed(&other)) {
                    continue;
                }
                write_verdict(f, pair, verdict)?;
            }
        }
        f.write_str(&self.summary())
    }
}

fn write_state(f: &mut fmt::Formatter<'_>, this: &Node, pair: &PairReport) -> fmt::Result {
    let addresses: Vec<_> = pair.peer.addresses.iter().map(ToString::to_string).collect();
    let peer = format!("{} ({})", pair.peer.name, addresses.join(", "));
    let name = &pair.peer.name;
    match &pair.state {
        State::Proved => Ok(()),
        State::NoRoute { to } => writeln!(
            f,
            "FAIL {peer}: no route on this node ({}) to {to}\n     on {}: ip route get {to}; add a route to its network, or a \
             default route",
            this.name, this.name
        ),
        State::OneWay { port } => writeln!(
            f,
            "FAIL {peer}: its messages come here, and none from here is answered there\n     likely cause: a firewall on {name} or \
             between drops what comes from {0}\n     on {name}: allow udp/{port} and tcp/{port} from {0}",
            this.name
        ),
        State::OtherVersion { theirs, ours } => writeln!(
            f,
            "UNVERIFIED {peer}: the peer speaks wire version {theirs}, this hostlet {ours}\n     upgrade hostlet on {}",
            if theirs < ours { name.as_str() } else { this.name.as_str() }
        ),
        State::Translated { seen, this: true } => writeln!(
            f,
            "FAIL {peer}: messages of this node come to {name} from {seen}: addresses are translated between the nodes\n     let packets \
             between the nodes pass untranslated (look for masquerade in nft list ruleset, iptables -t nat -S), or give the nodes \
             the addresses that others see, in node.ip and mesh.peers"
        ),
        State::Translated { seen, this: false } => writeln!(
            f,
            "FAIL {peer}: messages that {name} signed come from {seen}: addresses are translated between the nodes\n     let packets \
             between the nodes pass untranslated (look for masquerade in nft list ruleset, iptables -t nat -S), or give {name} \
             the address that others see, in its node.ip and in mesh.peers"
        ),
        State::Down => writeln!(
            f,
            "PENDING {peer}: no answer to ARP or neighbour discovery: host down, or another VLAN\n     see that {name} is up and on \
             the same network"
        ),
        State::NoResponder { port } => writeln!(
            f,
            "UNVERIFIED {peer}: its services can be reached, but hostlet does not answer on udp/{port} or tcp/{port}, and UDP \
             cannot be proved without\n     on {name}: systemctl status hostlet-responder.socket, or hostlet respond; with the same mesh.key-file and mesh.cluster-name, and udp/{port} let \
             through its firewall"
        ),
        State::NotStarted { port } => writeln!(
            f,
            "PENDING {peer}: the host answers, and nobody listens on udp/{port} yet\n     on {name}: hostlet preflight, install or \
             respond"
        ),
        State::Silent { reason } => writeln!(
            f,
            "PENDING {peer}: {reason}: hostlet does not run there yet, has another key, or the port is filtered\n     on {name}: \
             hostlet preflight, install or respond, with the same mesh.key-file and mesh.cluster-name"
        ),
    }
}

fn write_verdict(f: &mut fmt::Formatter<'_>, pair: &PairReport, verdict: &Verdict) -> fmt::Result {
    let evidence = &verdict.evidence;
    let word = if verdict.status == Status::Fail { "FAIL" } else { "UNVERIFIED" };
    let Evidence { requirement, from, to, .. } = evidence;
    writeln!(f, "{word} {requirement}  {from} -> {to}  inbound at {}", to.name)?;
    writeln!(f, "     {}", verdict.seen)?;
    if let Some(remedy) = &verdict.remedy {
        writeln!(f, "     {remedy}")?;
    }
    let reverse = pair.verdicts.iter().filter(|other| {
        other.evidence.from.name == evidence.to.name
            && (other.evidence.requirement, other.evidence.size) == (evidence.requirement, evidence.size)
    });
    let mut text = String::new();
    for other in reverse {
        let status = match other.status {
            Status::Pass => "pass",
            Status::Fail => "fails, too",
            Status::Unverified => "unverified",
        };
        let _ = writeln!(text, "     reverse, {} -> {}: {status}", other.evidence.from.name, other.evidence.to.name);
    }
    f.write_str(&text)
}
