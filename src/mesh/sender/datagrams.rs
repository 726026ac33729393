//! UDP from a fresh port, since conntrack lets answers to older traffic pass.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::libc;
use socket2::{Domain, Socket, Type};
use tokio::time::sleep;

use super::{LAST, NO_ROUTE, came_back, look_for_neighbour, own_error, packet};
use crate::{
    host::datagrams,
    mesh::{
        body::{Body, Ending, Probe, Size},
        key,
        requirement::{Framing, Requirement},
        session::{Outgoing, Target},
        wire,
    },
};

/// When each datagram is sent that has not been confirmed: where one in twenty is lost, seven of seven are once in a
/// billion times.
const DATAGRAMS: [u64; 7] = [0, 150, 400, 800, 950, 1_100, 1_250];

/// So many bytes of payload make a packet of that size.
fn payload(outgoing: &Outgoing, size: Size) -> usize {
    let packet = packet(outgoing, size);
    packet - wire::headers(outgoing.destination)
}

/// Sends small and full ones until they are confirmed.
pub(super) async fn send(outgoing: &Outgoing, target: &Target, start: Instant) {
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
            let held = outgoing.is_rejected(requirement, *size) && attempt + 1 < DATAGRAMS.len();
            if !held && !outgoing.is_confirmed(requirement.port, *size) {
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
        // Nobody was asked for a neighbour yet: a route or rule of the type unreachable.
        let unreachable = (error.raw_os_error() == Some(libc::EHOSTUNREACH)).then_some(NO_ROUTE);
        if let Some(ending) = unreachable.or_else(|| own_error(error)) {
            for size in [Size::Small, Size::Full] {
                // What this host does not let out was tried all the same.
                outgoing.attempted(requirement, size);
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
