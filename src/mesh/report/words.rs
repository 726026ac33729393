//! The report for people.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use super::{MeshReport, PairReport, State, Unroutable, WayOut};
use crate::mesh::{
    body::Size,
    requirement::{Family, Node},
    sample::Sampled,
    verdict::{Evidence, Status, Verdict},
};

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
        State::NoRoute { to, route } => write_no_route(f, &peer, this, *to, *route),
        State::OneFamily { family, to, reason } => {
            let (silent, other, option) = match family {
                Family::Ipv4 => ("IPv4", "IPv6", "-4"),
                Family::Ipv6 => ("IPv6", "IPv4", "-6"),
            };
            writeln!(
                f,
                "FAIL {peer}: it answers over {other}, and over {silent} ({to}) it does not: {reason}\n     likely cause: a firewall or a \
                 route that concerns {silent} alone, or {name} lacks {to} in its own node.ip\n     on {name} and {}: nft list ruleset, \
                 ip {option} route, ip {option} rule; or take the {silent} addresses out of node.ip and mesh.peers on all nodes",
                this.name
            )
        }
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
        State::Down { way_out } => writeln!(
            f,
            "PENDING {peer}: no answer to ARP or neighbour discovery: host down, or another VLAN{}\n     see that {name} is up and on \
             the same network{}",
            way_out.as_ref().map_or_else(String::new, |way| format!("; {way}")),
            look_at_rules(way_out.as_ref())
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
        State::Silent { reason, way_out } => writeln!(
            f,
            "PENDING {peer}: {reason}: hostlet does not run there yet, has another key, or the port is filtered{}\n     on {name}: \
             hostlet preflight, install or respond, with the same mesh.key-file and mesh.cluster-name{}",
            way_out.as_ref().map_or_else(String::new, |way| format!("; {way}")),
            look_at_rules(way_out.as_ref())
        ),
    }
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packets to it leave by {}, though {} is on {}", self.link, self.from, self.address_at)
    }
}

fn look_at_rules(way_out: Option<&WayOut>) -> String {
    way_out
        .map_or_else(String::new, |WayOut { from, to, .. }| format!("; on this node: ip rule; ip route get {to} from {from}"))
}

fn write_no_route(f: &mut fmt::Formatter<'_>, peer: &str, this: &Node, to: IpAddr, route: Unroutable) -> fmt::Result {
    let name = &this.name;
    let (found, remedy) = match route {
        Unroutable::Missing => {
            ("no route on this node", "add a route to its network, or a default route; ip rule shows what may hide one")
        }
        Unroutable::Unreachable => ("a route or rule of the type unreachable on this node", "ip rule; remove what says so"),
        Unroutable::Blackhole => ("a route or rule of the type blackhole on this node", "ip rule; remove what says so"),
        Unroutable::Prohibited => ("a route or rule of the type prohibit on this node", "ip rule; remove what says so"),
    };
    let from = this.address(Family::of(to)).map_or_else(String::new, |from| format!(" from {from}"));
    writeln!(f, "FAIL {peer}: {found} ({name}) to {to}\n     on {name}: ip route get {to}{from}; {remedy}")
}

fn write_verdict(f: &mut fmt::Formatter<'_>, pair: &PairReport, verdict: &Verdict) -> fmt::Result {
    let evidence = &verdict.evidence;
    let word = if verdict.status == Status::Fail { "FAIL" } else { "UNVERIFIED" };
    let Evidence { requirement, from, to, .. } = evidence;
    let family = match requirement.family {
        _ if pair.peer.addresses.len() < 2 => "",
        Family::Ipv4 => " over IPv4",
        Family::Ipv6 => " over IPv6",
    };
    writeln!(f, "{word} {requirement}{family}  {from} -> {to}  inbound at {}", to.name)?;
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
