//! What raw sockets and taps let through: the kernel throws away all but hostlet's own datagrams, so that a node that
//! carries the traffic of a cluster copies none of it. And where in a packet the datagram is.

use std::net::IpAddr;

use socket2::SockFilter;

use super::{requirement::Family, wire};

// Source: linux/bpf_common.h.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const LOAD_WORD_FROM_INDEX: u16 = 0x40;
const INDEX_OF_HEADER: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

const UDP: u32 = 17;
const ALL: u32 = 65_535;

/// Where a packet was seen, which decides what stands before the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tap {
    /// At the interface, before the firewall: with its IP header.
    Interface,
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
        (Family::Ipv6, Tap::Interface) => vec![step(LOAD_BYTE, 0, 0, 6), step(JUMP_EQUAL, 0, 4, UDP)],
        (Family::Ipv6, Tap::Socket) => Vec::new(),
    };
    let (load, udp) = match (family, tap) {
        (Family::Ipv4, _) => (LOAD_WORD_FROM_INDEX, 0),
        (Family::Ipv6, Tap::Interface) => (LOAD_WORD, 40),
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
    let (source, udp) = match (family, tap) {
        (Family::Ipv4, _) => {
            let header: &[u8; 20] = packet.first_chunk()?;
            let length = usize::from(header[0] & 0x0f) * 4;
            (Some(IpAddr::from([header[12], header[13], header[14], header[15]])), packet.get(length.max(20)..)?)
        }
        (Family::Ipv6, Tap::Interface) => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let source: [u8; 16] = header[8..24].try_into().ok()?;
            (Some(IpAddr::from(source)), &packet[40..])
        }
        (Family::Ipv6, Tap::Socket) => (None, packet),
    };
    let header: &[u8; 8] = udp.first_chunk()?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // What an Ethernet frame is padded with is not part of the datagram.
    let payload = udp.get(8..usize::from(number(4)))?;
    Some(Datagram { source, port: number(2), payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_datagram_is_found_behind_options_and_before_padding() {
        let mut packet = vec![0x46; 1];
        packet.extend([0; 11]);
        packet.extend([10, 0, 1, 7, 10, 0, 1, 8, 1, 1, 1, 0]);
        packet.extend([0x90, 0x00, 0x21, 0x18, 0, 11, 0, 0, b'a', b'b', b'c', 0, 0]);
        let found = datagram(Family::Ipv4, Tap::Interface, &packet).unwrap();
        assert_eq!(found, Datagram { source: Some("10.0.1.7".parse().unwrap()), port: 8472, payload: b"abc" });
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..100)) {
            for (family, tap) in
                [(Family::Ipv4, Tap::Socket), (Family::Ipv6, Tap::Interface), (Family::Ipv6, Tap::Socket)]
            {
                let _ = datagram(family, tap, &packet);
            }
        }
    }
}
