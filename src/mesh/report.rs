//! What was found of every pair, for people and as JSON.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    body::Size,
    requirement::Node,
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
}

impl Serialize for MeshReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut mesh = serializer.serialize_struct("mesh", 3)?;
        mesh.serialize_field("node", &self.this.name)?;
        mesh.serialize_field("duration-ms", &u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX))?;
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
        if any(Status::Fail) || matches!(self.state, State::OneWay { .. }) {
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
        Self { this, pairs, duration }
    }

    /// How the whole ended: as the worst pair.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.pairs.iter().map(PairReport::ended).max().unwrap_or(Ended::Pass)
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
        format!("{peers} peers, both directions: {} in {ms} ms", parts.join(", "))
    }
}

/// Everything that is no pass, worst first; then the summary.
impl fmt::Display for MeshReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        State::OneWay { port } => writeln!(
            f,
            "FAIL {peer}: its messages come here, and none from here is answered there\n     likely cause: a firewall on {name} or \
             between drops what comes from {0}\n     on {name}: allow udp/{port} and tcp/{port} from {0}",
            this.name
        ),
        State::Down => writeln!(
            f,
            "PENDING {peer}: no answer to ARP or neighbour discovery: host down, or another VLAN\n     see that {name} is up and on \
             the same network"
        ),
        State::NoResponder { port } => writeln!(
            f,
            "UNVERIFIED {peer}: its services can be reached, but hostlet does not answer on udp/{port} or tcp/{port}, and UDP \
             cannot be proved without\n     on {name}: hostlet respond, with the same mesh.key-file and mesh.cluster-name, and udp/{port} let \
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
