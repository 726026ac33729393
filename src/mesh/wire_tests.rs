use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::{
    config::Role,
    mesh::{
        body::{
            Arrived, Chain, ChainFamily, Ending, Firewall, How, Icmp, Identifier, Listening, MOST_CHAINS, Probe, Sent, Size,
        },
        requirement::Node,
    },
    model::{NodeAddress, Port, Protocol},
};

fn key() -> Key {
    Key::new(b"a key of more than sixteen bytes", "kubernetes").unwrap()
}

fn port() -> impl Strategy<Value = Port> {
    (1_u16..).prop_map(Port::known)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![Just(Size::Small), Just(Size::Full)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

fn listening() -> impl Strategy<Value = Vec<Listening>> {
    let how = prop_oneof![Just(How::Bound), Just(How::Taken), Just(How::Blind)];
    let one = (protocol(), port(), how).prop_map(|(protocol, port, how)| Listening { protocol, port, how });
    prop::collection::vec(one, 0..=40)
}

fn joiner() -> impl Strategy<Value = Node> {
    let name = "[a-z0-9]{1,63}(\\.[a-z0-9]{1,63}){0,2}".prop_map(|name: String| name.parse().unwrap());
    let role = prop_oneof![Just(Role::Worker), Just(Role::ControlPlane)];
    let v4: Vec<NodeAddress> = vec!["10.0.1.7".parse().unwrap()];
    let both: Vec<NodeAddress> = vec!["fd00::7".parse().unwrap(), "10.0.1.7".parse().unwrap()];
    (name, role, prop_oneof![Just(v4), Just(both)]).prop_map(|(name, role, addresses)| Node { name, addresses, role })
}

fn firewall() -> impl Strategy<Value = Firewall> {
    let family = prop_oneof![Just(ChainFamily::Inet), Just(ChainFamily::Ip), Just(ChainFamily::Ip6)];
    let identifier = || "[a-zA-Z][a-zA-Z0-9/_.-]{0,39}".prop_map(|name: String| Identifier::new(&name).unwrap());
    let chain = (family, identifier(), identifier()).prop_map(|(family, table, name)| Chain { family, table, name });
    prop_oneof![
        Just(Firewall::None),
        Just(Firewall::Firewalld),
        Just(Firewall::Ufw),
        prop::collection::vec(chain, 0..=MOST_CHAINS).prop_map(Firewall::Nftables),
        any::<bool>().prop_map(|legacy| Firewall::Iptables { legacy }),
    ]
}

fn arrived() -> impl Strategy<Value = Vec<Arrived>> {
    let one = (protocol(), port(), size(), any::<u8>(), any::<Option<u8>>());
    let one = one.prop_map(|(protocol, port, size, socket, interface)| Arrived { protocol, port, size, socket, interface });
    prop::collection::vec(one, 0..=38)
}

fn ending() -> impl Strategy<Value = Ending> {
    let meaning = prop_oneof![Just(Icmp::PortUnreachable), Just(Icmp::Prohibited), Just(Icmp::NoRoute)];
    prop_oneof![
        Just(Ending::Silence),
        any::<bool>().prop_map(|proved| Ending::Reached { proved }),
        Just(Ending::Impostor),
        Just(Ending::Reset),
        (meaning, prop::option::of(ip())).prop_map(|(meaning, by)| Ending::Icmp { meaning, by }),
        (any::<u16>(), prop::option::of(ip())).prop_map(|(mtu, by)| Ending::TooLarge { mtu, by }),
        Just(Ending::NotPermitted),
        Just(Ending::NoNeighbour),
    ]
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let one = (protocol(), port(), size(), any::<u8>(), ending());
    let one = one.prop_map(|(protocol, port, size, attempts, ending)| Sent { protocol, port, size, attempts, ending });
    prop::collection::vec(one, 0..=38)
}

fn body() -> impl Strategy<Value = Body> {
    let probe = (port(), size(), 0_u8..8, ip(), ip());
    prop_oneof![
        Just(Body::Hello),
        any::<Nonce>().prop_map(|cookie| Body::Challenge { cookie }),
        (any::<Nonce>(), joiner(), listening()).prop_map(|(cookie, joiner, listening)| Body::Arm { cookie, joiner, listening }),
        (listening(), firewall(), any::<bool>()).prop_map(|(listening, firewall, needs_you)| Body::Armed {
            listening,
            firewall,
            needs_you
        }),
        (any::<Nonce>(), arrived(), any::<u16>(), prop::option::of(ip()))
            .prop_map(|(cookie, arrived, late, translated)| Body::Ask { cookie, arrived, late, translated }),
        Just(Body::OtherVersion),
        (arrived(), sent(), any::<bool>(), any::<u16>()).prop_map(|(arrived, sent, needs_you, late)| Body::Tell {
            arrived,
            sent,
            needs_you,
            late
        }),
        probe.prop_map(|(port, size, attempt, source, destination)| {
            Body::Probe(Probe { port, size, attempt, source, destination })
        }),
        (port(), any::<Nonce>()).prop_map(|(port, nonce)| Body::Dial { port, nonce }),
        (port(), any::<Nonce>()).prop_map(|(port, nonce)| Body::Answer { port, nonce }),
        any::<Nonce>().prop_map(|cookie| Body::Done { cookie }),
    ]
}

prop_compose! {
    fn message()(session: Nonce, from: NodeId, to: NodeId, body in body()) -> Message {
        Message { session, from, to, body }
    }
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(message in message(), size in 0_usize..10_000) {
        let bytes = message.to_bytes(&key(), size);
        prop_assert!(bytes.len() <= LONGEST);
        prop_assert_eq!(Message::parse(&bytes, &key()), Ok(message.clone()));
        let framed = behind_vxlan(&bytes);
        prop_assert_eq!(without_vxlan(&framed), &bytes[..]);
        prop_assert_eq!(without_vxlan(&bytes), &bytes[..]);
    }

    #[test]
    fn an_answer_fits_into_what_was_asked_with(message in message()) {
        let needed = message.to_bytes(&key(), 0).len();
        let asked = if matches!(message.body, Body::Hello | Body::Challenge { .. }) { HELLO } else { CONTROL };
        prop_assert!(needed <= asked, "{needed}");
    }

    #[test]
    fn a_message_that_was_changed_anywhere_is_refused(message in message(), size in 0_usize..400, at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = message.to_bytes(&key(), size);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(Message::parse(&bytes, &key()).is_err());
    }

    #[test]
    fn a_message_that_was_cut_or_grew_is_refused(message in message(), size in 0_usize..400, at: prop::sample::Index) {
        let mut bytes = message.to_bytes(&key(), size);
        prop_assert!(Message::parse(&bytes[..at.index(bytes.len())], &key()).is_err());
        bytes.push(0);
        prop_assert!(Message::parse(&bytes, &key()).is_err());
    }

    #[test]
    fn another_key_is_refused(message in message()) {
        let other = Key::new(b"a key of more than sixteen bytes", "other").unwrap();
        prop_assert_eq!(Message::parse(&message.to_bytes(&other, 0), &key()), Err(Refused::Forged));
    }

    #[test]
    fn another_version_is_told_apart_only_where_its_signature_is_right(message in message(), version: u8) {
        prop_assume!(version != VERSION);
        let mut bytes = message.to_bytes(&key(), 0);
        bytes[3] = version;
        prop_assert_eq!(Message::parse(&bytes, &key()), Err(Refused::Forged));
        let signed = bytes.len() - SIGNATURE;
        let signature = key().sign(&[&bytes[..signed]]);
        bytes[signed..].copy_from_slice(&signature);
        prop_assert_eq!(Message::parse(&bytes, &key()), Err(Refused::Version(version)));
        let frame = Frame::parse(&bytes, &key()).unwrap();
        prop_assert_eq!((frame.session, frame.from, frame.to), (message.session, message.from, message.to));
        prop_assert_eq!(frame.is_foreign_hello(), message.body == Body::Hello);
        prop_assert_eq!(frame.is_other_version(), message.body == Body::OtherVersion);
    }

    #[test]
    fn a_signed_body_of_any_bytes_is_read_or_refused(kind: u8, body in prop::collection::vec(any::<u8>(), 0..300)) {
        // What a holder of the key can send at the worst.
        let mut bytes = [&b"HLm"[..], &[VERSION, kind]].concat();
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(u16::try_from(HEADER + body.len() + SIGNATURE).unwrap().to_be_bytes());
        bytes.extend([0; 32]);
        bytes.extend(&body);
        let signature = key().sign(&[&bytes]);
        bytes.extend(signature);
        if let Ok(message) = Message::parse(&bytes, &key()) {
            prop_assert_eq!(message.to_bytes(&key(), 0), bytes);
        }
    }
}

#[test]
fn a_hundred_thousand_random_and_mutated_datagrams_are_refused() {
    let key = key();
    let probe = Body::Probe(Probe {
        port: Port::known(8472),
        size: Size::Small,
        attempt: 0,
        source: "10.0.1.7".parse().unwrap(),
        destination: "10.0.1.8".parse().unwrap(),
    });
    let good: Vec<_> = [Body::Hello, Body::Done { cookie: [7; 16] }, probe]
        .into_iter()
        .map(|body| Message { session: [1; 16], from: [2; 8], to: [3; 8], body }.to_bytes(&key, 128))
        .collect();
    let mut random = Rng::with_seed(0x5eed);
    for round in 0..100_000 {
        let mut bytes = good[random.usize(..good.len())].clone();
        if round % 2 == 0 {
            let from = if round % 4 == 0 { 4 } else { 0 };
            bytes[from..].iter_mut().for_each(|byte| *byte = random.u8(..));
            bytes.truncate(random.usize(..129));
        } else {
            let original = bytes.clone();
            for _ in 0..=random.usize(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            if bytes == original {
                continue;
            }
        }
        assert!(Message::parse(&bytes, &key).is_err(), "{bytes:?}");
    }
}

/// As much as one session can have to tell: sixteen extra ports of UDP, everything of the control plane's, IPv6 and the
/// longest ending of each.
#[test]
fn the_longest_answer_fits_into_a_control_message() {
    let ip: IpAddr = "fd00::1".parse().unwrap();
    let ports = || (1..=17).map(|n| (Protocol::Udp, n)).chain((1..=4).map(|n| (Protocol::Tcp, n)));
    let all: Vec<(Protocol, u16, Size)> = ports()
        .flat_map(|(protocol, port)| {
            let sizes = if protocol == Protocol::Udp { &[Size::Small, Size::Full][..] } else { &[Size::Small] };
            sizes.iter().map(move |size| (protocol, port, *size))
        })
        .collect();
    let arrived = all.iter().map(|(protocol, port, size)| Arrived {
        protocol: *protocol,
        port: Port::known(*port),
        size: *size,
        socket: 0,
        interface: Some(0),
    });
    let sent = all.iter().map(|(protocol, port, size)| Sent {
        protocol: *protocol,
        port: Port::known(*port),
        size: *size,
        attempts: 7,
        ending: Ending::TooLarge { mtu: 1400, by: Some(ip) },
    });
    let body = Body::Tell { arrived: arrived.collect(), sent: sent.collect(), needs_you: true, late: 9 };
    let message = Message { session: [1; 16], from: [2; 8], to: [3; 8], body };
    let bytes = message.to_bytes(&key(), 0);
    assert!(bytes.len() <= CONTROL, "{}", bytes.len());
    assert_eq!(Message::parse(&bytes, &key()), Ok(message));
}
