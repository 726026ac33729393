//! Datagrams as probes need them: never fragmented, and with the errors that come back for them.
//!
//! Promise: reading errors never blocks and takes each once.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};

/// An error that came back for something that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError {
    /// Where it comes from.
    pub origin: Origin,
    /// The error's number as a system call would return it.
    pub errno: i32,
    /// With an error about size, what the next hop carries.
    pub mtu: u32,
    /// Who said so.
    pub by: Option<IpAddr>,
}

/// Where an error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This host's kernel.
    Local,
    /// ICMP, with type and code.
    Icmp(u8, u8),
    /// ICMP for IPv6, with type and code.
    Icmpv6(u8, u8),
}

/// Lets errors queue up on a socket: IP_RECVERR.
pub fn keep_errors(socket: &impl AsFd, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    }
    Ok(())
}

/// Sends what is as large as the interface takes, never fragmented, and without heeding what was learnt about the path:
/// IP_PMTUDISC_PROBE.
pub fn never_fragment(socket: &impl AsFd, ipv4: bool) -> io::Result<()> {
    let (level, option, value) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    };
    set(socket, level, option, value)
}

#[allow(unsafe_code, reason = "nix has no IP_MTU_DISCOVER")]
fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the duration of the call, and pointer and length are those of `value`.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), length) };
    nix::errno::Errno::result(result).map(drop).map_err(Into::into)
}

/// The next error that came back; none when there is none.
#[must_use]
pub fn next_error(socket: &impl AsFd) -> Option<SendError> {
    let mut data = [0; 64];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut buffers = [IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut buffers, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, by) => {
            let by = by.map(|by| Ipv4Addr::from(u32::from_be(by.sin_addr.s_addr)));
            Some(send_error(&error, by.map(IpAddr::from)))
        }
        ControlMessageOwned::Ipv6RecvErr(error, by) => {
            let by = by.map(|by| Ipv6Addr::from(by.sin6_addr.s6_addr));
            Some(send_error(&error, by.map(IpAddr::from)))
        }
        _ => None,
    })
}

fn send_error(error: &libc::sock_extended_err, by: Option<IpAddr>) -> SendError {
    let origin = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => Origin::Icmp(error.ee_type, error.ee_code),
        libc::SO_EE_ORIGIN_ICMP6 => Origin::Icmpv6(error.ee_type, error.ee_code),
        _ => Origin::Local,
    };
    let by = by.filter(|by| !by.is_unspecified());
    SendError { origin, errno: i32::try_from(error.ee_errno).unwrap_or_default(), mtu: error.ee_info, by }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_refused_datagram_comes_back_with_who_refused_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        keep_errors(&socket, true).unwrap();
        never_fragment(&socket, true).unwrap();
        assert_eq!(next_error(&socket), None);
        // Its own port's neighbour: bound and let go at once.
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.connect(nobody).unwrap();
        socket.send(b"x").unwrap();
        let error = next_error(&socket).unwrap();
        assert_eq!((error.origin, error.errno), (Origin::Icmp(3, 3), libc::ECONNREFUSED));
        assert_eq!(error.by, Some("127.0.0.1".parse().unwrap()));
        let error = socket.send(&vec![0; 65_530]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }
}
