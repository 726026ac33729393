//! Listens on every port that other nodes must reach: binds what is free; where somebody holds the port, a raw socket
//! behind the firewall still sees what comes for it. A tap before the firewall tells where a datagram was lost. A responder,
//! which stays while services start, binds nothing that a raw socket can see; for TCP see [`super::doors`].
//!
//! Promise: a port that somebody holds is not touched, and nothing is sent from here but answers to signed questions.
//! Gap: without CAP_NET_RAW there is neither raw socket nor tap.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nix::libc;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    body::{Body, How, Listening},
    bucket::Patience,
    endpoint::Shared,
    filter::{self, Tap},
    ledger::Place,
    requirement::{Family, Requirement},
    wire,
};
use crate::model::{Port, Protocol};

/// A packet with its headers.
const LARGEST_PACKET: usize = wire::LONGEST + 128;

/// Sockets that are open, before anything is read from them.
pub(super) struct Receivers {
    datagrams: Vec<UdpSocket>,
    listeners: Vec<(TcpListener, Port)>,
    raw: Vec<(UdpSocket, Family, Tap)>,
    /// How this node listens, for each family.
    pub(super) listening: Vec<(Family, Listening)>,
}

impl Receivers {
    /// Opens everything that is needed; with `bind` also what somebody else may want to bind.
    pub(super) fn open(needed: &[(IpAddr, Requirement)], bind: bool) -> io::Result<Self> {
        let mut receivers = Self { datagrams: Vec::new(), listeners: Vec::new(), raw: Vec::new(), listening: Vec::new() };
        for family in [Family::Ipv4, Family::Ipv6] {
            if needed.iter().any(|(_, requirement)| requirement.family == family) {
                for tap in [Tap::Interface, Tap::Socket] {
                    receivers.raw.extend(open_tap(family, tap)?.map(|socket| (socket, family, tap)));
                }
            }
        }
        for (ip, requirement) in needed {
            receivers.add(*ip, *requirement, bind)?;
        }
        Ok(receivers)
    }

    fn add(&mut self, ip: IpAddr, requirement: Requirement, bind: bool) -> io::Result<()> {
        let Requirement { protocol, port, family, .. } = requirement;
        if !bind && (protocol == Protocol::Tcp || self.sees(family, Tap::Socket)) {
            self.listening.push((family, Listening { protocol, port, how: How::Taken }));
            return Ok(());
        }
        let address = SocketAddr::from((ip, port.number()));
        let bound = match protocol {
            Protocol::Udp => bind_datagrams(address).map(|socket| self.datagrams.push(socket)),
            Protocol::Tcp => bind_listener(address).map(|listener| self.listeners.push((listener, port))),
        };
        let how = match bound {
            Ok(()) => How::Bound,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if protocol == Protocol::Tcp || self.sees(family, Tap::Socket) { How::Taken } else { How::Blind }
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("listening on {requirement} at {ip}: {error}"))),
        };
        self.listening.push((family, Listening { protocol, port, how }));
        Ok(())
    }

    /// Whether it has this eye.
    pub(super) fn sees(&self, family: Family, tap: Tap) -> bool {
        self.raw.iter().any(|(_, one, other)| (*one, *other) == (family, tap))
    }

    /// Reads from all of it.
    pub(super) fn start(self, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
        for socket in self.datagrams {
            tasks.spawn(read_datagrams(Arc::clone(shared), socket));
        }
        for (socket, family, tap) in self.raw {
            tasks.spawn(read_packets(Arc::clone(shared), socket, family, tap));
        }
        for (listener, port) in self.listeners {
            tasks.spawn(accept(Arc::clone(shared), listener, port));
        }
    }
}

/// Without SO_REUSEADDR, which would share a port that somebody else holds.
fn bind_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

pub(super) fn bind_listener(address: SocketAddr) -> io::Result<TcpListener> {
    // With SO_REUSEADDR, as std does: it skips TIME_WAIT and still sees a listener.
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// None without the privilege.
fn open_tap(family: Family, tap: Tap) -> io::Result<Option<UdpSocket>> {
    let (domain, kind, protocol) = match (family, tap) {
        (_, Tap::Interface) => {
            let protocol = if family == Family::Ipv4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
            let network_order = u16::try_from(protocol).map_err(io::Error::other)?.to_be();
            (Domain::PACKET, Type::DGRAM, SocketProtocol::from(i32::from(network_order)))
        }
        (Family::Ipv4, Tap::Socket) => (Domain::IPV4, Type::RAW, SocketProtocol::UDP),
        (Family::Ipv6, Tap::Socket) => (Domain::IPV6, Type::RAW, SocketProtocol::UDP),
    };
    let socket = match Socket::new(domain, kind.nonblocking(), Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        other => other?,
    };
    socket.attach_filter(&filter::program(family, tap))?;
    // Probes of all peers may come at once, each as large as a packet can be.
    socket.set_recv_buffer_size(1 << 20)?;
    // To the runtime a socket that is read with recv(2) is the same, whatever comes in.
    UdpSocket::from_std(socket.into()).map(Some)
}

async fn read_datagrams(shared: Arc<Shared>, socket: UdpSocket) {
    let mut buffer = vec![0; LARGEST_PACKET];
    let mut patience = Patience::new();
    let Ok(port) = socket.local_addr().map(|address| address.port()) else { return };
    loop {
        // Errors are about datagrams of the past.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        if !shared.probed(Some(from.ip()), port, &buffer[..length], Place::Socket) {
            patience.lose().await;
        }
    }
}

async fn read_packets(shared: Arc<Shared>, socket: UdpSocket, family: Family, tap: Tap) {
    let mut buffer = vec![0; LARGEST_PACKET];
    let mut patience = Patience::new();
    let place = if tap == Tap::Interface { Place::Interface } else { Place::Socket };
    loop {
        // The link went down, or the like: later packets come all the same.
        let Ok(length) = socket.recv(&mut buffer).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let is_probe = filter::datagram(family, tap, &buffer[..length])
            .is_some_and(|datagram| shared.probed(datagram.source, datagram.port, datagram.payload, place));
        if !is_probe {
            patience.lose().await;
        }
    }
}

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, port: Port) {
    let at_once = Arc::new(Semaphore::new(256));
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // Too many open files: let some be closed.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Those who come too many are hung up on.
        let Ok(permit) = Arc::clone(&at_once).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = timeout(Duration::from_secs(2), dialled(&shared, stream, from.ip(), port)).await;
            drop(permit);
        });
    }
}

/// Says that this is the node that was meant; to others nothing.
async fn dialled(shared: &Shared, mut stream: TcpStream, from: IpAddr, at: Port) -> io::Result<()> {
    if !shared.is_listed(from) {
        shared.counters.stranger();
        return Ok(());
    }
    let mut question = [0; wire::HELLO];
    stream.read_exact(&mut question).await?;
    let Some((envelope, Body::Dial { port, nonce })) = shared.open(&question, from) else { return Ok(()) };
    if port == at {
        stream.write_all(&envelope.seal(Body::Answer { port, nonce }, wire::HELLO)).await?;
    }
    Ok(())
}
