//! Whether a port can be bound, and if not, who holds it.
//!
//! Promise: a probe leaves nothing behind; its socket is closed before it returns. Gap: for the microseconds between, a
//! service that starts at that very moment finds the port taken.

mod holder;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use crate::model::{Port, Protocol};

pub use holder::{Holder, HolderError, Holders};

/// On which addresses a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every address of both families on one socket, which is what Go does when it is told 0.0.0.0 or ::.
    Every,
    /// Every IPv4 address.
    EveryIpv4,
    /// Every IPv6 address.
    EveryIpv6,
    /// One address.
    At(IpAddr),
}

impl Scope {
    /// Whether a socket bound to `local` is in the way of this scope.
    #[must_use]
    pub fn meets(self, local: IpAddr) -> bool {
        match self {
            Self::Every => true,
            Self::EveryIpv4 => local.is_ipv4() || local.is_unspecified(),
            Self::EveryIpv6 => local.is_ipv6(),
            // A socket on [::] usually takes IPv4 as well.
            Self::At(ip) => local == ip || local.is_unspecified() || local.to_canonical() == ip,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("all addresses"),
            Self::EveryIpv4 => f.write_str("all IPv4 addresses"),
            Self::EveryIpv6 => f.write_str("all IPv6 addresses"),
            Self::At(ip) => ip.fmt(f),
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It could be bound, and for TCP listened on.
    Free,
    /// Somebody holds it.
    InUse,
    /// The address is not one of this host's.
    ForeignAddress,
}

/// Binds the port, listens where that is meant, and lets go at once.
pub fn probe(protocol: Protocol, scope: Scope, port: Port) -> io::Result<Probe> {
    let number = port.number();
    let attempt = match scope {
        Scope::Every => bind(protocol, (Ipv6Addr::UNSPECIFIED, number).into()).or_else(|error| match error.raw_os_error() {
            // A kernel without IPv6, or with it disabled.
            Some(code) if code == nix::libc::EAFNOSUPPORT || code == nix::libc::EADDRNOTAVAIL => {
                bind(protocol, (Ipv4Addr::UNSPECIFIED, number).into())
            }
            _ => Err(error),
        }),
        Scope::EveryIpv4 => bind(protocol, (Ipv4Addr::UNSPECIFIED, number).into()),
        Scope::EveryIpv6 => bind_ipv6_only(protocol, number),
        Scope::At(ip) => bind(protocol, (ip, number).into()),
    };
    match attempt {
        Ok(()) => Ok(Probe::Free),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(Probe::InUse),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(Probe::ForeignAddress),
        Err(error) => Err(error),
    }
}

/// std sets SO_REUSEADDR for TCP, which skips TIME_WAIT and still sees a listener; and not for UDP, where it would share
/// the port with whoever else sets it, so that nothing would ever be found in use.
fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<()> {
    match protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    }
}

/// Where one service has the IPv4 port and another the IPv6 port.
fn bind_ipv6_only(protocol: Protocol, port: u16) -> io::Result<()> {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt, socket, sockopt,
    };
    use std::{net::SocketAddrV6, os::fd::AsRawFd};
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket(AddressFamily::Inet6, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    if protocol == Protocol::Tcp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))?;
    if protocol == Protocol::Tcp {
        listen(&socket, Backlog::new(1)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen_and_the_probe_of_a_free_port_leaves_it_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port: Port = serde_json::from_value(listener.local_addr().unwrap().port().into()).unwrap();
        let loopback = Scope::At(Ipv4Addr::LOCALHOST.into());
        assert_eq!(probe(Protocol::Tcp, loopback, port).unwrap(), Probe::InUse);
        assert_eq!(probe(Protocol::Tcp, Scope::Every, port).unwrap(), Probe::InUse);
        drop(listener);
        for _ in 0..2 {
            assert_eq!(probe(Protocol::Tcp, loopback, port).unwrap(), Probe::Free);
        }
    }

    #[test]
    fn an_address_of_another_host_is_told_from_a_port_in_use() {
        let elsewhere = Scope::At("192.0.2.1".parse().unwrap());
        assert_eq!(probe(Protocol::Udp, elsewhere, Port::known(18_472)).unwrap(), Probe::ForeignAddress);
    }

    #[test]
    fn a_wildcard_socket_is_in_the_way_of_every_address() {
        let any6: IpAddr = "::".parse().unwrap();
        let node: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(Scope::At(node).meets(any6) && Scope::Every.meets(node) && Scope::EveryIpv4.meets(any6));
        assert!(!Scope::At(node).meets("127.0.0.1".parse().unwrap()) && !Scope::EveryIpv6.meets(node));
    }
}
