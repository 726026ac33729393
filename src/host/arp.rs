//! Asking a network whether somebody else has an IPv4 address of ours: ARP probes as RFC 5227 describes them, with no
//! sender address, so that nobody's table of neighbours changes.
//!
//! Promise: nothing is sent on links without ARP, nothing changes here, and it is over after [`LISTEN`]. Gap: who answers
//! later than that, such as a machine that sleeps, is not heard; RFC 5227 waits for seconds, which a preflight cannot.
#![allow(unsafe_code, reason = "nix makes no address of a packet socket but from a raw one")]

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recv, sendto, socket},
};

use super::links::HardwareAddress;

/// Two probes, in case one is lost.
const PROBES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(20)];
/// On a local network a machine that is awake answers within a few milliseconds; the whole preflight on a healthy host
/// should take no more than 100.
pub const LISTEN: Duration = Duration::from_millis(60);

const BROADCAST: HardwareAddress = HardwareAddress([0xff; 6]);
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethernet, IPv4, and the lengths of their addresses. Source: RFC 826.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const LENGTH: usize = 28;

/// Who else has this address on the link with this index and hardware address. `ours` are the hardware addresses of all
/// links of this host: Linux answers on each of them for every address it has.
pub fn other_owner(
    link: u32,
    address: Ipv4Addr,
    own: HardwareAddress,
    ours: &[HardwareAddress],
) -> io::Result<Option<HardwareAddress>> {
    let socket = open(link)?;
    let begun = Instant::now();
    let mut probes = PROBES.iter().peekable();
    let probe = probe(own, address);
    loop {
        if probes.next_if(|due| begun.elapsed() >= **due).is_some() {
            sendto(socket.as_raw_fd(), &probe, &link_address(link, BROADCAST)?, MsgFlags::empty())?;
        }
        let until = probes.peek().map_or(LISTEN, |due| **due);
        let left = until.saturating_sub(begun.elapsed());
        if left.is_zero() && probes.peek().is_none() {
            return Ok(None);
        }
        if !is_readable(&socket, left)? {
            continue;
        }
        let mut packet = [0; 64];
        let length = recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT)?;
        if let Some(owner) = owner(&packet[..length], address).filter(|owner| !ours.contains(owner)) {
            return Ok(Some(owner));
        }
    }
}

fn is_readable(socket: &OwnedFd, wait: Duration) -> io::Result<bool> {
    // Rounded up: a poll of zero would spin until the next millisecond.
    let wait = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
    let mut descriptors = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut descriptors, wait)? > 0)
}

/// A socket for ARP packets of one link.
fn open(link: u32) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &link_address(link, BROADCAST)?)?;
    Ok(socket)
}

fn link_address(link: u32, to: HardwareAddress) -> io::Result<LinkAddr> {
    let mut hardware = [0; 8];
    hardware[..6].copy_from_slice(&to.0);
    let [family, arp] = [libc::AF_PACKET, libc::ETH_P_ARP].map(|number| u16::try_from(number).unwrap_or_default());
    let raw = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: arp.to_be(),
        sll_ifindex: i32::try_from(link).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware,
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).ok();
    // SAFETY: the pointer is to a whole sockaddr_ll of that length, which is copied.
    let address = unsafe { LinkAddr::from_raw((&raw const raw).cast(), length) };
    address.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// "Who has this address?", from nobody. Source: RFC 5227, section 2.1.1.
fn probe(own: HardwareAddress, address: Ipv4Addr) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[..6].copy_from_slice(&KIND);
    packet[6..8].copy_from_slice(&REQUEST.to_be_bytes());
    packet[8..14].copy_from_slice(&own.0);
    packet[24..28].copy_from_slice(&address.octets());
    packet
}

/// Who says with this packet that the address is theirs, or is about to take it. Source: RFC 5227, section 2.1.1.
fn owner(packet: &[u8], address: Ipv4Addr) -> Option<HardwareAddress> {
    let packet: &[u8; LENGTH] = packet.get(..LENGTH)?.try_into().ok()?;
    let operation = u16::from_be_bytes([packet[6], packet[7]]);
    if packet[..6] != KIND || !matches!(operation, REQUEST | REPLY) {
        return None;
    }
    let ip = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let (sender, target) = (ip(14), ip(24));
    let claims = sender == address || (operation == REQUEST && sender.is_unspecified() && target == address);
    claims.then(|| HardwareAddress([packet[8], packet[9], packet[10], packet[11], packet[12], packet[13]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: HardwareAddress = HardwareAddress([2, 0, 0, 0, 0, 9]);

    fn packet(operation: u16, sender: [u8; 4], target: [u8; 4]) -> [u8; LENGTH] {
        let mut packet = probe(OTHER, target.into());
        packet[6..8].copy_from_slice(&operation.to_be_bytes());
        packet[14..18].copy_from_slice(&sender);
        packet
    }

    #[test]
    fn who_claims_the_address_is_told_from_who_asks_for_it() {
        let ours = Ipv4Addr::new(10, 0, 1, 7);
        let owner = |packet: [u8; LENGTH]| owner(&packet, ours);
        assert_eq!(owner(packet(REPLY, [10, 0, 1, 7], [0; 4])), Some(OTHER));
        assert_eq!(owner(packet(REQUEST, [10, 0, 1, 7], [10, 0, 1, 7])), Some(OTHER), "an announcement");
        assert_eq!(owner(packet(REQUEST, [0; 4], [10, 0, 1, 7])), Some(OTHER), "a probe");
        assert_eq!(owner(packet(REQUEST, [10, 0, 1, 1], [10, 0, 1, 7])), None, "a neighbour who looks for us");
        assert_eq!(owner(packet(REPLY, [10, 0, 1, 8], [10, 0, 1, 7])), None);
        assert_eq!(super::owner(&[0; 20], ours), None);
        // Padding up to Ethernet's shortest packet.
        let padded = [packet(REPLY, [10, 0, 1, 7], [0; 4]).as_slice(), &[0; 18]].concat();
        assert_eq!(super::owner(&padded, ours), Some(OTHER));
    }
}
