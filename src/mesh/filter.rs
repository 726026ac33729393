//! What raw sockets and taps let through: the kernel throws away all but hostlet's own datagrams, so that a node that
//! carries the traffic of a cluster copies none of it. And where in a packet the datagram is.

use std::net::IpAddr;

use nix::libc;
use socket2::SockFilter;

use super::{ledger::Syn, requirement::Family, wire};
use crate::model::Port;

// Source: linux/bpf_common.h.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const LOAD_WORD_FROM_INDEX: u16 = 0x40;
const INDEX_OF_HEADER: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

const LOAD_HALF_FROM_INDEX: u16 = 0x48;
const LOAD_BYTE_FROM_INDEX: u16 = 0x50;
const AND: u16 = 0x54;
// Source: linux/filter.h, SKF_AD_OFF with SKF_AD_PROTOCOL and SKF_AD_PKTTYPE; linux/if_packet.h.
const PROTOCOL: u32 = (-0x1000_i32).cast_unsigned();
const PACKET_TYPE: u32 = (-0x1000_i32 + 4).cast_unsigned();
const OUTGOING: u32 = 4;

const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ALL: u32 = 65_535;

/// Where a packet was seen, which decides what stands before the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tap {
    /// At the interface, before the firewall: with its IP header.
    Interface,
    /// On its way out, behind this host's own firewall: with its IP header.
    Leaving,
    /// By a raw socket, behind the firewall: with its IP header for IPv4, without it for IPv6 (raw(7), ipv6(7)).
    Socket,
}

/// UDP that begins as hostlet's messages do, or does so behind a VXLAN header.
pub(super) fn program(family: Family, tap: Tap) -> Vec<SockFilter> {
    let step = SockFilter::new;
    let mut program = match (family, tap) {
        // Not a later fragment, and the header's length varies.
        (Family::Ipv4, _) => vec![
            step(LOAD_BYTE, 0, 0, 9),
            step(JUMP_EQUAL, 0, 7, UDP),
            step(LOAD_HALF, 0, 0, 6),
            step(JUMP_SET, 5, 0, 0x1fff),
            step(INDEX_OF_HEADER, 0, 0, 0),
        ],
        (Family::Ipv6, Tap::Interface | Tap::Leaving) => vec![step(LOAD_BYTE, 0, 0, 6), step(JUMP_EQUAL, 0, 4, UDP)],
        (Family::Ipv6, Tap::Socket) => Vec::new(),
    };
    let (load, udp) = match (family, tap) {
        (Family::Ipv4, _) => (LOAD_WORD_FROM_INDEX, 0),
        (Family::Ipv6, Tap::Interface | Tap::Leaving) => (LOAD_WORD, 40),
        (Family::Ipv6, Tap::Socket) => (LOAD_WORD, 0),
    };
    program.extend(begins_as_ours(load, udp + 8));
    program
}

/// The last six steps: a payload that stands there begins as hostlet's messages do, or behind a VXLAN header.
fn begins_as_ours(load: u16, payload: u32) -> [SockFilter; 6] {
    let step = SockFilter::new;
    [
        step(load, 0, 0, payload),
        step(JUMP_EQUAL, 3, 0, wire::START),
        step(load, 0, 0, payload + 8),
        step(JUMP_EQUAL, 1, 0, wire::START),
        step(RETURN, 0, 0, 0),
        step(RETURN, 0, 0, ALL),
    ]
}

/// A step of a program, of which the jumps are still to be filled in.
#[derive(Debug, Clone, Copy)]
struct Step {
    code: u16,
    if_true: Jump,
    if_false: Jump,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    Next,
    Refuse,
    Accept,
}

const fn load(code: u16, at: u32) -> Step {
    Step { code, if_true: Jump::Next, if_false: Jump::Next, value: at }
}

const fn must_be(value: u32) -> Step {
    Step { code: JUMP_EQUAL, if_true: Jump::Next, if_false: Jump::Refuse, value }
}

/// The last step but one refuses and the last one accepts; programs are shorter than a jump can be.
fn assemble(steps: &[Step]) -> Vec<SockFilter> {
    let over = |at: usize, jump: Jump| match jump {
        Jump::Next => 0,
        Jump::Refuse => u8::try_from(steps.len() - at - 1).unwrap_or(u8::MAX),
        Jump::Accept => u8::try_from(steps.len() - at).unwrap_or(u8::MAX),
    };
    let placed = steps.iter().enumerate();
    let placed =
        placed.map(|(at, step)| SockFilter::new(step.code, over(at, step.if_true), over(at, step.if_false), step.value));
    placed.chain([SockFilter::new(RETURN, 0, 0, 0), SockFilter::new(RETURN, 0, 0, ALL)]).collect()
}

/// TCP that begins a connection to one of these ports, of which forty are looked for.
pub(super) fn connections(family: Family, tap: Tap, ports: &[Port]) -> Vec<SockFilter> {
    let mut steps = Vec::new();
    if tap == Tap::Leaving {
        let protocol = if family == Family::Ipv4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
        steps.extend([load(LOAD_WORD, PACKET_TYPE), must_be(OUTGOING)]);
        steps.extend([load(LOAD_WORD, PROTOCOL), must_be(protocol.cast_unsigned())]);
    }
    let (half, byte, tcp) = match (family, tap) {
        (Family::Ipv4, _) => {
            steps.extend([load(LOAD_BYTE, 9), must_be(TCP), load(LOAD_HALF, 6)]);
            // Not a later fragment, and the header's length varies.
            steps.push(Step { code: JUMP_SET, if_true: Jump::Refuse, if_false: Jump::Next, value: 0x1fff });
            steps.push(load(INDEX_OF_HEADER, 0));
            (LOAD_HALF_FROM_INDEX, LOAD_BYTE_FROM_INDEX, 0)
        }
        (Family::Ipv6, Tap::Socket) => (LOAD_HALF, LOAD_BYTE, 0),
        (Family::Ipv6, Tap::Interface | Tap::Leaving) => {
            steps.extend([load(LOAD_BYTE, 6), must_be(TCP)]);
            (LOAD_HALF, LOAD_BYTE, 40)
        }
    };
    steps.extend([load(byte, tcp + 13), load(AND, SYN | ACK), must_be(SYN), load(half, tcp + 2)]);
    let ports = ports.iter().take(40).map(|port| port.number().into());
    steps.extend(ports.map(|value| Step { code: JUMP_EQUAL, if_true: Jump::Accept, if_false: Jump::Next, value }));
    assemble(&steps)
}

/// What stands behind the IP header.
#[derive(Debug, PartialEq, Eq)]
struct Transport<'p> {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    bytes: &'p [u8],
}

fn transport(family: Family, tap: Tap, packet: &[u8]) -> Option<Transport<'_>> {
    match (family, tap) {
        (Family::Ipv4, _) => {
            let header: &[u8; 20] = packet.first_chunk()?;
            let length = usize::from(header[0] & 0x0f) * 4;
            let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            Some(Transport { source: Some(address(12)), destination: Some(address(16)), bytes: packet.get(length.max(20)..)? })
        }
        (Family::Ipv6, Tap::Interface | Tap::Leaving) => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let address = |at: usize| header[at..at + 16].first_chunk::<16>().map(|bytes| IpAddr::from(*bytes));
            Some(Transport { source: address(8), destination: address(24), bytes: &packet[40..] })
        }
        (Family::Ipv6, Tap::Socket) => Some(Transport { source: None, destination: None, bytes: packet }),
    }
}

/// A datagram in a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'p> {
    /// Whose; unknown for an IPv6 packet without its header.
    pub(super) source: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) payload: &'p [u8],
}

/// Finds the datagram; none in what is cut off or something else.
pub(super) fn datagram(family: Family, tap: Tap, packet: &[u8]) -> Option<Datagram<'_>> {
    let Transport { source, bytes, .. } = transport(family, tap, packet)?;
    let header: &[u8; 8] = bytes.first_chunk()?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // What an Ethernet frame is padded with is not part of the datagram.
    let payload = bytes.get(8..usize::from(number(4)))?;
    Some(Datagram { source, port: number(2), payload })
}

/// Finds who begins a connection; `from` is whose packet it is where that does not stand in it.
pub(super) fn syn(family: Family, tap: Tap, packet: &[u8], from: Option<IpAddr>) -> Option<Syn> {
    let Transport { source, destination, bytes } = transport(family, tap, packet)?;
    let header: &[u8; 4] = bytes.first_chunk()?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let peer = if tap == Tap::Leaving { destination } else { source.or(from) };
    Some(Syn { peer: peer?, to: number(2), from: number(0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL_TAPS: [(Family, Tap); 6] = [
        (Family::Ipv4, Tap::Socket),
        (Family::Ipv4, Tap::Interface),
        (Family::Ipv4, Tap::Leaving),
        (Family::Ipv6, Tap::Interface),
        (Family::Ipv6, Tap::Socket),
        (Family::Ipv6, Tap::Leaving),
    ];

    #[test]
    fn a_datagram_is_found_behind_options_and_before_padding() {
        let mut packet = vec![0x46; 1];
        packet.extend([0; 11]);
        packet.extend([10, 0, 1, 7, 10, 0, 1, 8, 1, 1, 1, 0]);
        packet.extend([0x90, 0x00, 0x21, 0x18, 0, 11, 0, 0, b'a', b'b', b'c', 0, 0]);
        let found = datagram(Family::Ipv4, Tap::Interface, &packet).unwrap();
        assert_eq!(found, Datagram { source: Some("10.0.1.7".parse().unwrap()), port: 8472, payload: b"abc" });
        let found = syn(Family::Ipv4, Tap::Leaving, &packet, None).unwrap();
        assert_eq!(found, Syn { peer: "10.0.1.8".parse().unwrap(), to: 8472, from: 0x9000 });
    }

    #[test]
    fn the_programs_are_as_short_as_jumps_allow() {
        let ports: Vec<Port> = (1..=60).map(Port::known).collect();
        for (family, tap) in ALL_TAPS {
            assert!(connections(family, tap, &ports).len() < 64, "{family:?} {tap:?}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..100)) {
            for (family, tap) in ALL_TAPS {
                let _ = datagram(family, tap, &packet);
                let _ = syn(family, tap, &packet, None);
            }
        }
    }
}
