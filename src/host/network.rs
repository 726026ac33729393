//! The host's addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses that packets to the outside leave from, IPv4 first: what the kernel's routing answers for an address of
/// the documentation ranges (RFC 5737, RFC 3849), which only a default route covers. Connecting a UDP socket sends nothing.
#[must_use]
pub fn default_sources() -> Vec<IpAddr> {
    let outside = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
    outside.into_iter().filter_map(source_towards).collect()
}

fn source_towards(outside: IpAddr) -> Option<IpAddr> {
    let unspecified = if outside.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0)).ok()?;
    socket.connect(SocketAddr::new(outside, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
