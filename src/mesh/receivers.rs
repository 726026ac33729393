//! Listens on every port that other nodes must reach: binds what is free; where somebody holds the port, a raw socket
//! behind the firewall still sees what comes for it. A tap before the firewall tells where a datagram was lost. A responder,
//! which stays while services start, binds nothing for longer than a session: see [`super::doors`].
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
use socket2::{Domain, Protocol as SocketProtocol, SockFilter, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
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
    raw: Vec<(UdpSocket, Family, Tap, Protocol)>,
    /// How this node listens, for each family.
    pub(super) listening: Vec<(Family, Listening)>,
}

impl Receivers {
    /// Opens everything that is needed; with `bind` also what somebody else may want to bind. `leaving` are the ports that
    /// this node connects to on others.
    pub(super) fn open(needed: &[(IpAddr, Requirement)], leaving: &[Port], bind: bool) -> io::Result<Self> {
        let mut receivers = Self { datagrams: Vec::new(), listeners: Vec::new(), raw: Vec::new(), listening: Vec::new() };
        for family in [Family::Ipv4, Family::Ipv6] {
            receivers.open_eyes(family, needed, leaving)?;
        }
        for (ip, requirement) in needed {
            receivers.add(*ip, *requirement, bind)?;
        }
        Ok(receivers)
    }

    fn open_eyes(&mut self, family: Family, needed: &[(IpAddr, Requirement)], leaving: &[Port]) -> io::Result<()> {
        let here = || needed.iter().map(|(_, requirement)| requirement).filter(|requirement| requirement.family == family);
        if here().next().is_none() {
            return Ok(());
        }
        let connections = here().filter(|one| one.protocol == Protocol::Tcp).map(|one| one.port).collect();
        for (tap, protocol, ports) in [
            (Tap::Interface, Protocol::Udp, Vec::new()),
            (Tap::Socket, Protocol::Udp, Vec::new()),
            (Tap::Interface, Protocol::Tcp, Vec::clone(&connections)),
            (Tap::Socket, Protocol::Tcp, connections),
            (Tap::Leaving, Protocol::Tcp, leaving.to_vec()),
        ] {
            let program = match protocol {
                Protocol::Udp => filter::program(family, tap),
                Protocol::Tcp => filter::connections(family, tap, &ports),
            };
            if protocol == Protocol::Udp || !ports.is_empty() {
                self.raw.extend(open_tap(family, tap, protocol, &program)?.map(|socket| (socket, family, tap, protocol)));
            }
        }
        Ok(())
    }

    fn add(&mut self, ip: IpAddr, requirement: Requirement, bind: bool) -> io::Result<()> {
        let Requirement { protocol, port, family, .. } = requirement;
        if !bind && (protocol == Protocol::Tcp || self.sees(family, Tap::Socket, Protocol::Udp)) {
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
                if protocol == Protocol::Tcp || self.sees(family, Tap::Socket, Protocol::Udp) { How::Taken } else { How::Blind }
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("listening on {requirement} at {ip}: {error}"))),
        };
        self.listening.push((family, Listening { protocol, port, how }));
        Ok(())
    }

    fn sees(&self, family: Family, tap: Tap, protocol: Protocol) -> bool {
        self.raw.iter().any(|(_, one, other, of)| (*one, *other, *of) == (family, tap, protocol))
    }

    /// What can be seen of packets.
    pub(super) fn eyes(&self) -> Eyes {
        let of = |family| Seeing {
            datagrams: self.sees(family, Tap::Interface, Protocol::Udp),
            connections: self.sees(family, Tap::Interface, Protocol::Tcp) && self.sees(family, Tap::Socket, Protocol::Tcp),
            leaving: self.sees(family, Tap::Leaving, Protocol::Tcp),
        };
        Eyes { ipv4: of(Family::Ipv4), ipv6: of(Family::Ipv6) }
    }

    /// Reads from all of it.
    pub(super) fn start(self, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
        for socket in self.datagrams {
            tasks.spawn(read_datagrams(Arc::clone(shared), socket));
        }
        for (socket, family, tap, protocol) in self.raw {
            let shared = Arc::clone(shared);
            match protocol {
                Protocol::Udp => tasks.spawn(read_packets(shared, socket, family, tap)),
                Protocol::Tcp => tasks.spawn(read_connections(shared, socket, family, tap)),
            };
        }
        for (listener, port) in self.listeners {
            tasks.spawn(accept(Arc::clone(shared), listener, port));
        }
    }
}

/// What a node can see of packets of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seeing {
    /// Datagrams before the firewall.
    pub(super) datagrams: bool,
    /// Beginnings of connections before the firewall and behind it.
    pub(super) connections: bool,
    /// The same of its own, on their way out.
    pub(super) leaving: bool,
}

/// The same of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Eyes {
    ipv4: Seeing,
    ipv6: Seeing,
}

impl Eyes {
    pub(super) const fn of(self, family: Family) -> Seeing {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
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
fn open_tap(family: Family, tap: Tap, protocol: Protocol, program: &[SockFilter]) -> io::Result<Option<UdpSocket>> {
    let packets = |protocol| {
        let network_order = u16::try_from(protocol).map_err(io::Error::other)?.to_be();
        Ok::<_, io::Error>((Domain::PACKET, Type::DGRAM, SocketProtocol::from(i32::from(network_order))))
    };
    let transport = if protocol == Protocol::Udp { SocketProtocol::UDP } else { SocketProtocol::TCP };
    let (domain, kind, protocol) = match (family, tap) {
        // What leaves is shown only to those who want all protocols (packet(7)).
        (_, Tap::Leaving) => packets(libc::ETH_P_ALL)?,
        (Family::Ipv4, Tap::Interface) => packets(libc::ETH_P_IP)?,
        (Family::Ipv6, Tap::Interface) => packets(libc::ETH_P_IPV6)?,
        (Family::Ipv4, Tap::Socket) => (Domain::IPV4, Type::RAW, transport),
        (Family::Ipv6, Tap::Socket) => (Domain::IPV6, Type::RAW, transport),
    };
    let socket = match Socket::new(domain, kind.nonblocking(), Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        other => other?,
    };
    socket.attach_filter(program)?;
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

async fn read_connections(shared: Arc<Shared>, socket: UdpSocket, family: Family, tap: Tap) {
    // Ports stand at the beginning; IPv4's header has 60 bytes at the most.
    let mut buffer = [0; 128];
    let place = match tap {
        Tap::Interface => Place::Interface,
        Tap::Socket => Place::Socket,
        Tap::Leaving => Place::Leaving,
    };
    let without_header = family == Family::Ipv6 && tap == Tap::Socket;
    loop {
        let received = if without_header {
            socket.recv_from(&mut buffer).await.map(|(length, from)| (length, Some(from.ip())))
        } else {
            socket.recv(&mut buffer).await.map(|length| (length, None))
        };
        let Ok((length, from)) = received else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        if let Some(syn) = filter::syn(family, tap, &buffer[..length], from) {
            shared.ledger.record_syn(syn, place);
        }
    }
}

/// Opens a port for a while, and answers on it until that is aborted.
pub(super) fn open_for_a_while(
    shared: &Arc<Shared>,
    at: SocketAddr,
    protocol: Protocol,
    port: Port,
) -> io::Result<AbortHandle> {
    let shared = Arc::clone(shared);
    let answering = match protocol {
        Protocol::Udp => tokio::spawn(read_datagrams(shared, bind_datagrams(at)?)),
        Protocol::Tcp => tokio::spawn(accept(shared, bind_listener(at)?, port)),
    };
    Ok(answering.abort_handle())
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, port: Port) {
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
    if !shared.may_speak(from) {
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
