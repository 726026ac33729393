//! Writes the seeds of both targets, made from real messages: `seeds DIRECTORY`.
#![allow(clippy::disallowed_methods, reason = "it is no part of hostlet")]

use std::{env, fs, net::IpAddr, path::Path};

use hostlet::{
    config::Role,
    mesh::{
        Node,
        body::{Arrived, Body, Chain, ChainFamily, Ending, Firewall, How, Icmp, Identifier, Listening, Probe, Sent, Size},
        key::SIGNATURE,
        wire::Message,
    },
    model::{Port, Protocol},
};
use hostlet_fuzz::{HEADER, key};

fn bodies() -> Vec<(&'static str, Body)> {
    let ip: IpAddr = [192, 0, 2, 1].into();
    let port = Port::known(8472);
    let joiner = |name: &str, address: &str| Node {
        name: name.parse().expect("a name"),
        addresses: vec![address.parse().expect("an address")],
        role: Role::Worker,
    };
    let listening = vec![
        Listening { protocol: Protocol::Udp, port, how: How::Bound },
        Listening { protocol: Protocol::Tcp, port: Port::known(10_250), how: How::Taken },
    ];
    let arrived = vec![
        Arrived { protocol: Protocol::Udp, port, size: Size::Full, socket: 1, interface: Some(3) },
        Arrived { protocol: Protocol::Tcp, port, size: Size::Small, socket: 0, interface: None },
    ];
    let sent = |ending| Sent { protocol: Protocol::Udp, port, size: Size::Small, attempts: 3, ending };
    let by = Some(ip);
    let name = |name| Identifier::new(name).expect("a name");
    let chain = Chain { family: ChainFamily::Inet, table: name("filter"), name: name("input") };
    let cookie = [0; 16];
    vec![
        ("hello", Body::Hello),
        ("challenge", Body::Challenge { cookie }),
        ("arm", Body::Arm { cookie, joiner: joiner("a", "192.0.2.1"), listening: listening.clone() }),
        ("arm-newcomer", Body::Arm { cookie, joiner: joiner("b", "192.0.2.9"), listening: listening.clone() }),
        ("armed", Body::Armed { listening, firewall: Firewall::Nftables(vec![chain]), needs_you: true }),
        ("ask", Body::Ask { cookie, arrived: arrived.clone(), late: 7, translated: by }),
        (
            "tell",
            Body::Tell {
                arrived,
                sent: vec![
                    sent(Ending::Icmp { meaning: Icmp::NoRoute, by }),
                    sent(Ending::TooLarge { mtu: 1400, by: None }),
                    sent(Ending::Reached { proved: true }),
                ],
                needs_you: false,
                late: 0,
            },
        ),
        ("probe", Body::Probe(Probe { port, size: Size::Small, attempt: 2, source: ip, destination: [192, 0, 2, 7].into() })),
        ("dial", Body::Dial { port, nonce: [9; 16] }),
        ("answer", Body::Answer { port, nonce: [9; 16] }),
        ("done", Body::Done { cookie }),
        ("other-version", Body::OtherVersion),
    ]
}

fn main() {
    let directory = env::args().nth(1).expect("seeds DIRECTORY");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let directory = Path::new(&directory).join(target);
        fs::create_dir_all(&directory).expect("making a directory");
        fs::write(directory.join(name), bytes).expect("writing a seed");
    };
    let (mut conversation, mut newcomer) = (vec![0], vec![1]);
    for (name, body) in bodies() {
        let bytes = Message { session: [1; 16], from: [2; 8], to: [3; 8], body }.to_bytes(&key(), 0);
        let (kind, body) = (bytes[4], &bytes[HEADER..bytes.len() - SIGNATURE]);
        write("parse", name, &[&[kind], body].concat());
        let piece = |flags: u8| [&[flags, kind, u8::try_from(body.len()).expect("short")], body].concat();
        write("responder", name, &[&[0], &piece(0)[..]].concat());
        if name == "arm-newcomer" {
            newcomer.extend(piece(3));
        } else {
            conversation.extend(piece(0));
            newcomer.extend(piece(3));
        }
    }
    write("responder", "conversation", &conversation);
    write("responder", "conversation-newcomer", &newcomer);
}
