//! A node that can be probed and asked: its receivers, its control port, and the sessions that peers have with it.
//!
//! Promise: nothing is answered but signed messages to this node from an address of the peer that signed, never with more
//! bytes than were asked with, and only to where the question came from. Each peer, and all together, are answered at a
//! bounded rate; all else is met with silence, and counted. Dropping it closes every socket.

mod answer;
mod counters;
mod identity;
mod members;
mod shared;
mod visit;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use super::{
    body::Firewall,
    firewall,
    ledger::Place,
    problem::MeshError,
    receivers::{Eyes, Receivers, bind_listener},
    requirement::Requirement,
    wire,
};
use crate::host::{detached, open_files};

pub use counters::Counters;
pub use identity::Identity;
pub(super) use shared::Shared;

/// What an endpoint is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Peers ask.
    Answer,
    /// This node asks as well.
    Prove,
}

/// A node that can be probed and asked, as long as it is not dropped.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    answers: bool,
}

impl Endpoint {
    /// Opens every socket, and tells peers that ask whether this node needs answers of its own. Where the control port is in use, another responder of this host answers on it, and this
    /// endpoint only asks.
    pub async fn open(identity: Identity, purpose: Purpose) -> Result<Self, MeshError> {
        let Identity { this, peers, rules, .. } = &identity;
        let received = if identity.newcomers { rules.received_by_any(this) } else { rules.received_by(this, peers) };
        let needed: Vec<(IpAddr, Requirement)> =
            received.into_iter().filter_map(|requirement| Some((this.address(requirement.family)?, requirement))).collect();
        // With a thousand peers there are thousands of sockets; where the limit stays low, some are tried later.
        let _ = open_files::raise_limit();
        let receivers = Receivers::open(&needed, &rules.connected_to(this))?;
        let firewall = detached::run("mesh-firewall", firewall::active).await?;
        let mut control = Vec::new();
        let mut answers = true;
        for address in &this.addresses {
            match bind_control((address.ip(), identity.port).into()) {
                Ok(sockets) => control.push(sockets),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => answers = false,
                Err(error) => return Err(error.into()),
            }
        }
        let shared = Arc::new(Shared::new(identity, receivers.listening.clone(), receivers.eyes(), firewall)?);
        if purpose == Purpose::Prove {
            shared.identity.asked().into_iter().for_each(|peer| shared.needs(shared.id_of(peer), true));
        }
        let mut tasks = JoinSet::new();
        receivers.start(&shared, &mut tasks);
        let pulse = Arc::clone(&shared.pulse);
        tasks.spawn(async move { pulse.beat().await });
        for (datagrams, listener) in control {
            tasks.spawn(answer_datagrams(Arc::clone(&shared), datagrams));
            tasks.spawn(answer_connections(Arc::clone(&shared), listener));
        }
        Ok(Self { shared, _tasks: tasks, answers })
    }

    /// One without sockets of its own, which answers what [`Endpoint::hear`] is given: for fuzzing what it makes of messages.
    pub fn without_sockets(identity: Identity) -> Result<Self, MeshError> {
        let shared = Arc::new(Shared::new(identity, Vec::new(), Eyes::default(), Firewall::None)?);
        Ok(Self { shared, _tasks: JoinSet::new(), answers: false })
    }

    /// What is answered to a datagram from there, if anything is.
    #[must_use]
    pub fn hear(&self, datagram: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        self.shared.answer(datagram, from)
    }

    /// A datagram came from there to a port that is probed.
    pub fn probed(&self, from: IpAddr, port: u16, datagram: &[u8]) {
        self.shared.probed(Some(from), port, datagram, Place::Socket);
    }

    /// Whether this endpoint answers on the control port, rather than another responder of this host.
    pub fn must_answer(&self) -> Result<(), MeshError> {
        if self.answers { Ok(()) } else { Err(MeshError::PortInUse { port: self.shared.identity.port }) }
    }

    /// What was met with silence.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Keeps answering while peers that are in the middle of their own preflight need it; ten seconds at most.
    pub async fn linger(&self) {
        const SILENT: Duration = Duration::from_secs(3);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if !self.shared.is_needed_by_others(SILENT) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn bind_control(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let datagrams = std::net::UdpSocket::bind(address)?;
    datagrams.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(datagrams)?, bind_listener(address)?))
}

async fn answer_datagrams(shared: Arc<Shared>, socket: UdpSocket) {
    let mut buffer = vec![0; wire::LONGEST];
    loop {
        // Errors are about answers of the past.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = shared.answer(&buffer[..length], from.ip()) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// For networks in which TCP passes and UDP does not: one question and one answer for each connection.
async fn answer_connections(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if !shared.may_speak(from.ip()) {
            shared.counters.stranger();
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = timeout(Duration::from_secs(2), answer_connection(&shared, stream, from.ip())).await;
        });
    }
}

async fn answer_connection(shared: &Arc<Shared>, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
    let question = read_message(&mut stream).await?;
    if let Some(answer) = shared.answer(&question, from) {
        stream.write_all(&answer).await?;
    }
    Ok(())
}

/// A message tells its own length.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; wire::HEADER];
    stream.read_exact(&mut bytes).await?;
    let size = wire::size(&bytes).filter(|size| (wire::HEADER..=wire::CONTROL).contains(size));
    bytes.resize(size.ok_or(io::ErrorKind::InvalidData)?, 0);
    stream.read_exact(&mut bytes[wire::HEADER..]).await?;
    Ok(bytes)
}
