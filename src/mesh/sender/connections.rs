//! TCP by connecting, and a question that nobody but the peer can answer.

use std::{
    net::SocketAddr,
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

use super::{LAST, NO_ROUTE, came_back, is_silent_neighbour, look_for_neighbour, own_error};
use crate::{
    host::datagrams,
    mesh::{
        body::{Body, Ending, How, Size},
        key,
        session::{Outgoing, Target, is_final},
        wire,
    },
};

/// When each connection is tried: a lost SYN is repeated by the kernel after a second only, and an answer may be lost as
/// well.
const CONNECTIONS: [u64; 7] = [0, 300, 450, 600, 750, 900, 1_050];

/// Connects until it is known who answers.
pub(super) async fn send(outgoing: &Outgoing, target: &Target, start: Instant) {
    let last = CONNECTIONS[CONNECTIONS.len() - 1];
    let attempts = CONNECTIONS.into_iter().map(|at| async move {
        sleep_until((start + Duration::from_millis(at)).into()).await;
        let (_, ending) = outgoing.ending(target.requirement, Size::Small);
        let held = outgoing.is_rejected(target.requirement, Size::Small) && at < last;
        if held || is_final(ending, target.how) {
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
                Some(libc::EHOSTUNREACH) if is_silent_neighbour(outgoing) => Ending::NoNeighbour,
                Some(libc::EHOSTUNREACH) => NO_ROUTE,
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
