//! Whether a run on this host is asking other nodes at this moment: its responder, another process, tells them so, that they
//! stay until that run has asked them as well.
//!
//! Promise: nothing is left of it when the run is killed. A name in the kernel alone (unix(7), "abstract"), of this network
//! namespace: no file, nothing that anybody could connect to for more than to learn that it is there.
//! Gap: any process of this host can take the name; other nodes then wait some seconds for nothing.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixDatagram},
};

/// It is announced for as long as this is kept.
#[derive(Debug)]
pub(super) struct Presence(#[allow(dead_code, reason = "what counts is that it is open")] UnixDatagram);

impl Presence {
    /// None where another run announced itself before.
    pub(super) fn announce(port: u16) -> Option<Self> {
        UnixDatagram::bind_addr(&name(port)?).ok().map(Self)
    }

    /// Whether a run announced itself.
    pub(super) fn is_announced(port: u16) -> bool {
        let connect = |name| UnixDatagram::unbound()?.connect_addr(&name);
        name(port).is_some_and(|name| connect(name).is_ok())
    }
}

fn name(port: u16) -> Option<SocketAddr> {
    SocketAddr::from_abstract_name(format!("hostlet/mesh/{port}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_announced_until_it_ends() {
        let port = 17_470;
        assert!(!Presence::is_announced(port));
        let presence = Presence::announce(port).unwrap();
        assert!(Presence::is_announced(port) && Presence::announce(port).is_none());
        drop(presence);
        assert!(!Presence::is_announced(port));
    }
}
