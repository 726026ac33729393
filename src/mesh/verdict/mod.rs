//! From evidence to a cause, in words, with the command that mends it. Pure.
//!
//! Promise: one receipt of the receiver's is a pass, and nothing else is, but for the handshake of a real TCP service; not
//! knowing is never called a failure.

mod remedy;
mod weigh;
mod words;

use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{
    body::{Arrived, Ending, Firewall, How, Size},
    requirement::Requirement,
};
use crate::model::NodeName;

/// A node at one end of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub address: IpAddr,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// All that is known about one port, direction and size.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// Who sent.
    pub from: End,
    /// Who should have received.
    pub to: End,
    /// What was tried.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// Of which size; small for TCP.
    pub size: Size,
    /// How many bytes that is as a packet.
    pub bytes: u16,
    /// How often it was tried.
    pub attempts: u8,
    /// How that ended for the sender.
    #[serde(flatten)]
    pub ending: Ending,
    /// What the receiver has seen.
    #[serde(skip)]
    pub arrived: Option<Arrived>,
    /// How the receiver listens; none: it has not said.
    pub listening: Option<How>,
    /// What filters packets at the receiver.
    pub firewall: Firewall,
    /// Another address than the sender's, from which its messages came to the receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translated: Option<IpAddr>,
    /// Whether anything was sent, the other node has told its side, and both had time to look: a lost answer is no lost probe,
    /// nor is one that nobody came to send or to see.
    pub told: bool,
}

/// What the evidence amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It can be reached.
    Pass,
    /// It cannot.
    Fail,
    /// Nobody can tell.
    Unverified,
}

/// Why something does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum Cause {
    /// A rule at the receiver drops it: seen at the interface, not at the socket.
    ReceiversFirewall,
    /// The sender's own rules.
    SendersFirewall,
    /// Neither seen at the receiver's interface nor answered.
    Network,
    /// The same, but other ports of this peer's answer.
    FilterOnPort,
    /// The same, but for the VXLAN header alone.
    FilterOnVxlan,
    /// Silence, and the receiver cannot tell where it was lost.
    Somewhere,
    /// ICMP port unreachable or RST while the receiver listens.
    Refused,
    /// ICMP administratively prohibited.
    Rejected,
    /// ICMP net or host unreachable, or no route here.
    NoRoute,
    /// No answer to ARP.
    NoNeighbour,
    /// A next hop carries less than the interface, and says so.
    PathMtu,
    /// Small ones arrive, full ones do not, and nobody says why.
    BlackHole,
    /// Somebody else answers.
    Impostor,
    /// TCP: what begins connections arrives behind the receiver's firewall, and nothing comes back.
    AnswerLost,
    /// The sender's packets come from another address.
    Translated,
    /// The receiver has no privilege to look.
    Blind,
    /// The receiver does not know of this port: the configurations differ.
    NotExpected,
    /// Not enough was sent, seen or told in time: the peer vanished, or a machine is too busy.
    NothingTold,
}

/// What the pair as a whole shows, for telling one cause from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context {
    /// The small probe of the same port arrived.
    pub small_arrives: bool,
    /// Some other datagram or control message from the same sender arrived at the same receiver.
    pub others_arrive: bool,
}

/// A verdict on one port, direction and size.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// What it rests on.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// What it amounts to.
    pub status: Status,
    /// Why it is no pass.
    #[serde(flatten)]
    pub cause: Option<Cause>,
    /// What was seen, in words.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Judges.
#[must_use]
pub fn judge(evidence: Evidence, context: Context) -> Verdict {
    let (status, cause) = weigh::weigh(&evidence, context);
    let seen = words::seen(&evidence, cause);
    let remedy = cause.map(|cause| remedy::remedy(&evidence, cause));
    Verdict { evidence, status, cause, seen, remedy }
}

#[cfg(test)]
mod tests;
