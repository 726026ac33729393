use super::*;
use crate::{
    mesh::{
        body::{Chain, ChainFamily, Icmp, Identifier},
        requirement::{Family, Framing, Service},
    },
    model::{Port, Protocol},
};

fn udp() -> Evidence {
    let end = |name: &str, address: &str| End { name: name.parse().unwrap(), address: address.parse().unwrap() };
    Evidence {
        from: end("node-07", "10.0.1.7"),
        to: end("node-12", "10.0.2.12"),
        requirement: Requirement {
            protocol: Protocol::Udp,
            port: Port::known(8472),
            family: Family::Ipv4,
            framing: Framing::Vxlan,
            service: Service::Overlay,
        },
        size: Size::Small,
        bytes: 128,
        attempts: 4,
        ending: Ending::Silence,
        arrived: Some(Arrived {
            protocol: Protocol::Udp,
            port: Port::known(8472),
            size: Size::Small,
            socket: 0,
            interface: Some(0),
        }),
        listening: Some(How::Bound),
        firewall: nftables(),
        translated: None,
        told: true,
    }
}

fn nftables() -> Firewall {
    let name = |name| Identifier::new(name).unwrap();
    Firewall::Nftables(vec![Chain { family: ChainFamily::Inet, table: name("filter"), name: name("input") }])
}

fn tcp(ending: Ending) -> Evidence {
    let mut evidence = Evidence { arrived: None, ending, ..udp() };
    evidence.requirement.protocol = Protocol::Tcp;
    evidence.requirement.port = Port::known(10_250);
    evidence.requirement.framing = Framing::Plain;
    evidence
}

fn arrived(socket: u8, interface: Option<u8>) -> Option<Arrived> {
    udp().arrived.map(|arrived| Arrived { socket, interface, ..arrived })
}

fn icmp(meaning: Icmp, by: &str) -> Ending {
    Ending::Icmp { meaning, by: Some(by.parse().unwrap()) }
}

#[track_caller]
fn is(evidence: Evidence, context: Context, cause: Cause, says: &[&str]) {
    let verdict = judge(evidence, context);
    assert_eq!(verdict.cause, Some(cause), "{verdict:?}");
    assert_ne!(verdict.status, Status::Pass);
    let text = format!("{}\n{}", verdict.seen, verdict.remedy.unwrap());
    for part in says {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

const ALONE: Context = Context { small_arrives: false, others_arrive: false };
const OTHERS: Context = Context { small_arrives: false, others_arrive: true };
const SMALL: Context = Context { small_arrives: true, others_arrive: true };

#[test]
fn one_receipt_is_a_pass_whatever_else_was_heard() {
    for ending in [Ending::Silence, icmp(Icmp::PortUnreachable, "10.0.2.12"), Ending::NoNeighbour] {
        let verdict = judge(Evidence { arrived: arrived(0b100, None), ending, ..udp() }, ALONE);
        assert_eq!((verdict.status, verdict.cause, verdict.remedy), (Status::Pass, None, None));
    }
}

#[test]
fn what_is_seen_at_the_interface_alone_was_dropped_by_the_receivers_firewall() {
    let at_interface = || Evidence { arrived: arrived(0, Some(0b1111)), ..udp() };
    is(
        Evidence { firewall: Firewall::Firewalld, ..at_interface() },
        ALONE,
        Cause::ReceiversFirewall,
        &[
            "0 of 4 arrived at the socket, 4 of 4 at the interface: dropped by node-12's own firewall (firewalld is active)",
            "on node-12: firewall-cmd --permanent --add-port=8472/udp && firewall-cmd --reload",
        ],
    );
    let name = |name| Identifier::new(name).unwrap();
    let chain = |family, table, chain| Chain { family, table: name(table), name: name(chain) };
    let two_chains = Firewall::Nftables(vec![
        chain(ChainFamily::Inet, "filter", "input"),
        chain(ChainFamily::Ip6, "raw6", "in"),
        chain(ChainFamily::Ip, "raw", "in"),
    ]);
    for (firewall, command) in [
        (Firewall::Ufw, "ufw allow proto udp from 10.0.1.7 to any port 8472"),
        (nftables(), "nft insert rule inet filter input udp dport 8472 accept"),
        (Firewall::Iptables { legacy: false }, "on node-12: iptables -I INPUT -p udp --dport 8472 -s 10.0.1.7 -j ACCEPT"),
        (Firewall::Iptables { legacy: true }, "on node-12: iptables-legacy -I INPUT -p udp --dport 8472 -s 10.0.1.7 -j ACCEPT"),
        (Firewall::None, "look for what drops udp/8472"),
        (
            two_chains,
            "nft insert rule inet filter input udp dport 8472 accept && nft insert rule ip raw in udp dport 8472 accept",
        ),
    ] {
        is(Evidence { firewall, ..at_interface() }, ALONE, Cause::ReceiversFirewall, &[command]);
    }
}

#[test]
fn what_is_not_seen_at_the_interface_was_dropped_in_the_network() {
    is(udp(), ALONE, Cause::Network, &["0 of 4 arrived at node-12's interface", "security group", "node-07 (10.0.1.7)"]);
    is(udp(), OTHERS, Cause::FilterOnVxlan, &["VXLAN", "hypervisor", "flannel.port"]);
    let mut plain = udp();
    plain.requirement.framing = Framing::Plain;
    is(plain, OTHERS, Cause::FilterOnPort, &["while other packets pass", "security group"]);
}

#[test]
fn a_refusal_never_passes_and_names_who_refused() {
    is(
        Evidence { ending: icmp(Icmp::PortUnreachable, "10.0.2.12"), ..udp() },
        ALONE,
        Cause::Refused,
        &["10.0.2.12 (node-12 itself)", "a reject rule", "on node-12: nft"],
    );
    is(tcp(Ending::Reset), ALONE, Cause::Refused, &["TCP reset", "a reject rule"]);
    is(
        tcp(icmp(Icmp::Prohibited, "10.0.1.1")),
        ALONE,
        Cause::Rejected,
        &["prohibited by 10.0.1.1", "on 10.0.1.1: allow tcp/10250"],
    );
    is(tcp(icmp(Icmp::NoRoute, "10.0.1.1")), ALONE, Cause::NoRoute, &["no route to 10.0.2.12, reported by 10.0.1.1"]);
    is(tcp(Ending::Icmp { meaning: Icmp::NoRoute, by: None }), ALONE, Cause::NoRoute, &["reported by node-07 itself"]);
    is(tcp(Ending::NoNeighbour), ALONE, Cause::NoNeighbour, &["ARP", "host down", "ip neighbour show 10.0.2.12"]);
    is(
        Evidence { ending: Ending::NotPermitted, ..udp() },
        ALONE,
        Cause::SendersFirewall,
        &["node-07's own firewall", "output chain"],
    );
}

#[test]
fn full_size_tells_a_path_mtu_from_a_black_hole() {
    let full = |ending| Evidence { size: Size::Full, bytes: 1500, ending, ..udp() };
    let by = Some("10.0.1.1".parse().unwrap());
    is(full(Ending::TooLarge { mtu: 1400, by }), SMALL, Cause::PathMtu, &["path MTU 1400, reported by 10.0.1.1", "mtu 1400"]);
    is(full(Ending::Silence), SMALL, Cause::BlackHole, &["128 bytes arrive, 1500 bytes", "black hole", "ping -M do"]);
    // Nothing of any size arrives: then the size is not the cause.
    is(full(Ending::Silence), ALONE, Cause::Network, &[]);
}

#[test]
fn a_service_that_holds_the_port_proves_it_by_its_handshake_and_nobody_else_does() {
    let taken = Evidence { listening: Some(How::Taken), ..tcp(Ending::Reached { proved: false }) };
    assert_eq!(judge(taken, ALONE).status, Status::Pass);
    assert_eq!(judge(tcp(Ending::Reached { proved: true }), ALONE).status, Status::Pass);
    is(tcp(Ending::Impostor), ALONE, Cause::Impostor, &["something else", "address translation"]);
    // Connected, and the answer did not come: neither a pass nor a failure.
    let late = judge(tcp(Ending::Reached { proved: false }), ALONE);
    assert_eq!((late.status, late.cause), (Status::Unverified, Some(Cause::NothingTold)));
}

#[test]
fn not_knowing_is_no_failure() {
    let blind = Evidence { listening: Some(How::Blind), arrived: arrived(0, None), ..udp() };
    assert_eq!(judge(blind, ALONE).status, Status::Unverified);
    let untold = judge(Evidence { told: false, arrived: None, ..udp() }, ALONE);
    assert_eq!((untold.status, untold.cause), (Status::Unverified, Some(Cause::NothingTold)));
    let unknown = Evidence { listening: None, arrived: None, ..udp() };
    let verdict = judge(unknown, ALONE);
    assert_eq!((verdict.status, verdict.cause), (Status::Unverified, Some(Cause::NotExpected)));
}

#[test]
fn a_connection_that_was_lost_is_placed_as_a_datagram_is() {
    let seen = |socket, interface| {
        let arrived = Arrived { protocol: Protocol::Tcp, port: Port::known(10_250), size: Size::Small, socket, interface };
        Evidence { arrived: Some(arrived), listening: Some(How::Taken), ..tcp(Ending::Silence) }
    };
    is(
        seen(0, Some(0b11)),
        OTHERS,
        Cause::ReceiversFirewall,
        &["0 of 4 arrived at the socket, 2 of 4 at the interface", "nft insert rule inet filter input tcp dport 10250 accept"],
    );
    is(seen(0, Some(0)), OTHERS, Cause::FilterOnPort, &["0 of 4 arrived at node-12's interface, while other packets pass"]);
    is(seen(0b11, Some(0b11)), OTHERS, Cause::AnswerLost, &["no answer came back", "ss -lnt 'sport = :10250'"]);
    is(tcp(Ending::NotPermitted), OTHERS, Cause::SendersFirewall, &["0 of 4 left node-07's interface", "output chain"]);
    // What arrived proves nothing of what listens.
    assert_ne!(judge(seen(0b11, Some(0b11)), ALONE).status, Status::Pass);
}

#[test]
fn translated_addresses_are_told_with_the_one_that_was_seen() {
    let translated = Some("10.0.1.254".parse().unwrap());
    is(
        Evidence { translated, ..udp() },
        OTHERS,
        Cause::Translated,
        &["node-07's packets come from 10.0.1.254, not from 10.0.1.7", "masquerade"],
    );
    let passed = Evidence { translated, arrived: arrived(1, Some(1)), ..udp() };
    assert_eq!(judge(passed, OTHERS).status, Status::Pass);
}

#[test]
fn a_name_that_would_need_quotes_gets_into_no_command() {
    for (name, right) in
        [("filter", true), ("my-table_1/a.b", true), ("1filter", false), ("a;reboot", false), ("a b", false), ("", false)]
    {
        assert_eq!(Identifier::new(name).is_some(), right, "{name}");
    }
}
