//! From evidence to a cause, in words, with the command that mends it. Pure.
//!
//! Promise: one receipt of the receiver's is a pass, and nothing else is, but for the handshake of a real TCP service; not
//! knowing is never called a failure.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{
    body::{Arrived, Ending, Firewall, How, Icmp, Size},
    requirement::{Framing, Requirement},
};
use crate::model::{NodeName, Protocol};

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
    let (status, cause) = weigh(&evidence, context);
    let seen = seen(&evidence, cause);
    let remedy = cause.map(|cause| remedy(&evidence, cause));
    Verdict { evidence, status, cause, seen, remedy }
}

fn weigh(evidence: &Evidence, context: Context) -> (Status, Option<Cause>) {
    let fail = |cause| (Status::Fail, Some(cause));
    match (evidence.requirement.protocol, evidence.ending) {
        (Protocol::Tcp, Ending::Reached { proved }) if proved || evidence.listening != Some(How::Bound) => {
            return (Status::Pass, None);
        }
        (Protocol::Udp, _) if evidence.arrived.is_some_and(|arrived| arrived.socket != 0) => return (Status::Pass, None),
        _ => {}
    }
    if !evidence.told {
        return (Status::Unverified, Some(Cause::NothingTold));
    }
    if evidence.listening.is_none() {
        return (Status::Unverified, Some(Cause::NotExpected));
    }
    match evidence.ending {
        // Connected, and the answer did not come in time.
        Ending::Reached { .. } => return (Status::Unverified, Some(Cause::NothingTold)),
        Ending::Impostor => return fail(Cause::Impostor),
        Ending::NotPermitted => return fail(Cause::SendersFirewall),
        Ending::NoNeighbour => return fail(Cause::NoNeighbour),
        Ending::TooLarge { .. } => return fail(Cause::PathMtu),
        // Nobody but hostlet listens on a port that hostlet bound; a taken one is the real service's to refuse.
        Ending::Reset => return fail(Cause::Refused),
        Ending::Icmp { meaning, .. } => {
            return fail(match meaning {
                Icmp::PortUnreachable => Cause::Refused,
                Icmp::Prohibited => Cause::Rejected,
                Icmp::NoRoute => Cause::NoRoute,
            });
        }
        Ending::Silence => {}
    }
    if evidence.size == Size::Full && context.small_arrives {
        return fail(Cause::BlackHole);
    }
    if evidence.requirement.protocol == Protocol::Udp && evidence.listening == Some(How::Blind) {
        return (Status::Unverified, Some(Cause::Blind));
    }
    fail(silence(evidence, context))
}

/// Nothing was heard: where was it lost?
fn silence(evidence: &Evidence, context: Context) -> Cause {
    match evidence.arrived.and_then(|arrived| arrived.interface) {
        Some(bits) if bits != 0 => Cause::ReceiversFirewall,
        // The receiver can look at its interface, and saw nothing; for TCP it does not look.
        Some(_) if evidence.requirement.framing == Framing::Vxlan && context.others_arrive => Cause::FilterOnVxlan,
        _ if context.others_arrive => Cause::FilterOnPort,
        Some(_) => Cause::Network,
        None => Cause::Somewhere,
    }
}

fn seen(evidence: &Evidence, cause: Option<Cause>) -> String {
    let Evidence { attempts, to, ending, .. } = evidence;
    let Some(cause) = cause else {
        return match ending {
            Ending::Reached { proved: true } => format!("{} answered", to.name),
            Ending::Reached { proved: false } => format!("connected to what holds the port on {}", to.name),
            _ => format!("arrived at the socket of {}", to.name),
        };
    };
    let by = |ip: &Option<IpAddr>| ip.map_or_else(|| format!("{} itself", evidence.from.name), |ip| said_by(evidence, ip));
    match (cause, ending) {
        (Cause::ReceiversFirewall, _) => {
            let arrived = evidence.arrived.and_then(|arrived| arrived.interface).map_or(0, u8::count_ones);
            format!(
                "0 of {attempts} arrived at the socket, {arrived} of {attempts} at the interface: dropped by {}'s own firewall{}",
                to.name,
                active(evidence.firewall)
            )
        }
        (Cause::SendersFirewall, _) => format!("{}'s own firewall did not let it out (EPERM)", evidence.from.name),
        (Cause::Network, _) => {
            format!("0 of {attempts} arrived at {}'s interface: dropped in the network between", to.name)
        }
        (Cause::FilterOnPort, _) if evidence.arrived.is_none_or(|arrived| arrived.interface.is_none()) => format!(
            "no answer to {attempts} attempts, while other packets pass: a filter on this port at {} or in the network",
            to.name
        ),
        (Cause::FilterOnPort, _) => format!(
            "0 of {attempts} arrived at {}'s interface, while other packets pass: a filter on this port in the network",
            to.name
        ),
        (Cause::FilterOnVxlan, _) => format!(
            "0 of {attempts} VXLAN packets arrived at {}'s interface, while other packets pass: a filter on this port or on VXLAN in the network or the hypervisor",
            to.name
        ),
        (Cause::Refused, Ending::Reset) => format!("refused with a TCP reset, though {} {}", to.name, listens(evidence)),
        (Cause::Refused, Ending::Icmp { by: ip, .. }) => {
            format!("refused with ICMP port unreachable by {}, though {} {}", by(ip), to.name, listens(evidence))
        }
        (Cause::Rejected, Ending::Icmp { by: ip, .. }) => {
            format!("rejected with ICMP administratively prohibited by {}", by(ip))
        }
        (Cause::NoRoute, Ending::Icmp { by: ip, .. }) => format!("no route to {}, reported by {}", to.address, by(ip)),
        (Cause::NoNeighbour, _) => {
            format!("no answer to ARP or neighbour discovery for {}: host down, or another VLAN", to.address)
        }
        (Cause::PathMtu, Ending::TooLarge { mtu, by: ip }) => {
            format!("{} bytes are too large: path MTU {mtu}, reported by {}", evidence.bytes, by(ip))
        }
        (Cause::BlackHole, _) => format!(
            "128 bytes arrive, {} bytes that must not be fragmented do not, and no router says so: a path MTU black hole",
            evidence.bytes
        ),
        (Cause::Impostor, _) => format!("something else than hostlet on {} answered", to.name),
        (Cause::Blind, _) => format!("the port is taken on {}, and hostlet may not look behind its firewall", to.name),
        (Cause::NotExpected, _) => format!("{} does not know that it needs this port", to.name),
        (Cause::NothingTold, _) => {
            "not enough was sent, seen or told in time: the peer vanished, or one of the two machines is too busy".to_owned()
        }
        (Cause::Somewhere | Cause::Refused | Cause::Rejected | Cause::NoRoute | Cause::PathMtu, _) => {
            format!("no answer to {attempts} attempts")
        }
    }
}

fn said_by(evidence: &Evidence, ip: IpAddr) -> String {
    if ip == evidence.to.address {
        format!("{ip} ({} itself)", evidence.to.name)
    } else if ip == evidence.from.address {
        format!("{ip} ({} itself)", evidence.from.name)
    } else {
        ip.to_string()
    }
}

fn listens(evidence: &Evidence) -> &'static str {
    match evidence.listening {
        Some(How::Bound) => "listens: a reject rule",
        _ => "says that something holds the port: a reject rule, or a service on another address",
    }
}

const fn active(firewall: Firewall) -> &'static str {
    match firewall {
        Firewall::Firewalld => " (firewalld is active)",
        Firewall::Ufw => " (ufw is active)",
        Firewall::Nftables | Firewall::Iptables => "",
    }
}

fn remedy(evidence: &Evidence, cause: Cause) -> String {
    let Evidence { from, to, requirement, .. } = evidence;
    let between =
        format!("allow {requirement} from {from} to {to} in the security group, network ACL or firewall between them");
    match cause {
        Cause::ReceiversFirewall => on_receiver(evidence),
        Cause::Refused | Cause::Rejected => match evidence.ending {
            Ending::Icmp { by: Some(ip), .. } if ip != to.address && ip != from.address => {
                format!("on {ip}: allow {requirement} from {from} to {to}")
            }
            Ending::Icmp { by: None, .. } => format!("on {}: allow {requirement} to {} to leave", from.name, to.address),
            _ => on_receiver(evidence),
        },
        Cause::SendersFirewall => format!(
            "on {}: remove the rule that drops {requirement} in the output chain (nft list ruleset, iptables -S OUTPUT)",
            from.name
        ),
        Cause::Network | Cause::FilterOnPort => between,
        Cause::Somewhere => format!("{between}; {}", on_receiver(evidence)),
        Cause::FilterOnVxlan => {
            format!(
                "{between}; where a hypervisor drops VXLAN (VMware NSX does), set flannel.port to another one on every node"
            )
        }
        Cause::NoRoute => {
            format!("on {}: ip route get {}; add the missing route there or on the router named", from.name, to.address)
        }
        Cause::NoNeighbour => {
            format!("see that {} is up and on the same network; on {}: ip neighbour show {}", to.name, from.name, to.address)
        }
        Cause::PathMtu => match evidence.ending {
            Ending::TooLarge { mtu, .. } => format!(
                "set the MTU of every node's interface to {mtu} (ip link set dev INTERFACE mtu {mtu}), or raise it on that hop"
            ),
            _ => between,
        },
        Cause::BlackHole => format!(
            "let ICMP \"fragmentation needed\" pass between {} and {}, or lower the MTU of the nodes' interfaces; to find it: ping -M do -s 1400 {}",
            from.name, to.name, to.address
        ),
        Cause::Impostor => format!("on {}: ss -lntup; look for a proxy or address translation between the nodes", to.name),
        Cause::Blind => format!("run hostlet as root on {}", to.name),
        Cause::NothingTold => {
            "run it again; if it stays so, see whether the other node restarts, and what keeps the processors busy".to_owned()
        }
        Cause::NotExpected => format!("give {} the same [mesh], [flannel] and roles as {}", to.name, from.name),
    }
}

fn on_receiver(evidence: &Evidence) -> String {
    let Evidence { from, to, requirement, firewall, .. } = evidence;
    let (protocol, port) = (requirement.protocol, requirement.port);
    let tool = if to.address.is_ipv4() { "iptables" } else { "ip6tables" };
    let command = match firewall {
        Firewall::Firewalld => format!("firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"),
        Firewall::Ufw => format!("ufw allow proto {protocol} from {} to any port {port}", from.address),
        Firewall::Nftables => format!(
            "nft insert rule inet filter input {protocol} dport {port} accept (table and chain as `nft list ruleset` names them)"
        ),
        Firewall::Iptables => format!("{tool} -I INPUT -p {protocol} --dport {port} -s {} -j ACCEPT", from.address),
    };
    format!("on {}: {command}", to.name)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
