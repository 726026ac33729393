//! Sends probes: UDP from a fresh port, since conntrack lets answers to older traffic pass; TCP by connecting.
//!
//! Promise: it ends before [`VERDICT`] and what an end missed, and at once when all has been learnt. It sends to the session's one address only.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use nix::libc;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, sleep_until},
};

use super::{
    body::{Body, Ending, How, Icmp, Probe, Size},
    key,
    requirement::{Framing, Requirement},
    session::{Outgoing, Target, is_final},
    wire,
};
use crate::{
    host::{
        datagrams::{self, Origin, SendError},
        links,
    },
    model::Protocol,
};

/// How long after a peer is armed the verdict on it stands.
pub(super) const VERDICT: Duration = Duration::from_millis(1_500);

/// When sending ends, so that what was learnt can still be told.
const LAST: Duration = Duration::from_millis(1_400);

/// When each datagram is sent that has not been confirmed: where one in twenty is lost, seven of seven are once in a
/// billion times.
const DATAGRAMS: [u64; 7] = [0, 150, 400, 800, 950, 1_100, 1_250];

/// When each connection is tried: a lost SYN is repeated by the kernel after a second only, and an answer may be lost as
/// well.
const CONNECTIONS: [u64; 7] = [0, 300, 450, 600, 750, 900, 1_050];

/// A small probe's size as a packet.
const SMALL: usize = 128;

/// Sends everything, and then says what it heard in `outgoing`.
pub(super) async fn send(outgoing: Arc<Outgoing>) {
    let start = Instant::now();
    join_all(outgoing.targets.iter().map(|target| async {
        match target.requirement.protocol {
            Protocol::Udp => datagrams_to(&outgoing, target, start).await,
            Protocol::Tcp => connections_to(&outgoing, target, start).await,
        }
    }))
    .await;
}

/// So many bytes of payload make a packet of that size.
fn payload(outgoing: &Outgoing, size: Size) -> usize {
    let packet = packet(outgoing, size);
    packet - wire::headers(outgoing.destination)
}

/// How large the packet is.
pub(super) fn packet(outgoing: &Outgoing, size: Size) -> usize {
    match size {
        // An IPv6 packet with two addresses in its message needs a little more.
        Size::Small => SMALL + if outgoing.destination.is_ipv6() { 64 } else { 32 },
        Size::Full => usize::try_from(outgoing.mtu).unwrap_or(1500).clamp(1280, wire::LONGEST),
    }
}

async fn datagrams_to(outgoing: &Outgoing, target: &Target, start: Instant) {
    let requirement = target.requirement;
    let Ok(socket) = datagram_socket(outgoing, requirement) else {
        return;
    };
    // Nodes that start together should not all send at once.
    let jitter = key::nonce().map_or(0, |bytes| u64::from(bytes[0]) / 16);
    for (attempt, at) in DATAGRAMS.into_iter().enumerate() {
        let shift = if attempt == 0 { 0 } else { jitter };
        if !listen(outgoing, target, &socket, start + Duration::from_millis(at + shift), false).await {
            return;
        }
        for size in target.sizes() {
            if !outgoing.is_confirmed(requirement.port, *size) {
                emit(outgoing, requirement, &socket, *size, u8::try_from(attempt).unwrap_or(7));
            }
        }
    }
    if listen(outgoing, target, &socket, start + LAST, true).await {
        look_for_neighbour(outgoing, requirement, target.sizes());
    }
}

fn datagram_socket(outgoing: &Outgoing, requirement: Requirement) -> io::Result<Socket> {
    let ipv4 = outgoing.source.is_ipv4();
    let attempt = || {
        let socket = Socket::new(Domain::for_address((outgoing.source, 0).into()), Type::DGRAM.nonblocking(), None)?;
        socket.bind(&SocketAddr::from((outgoing.source, 0)).into())?;
        datagrams::keep_errors(&socket, ipv4)?;
        datagrams::never_fragment(&socket, ipv4)?;
        socket.connect(&SocketAddr::from((outgoing.destination, requirement.port.number())).into())?;
        Ok(socket)
    };
    attempt().inspect_err(|error: &io::Error| {
        if let Some(ending) = own_error(error) {
            for size in [Size::Small, Size::Full] {
                outgoing.heard(requirement, size, ending);
            }
        }
    })
}

/// Waits until then, the last time also for what an end missed, taking errors as they come back; false when all has been
/// confirmed.
async fn listen(outgoing: &Outgoing, target: &Target, socket: &Socket, until: Instant, last: bool) -> bool {
    let requirement = target.requirement;
    loop {
        while let Some(error) = datagrams::next_error(socket) {
            let Some(ending) = came_back(outgoing, &error) else { continue };
            // What is too large is too large for the full size only; for the rest one cannot tell, and it concerns both.
            let sizes = if matches!(ending, Ending::TooLarge { .. }) { &[Size::Full][..] } else { target.sizes() };
            for size in sizes {
                outgoing.heard(requirement, *size, ending);
            }
        }
        if target.sizes().iter().all(|size| outgoing.is_confirmed(requirement.port, *size)) {
            return false;
        }
        let (now, until) = (Instant::now(), until + if last { outgoing.allowed() } else { Duration::ZERO });
        if now >= until {
            return true;
        }
        sleep((until - now).min(Duration::from_millis(40))).await;
    }
}

fn emit(outgoing: &Outgoing, requirement: Requirement, socket: &Socket, size: Size, attempt: u8) {
    let probe = Probe { port: requirement.port, size, attempt, source: outgoing.source, destination: outgoing.destination };
    let length = payload(outgoing, size);
    let bytes = match requirement.framing {
        Framing::Plain => outgoing.envelope.seal(Body::Probe(probe), length),
        Framing::Vxlan => wire::behind_vxlan(&outgoing.envelope.seal(Body::Probe(probe), length - wire::VXLAN_HEADER)),
    };
    outgoing.attempted(requirement, size);
    // The first call may return what came back for an earlier datagram.
    for _ in 0..2 {
        match socket.send(&bytes) {
            Ok(_) => return,
            Err(error) => {
                let Some(ending) = own_error(&error) else { continue };
                outgoing.heard(requirement, size, ending);
                return;
            }
        }
    }
}

/// What this host's kernel says without anything having come back.
fn own_error(error: &io::Error) -> Option<Ending> {
    match error.raw_os_error()? {
        libc::EPERM => Some(Ending::NotPermitted),
        libc::ENETUNREACH => Some(Ending::Icmp { meaning: Icmp::NoRoute, by: None }),
        libc::EMSGSIZE => Some(Ending::TooLarge { mtu: 0, by: None }),
        _ => None,
    }
}

/// What an error that came back means.
fn came_back(outgoing: &Outgoing, error: &SendError) -> Option<Ending> {
    let icmp = |meaning| Some(Ending::Icmp { meaning, by: error.by });
    match error.origin {
        // The kernel itself says host unreachable when nobody answered to ARP (RFC 1122, 3/1).
        Origin::Icmp(3, 1) | Origin::Icmpv6(1, 3) if error.by.is_none_or(|by| by == outgoing.source) => {
            Some(Ending::NoNeighbour)
        }
        Origin::Icmp(3, 3) | Origin::Icmpv6(1, 4) => icmp(Icmp::PortUnreachable),
        Origin::Icmp(3, 4) | Origin::Icmpv6(2, _) => {
            Some(Ending::TooLarge { mtu: u16::try_from(error.mtu).unwrap_or(u16::MAX), by: error.by })
        }
        Origin::Icmp(3, 9 | 10 | 13) | Origin::Icmpv6(1, 1 | 5 | 6) => icmp(Icmp::Prohibited),
        Origin::Icmp(3, 0 | 1 | 5..=8 | 11 | 12) | Origin::Icmpv6(1, _) => icmp(Icmp::NoRoute),
        Origin::Local if error.errno == libc::EMSGSIZE => {
            Some(Ending::TooLarge { mtu: u16::try_from(error.mtu).unwrap_or(u16::MAX), by: None })
        }
        Origin::Local if error.errno == libc::EHOSTUNREACH => Some(Ending::NoNeighbour),
        _ => None,
    }
}

/// The kernel gives up on a neighbour after three seconds only, but it knows earlier that nobody answers.
fn look_for_neighbour(outgoing: &Outgoing, requirement: Requirement, sizes: &[Size]) {
    if links::silent_neighbours().is_ok_and(|silent| silent.contains(&outgoing.destination)) {
        for size in sizes {
            outgoing.heard(requirement, *size, Ending::NoNeighbour);
        }
    }
}

async fn connections_to(outgoing: &Outgoing, target: &Target, start: Instant) {
    let attempts = CONNECTIONS.into_iter().map(|at| async move {
        sleep_until((start + Duration::from_millis(at)).into()).await;
        let (_, ending) = outgoing.ending(target.requirement, Size::Small);
        if is_final(ending, target.how) {
            return;
        }
        outgoing.attempted(target.requirement, Size::Small);
        let too_late = async {
            while Instant::now() < start + LAST + outgoing.allowed() {
                sleep(Duration::from_millis(40)).await;
            }
        };
        tokio::select! {
            ending = connection_to(outgoing, target) => outgoing.heard(target.requirement, Size::Small, ending),
            () = too_late => {}
        }
    });
    let reached = async {
        while !is_final(outgoing.ending(target.requirement, Size::Small).1, target.how) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = join_all(attempts) => {
            look_for_neighbour(outgoing, target.requirement, &[Size::Small]);
            // The kernel does not tell who connects that a rule dropped what it sent.
            if outgoing.is_held_back(target.requirement.port) {
                outgoing.heard(target.requirement, Size::Small, Ending::NotPermitted);
            }
        }
        () = reached => {}
    }
}

async fn connection_to(outgoing: &Outgoing, target: &Target) -> Ending {
    let port = target.requirement.port;
    let attempt = || {
        let socket = Socket::new(Domain::for_address((outgoing.source, 0).into()), Type::STREAM.nonblocking(), None)?;
        datagrams::keep_errors(&socket, outgoing.source.is_ipv4())?;
        socket.bind(&SocketAddr::from((outgoing.source, 0)).into())?;
        // Connecting takes the socket; its errors are read from the copy.
        Ok((socket.try_clone()?, socket))
    };
    let (errors, socket) = match attempt() {
        Ok(sockets) => sockets,
        Err(error) => return own_error(&error).unwrap_or(Ending::Silence),
    };
    let socket = TcpSocket::from_std_stream(socket.into());
    match socket.connect((outgoing.destination, port.number()).into()).await {
        Ok(_) if target.how != Some(How::Bound) => Ending::Reached { proved: false },
        Ok(stream) => {
            // The answer may come too late where the peer is busy: then this much is known.
            outgoing.heard(target.requirement, Size::Small, Ending::Reached { proved: false });
            dial(outgoing, target, stream).await
        }
        Err(error) => {
            if let Some(ending) = datagrams::next_error(&errors).and_then(|error| came_back(outgoing, &error)) {
                return ending;
            }
            match error.raw_os_error() {
                Some(libc::ECONNREFUSED | libc::ECONNRESET) => Ending::Reset,
                Some(libc::EHOSTUNREACH) => Ending::NoNeighbour,
                _ => own_error(&error).unwrap_or(Ending::Silence),
            }
        }
    }
}

/// Asks who is there. Nobody but the peer can give the answer.
async fn dial(outgoing: &Outgoing, target: &Target, mut stream: TcpStream) -> Ending {
    let port = target.requirement.port;
    let Ok(nonce) = key::nonce() else { return Ending::Silence };
    let question = outgoing.envelope.seal(Body::Dial { port, nonce }, wire::HELLO);
    let mut answer = [0; wire::HELLO];
    let exchange = async {
        stream.write_all(&question).await?;
        stream.read_exact(&mut answer).await.map(drop)
    };
    match exchange.await {
        Ok(()) if outgoing.envelope.open(&answer) == Some(Body::Answer { port, nonce }) => Ending::Reached { proved: true },
        Ok(()) => Ending::Impostor,
        // Hung up: by a peer that ends, or by somebody to whom the question means nothing.
        Err(_) => Ending::Reached { proved: false },
    }
}
