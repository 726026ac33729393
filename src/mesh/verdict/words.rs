//! What was seen, in words.

use std::net::IpAddr;

use super::{Cause, Evidence};
use crate::{
    mesh::body::{Ending, Firewall, How},
    model::Protocol,
};

pub(super) fn seen(evidence: &Evidence, cause: Option<Cause>) -> String {
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
                active(&evidence.firewall)
            )
        }
        (Cause::SendersFirewall, _) if evidence.requirement.protocol == Protocol::Tcp => {
            format!("0 of {attempts} left {0}'s interface: dropped by {0}'s own firewall", evidence.from.name)
        }
        (Cause::SendersFirewall, _) => format!("{}'s own firewall did not let it out (EPERM)", evidence.from.name),
        (Cause::AnswerLost, _) => format!(
            "{attempts} attempts arrived behind {0}'s firewall, and no answer came back: what listens does not take connections, \
             or its answers are dropped by {0} or on their way",
            to.name
        ),
        (Cause::Translated, _) => format!(
            "{0}'s packets come from {1}, not from {2}: addresses are translated between the nodes",
            evidence.from.name,
            evidence.translated.map_or_else(|| "another address".to_owned(), |ip| ip.to_string()),
            evidence.from.address
        ),
        (Cause::Network, _) => {
            format!("0 of {attempts} arrived at {}'s interface: dropped in the network between", to.name)
        }
        (Cause::FilterOnPort, _) if evidence.arrived.is_none_or(|arrived| arrived.interface.is_none()) => format!(
            "no answer to {attempts} attempts, while other packets pass: a filter on this port at {} or in the network{UNTOLD}",
            to.name
        ),
        (Cause::FilterOnPort, _) => format!(
            "0 of {attempts} arrived at {}'s interface, while other packets pass: a filter on this port in the network{UNTOLD}",
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

/// A router that rejects much tells of little of it (icmp(7), icmp_ratelimit).
const UNTOLD: &str = ", which drops, or rejects and limits how often it says so";

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
        // A raw socket sees what comes for any address.
        _ if evidence.requirement.protocol == Protocol::Udp => "looks for it behind its firewall: a reject rule",
        _ => "says that something holds the port: a reject rule, or a service on another address",
    }
}

fn active(firewall: &Firewall) -> String {
    match firewall {
        Firewall::None => String::new(),
        Firewall::Firewalld | Firewall::Ufw => format!(" ({firewall} is active)"),
        Firewall::Nftables(_) | Firewall::Iptables { .. } => format!(" ({firewall})"),
    }
}
