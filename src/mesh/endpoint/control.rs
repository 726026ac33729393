//! The control port: where peers ask, over UDP, and over TCP in networks in which only that passes.
//!
//! systemd opened its sockets for a responder that is a unit of this host (hostlet-responder.socket). A responder that is run
//! by hand shares the port with that one, with SO_REUSEPORT: what comes from one port of a peer's always goes to the same
//! process. A process that proves does not share: where a responder is there, it leaves the answering to that one, so that a
//! kill of either leaves the other as it was.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use super::{Purpose, Shared};
use crate::{
    host::ports::{Holder, Holders, Scope},
    mesh::{bucket::Patience, receivers::bind_listener, wire},
    model::{Port, Protocol},
};

/// As many may wait as a cluster has nodes.
const BACKLOG: i32 = 1024;

/// Sockets that are open, before anything is read from them.
pub(super) struct Control {
    datagrams: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    /// Rather than another process's.
    pub(super) is_ours: bool,
}

impl Control {
    /// Opens them, or takes those that systemd opened.
    pub(super) fn open(purpose: &Purpose, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Self> {
        let mut control = Self { datagrams: Vec::new(), listeners: Vec::new(), is_ours: true };
        if let Purpose::Answer { sockets } = purpose
            && !sockets.is_empty()
        {
            sockets.iter().try_for_each(|socket| control.take(socket))?;
            return Ok(control);
        }
        for address in addresses {
            let opened = match purpose {
                Purpose::Prove => control.bind(address),
                Purpose::Answer { .. } => control.bind_shared(address),
            };
            match opened {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => control.is_ours = false,
                Err(error) => return Err(error),
            }
        }
        Ok(control)
    }

    fn bind(&mut self, address: SocketAddr) -> io::Result<()> {
        let datagrams = std::net::UdpSocket::bind(address)?;
        datagrams.set_nonblocking(true)?;
        self.listeners.push(bind_listener(address)?);
        self.datagrams.push(UdpSocket::from_std(datagrams)?);
        Ok(())
    }

    fn bind_shared(&mut self, address: SocketAddr) -> io::Result<()> {
        for kind in [Type::DGRAM, Type::STREAM] {
            let socket = Socket::new(Domain::for_address(address), kind, None)?;
            socket.set_reuse_port(true)?;
            if kind == Type::STREAM {
                socket.set_reuse_address(true)?;
            }
            socket.bind(&address.into())?;
            if kind == Type::STREAM {
                socket.listen(BACKLOG)?;
            }
            self.take(&socket)?;
        }
        Ok(())
    }

    fn take(&mut self, socket: &Socket) -> io::Result<()> {
        let kind = socket.r#type()?;
        let socket = socket.try_clone()?;
        socket.set_nonblocking(true)?;
        if kind == Type::DGRAM {
            self.datagrams.push(UdpSocket::from_std(socket.into())?);
        } else {
            self.listeners.push(TcpListener::from_std(socket.into())?);
        }
        Ok(())
    }

    /// Answers.
    pub(super) fn start(self, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
        for socket in self.datagrams {
            tasks.spawn(answer_datagrams(Arc::clone(shared), socket));
        }
        for listener in self.listeners {
            tasks.spawn(answer_connections(Arc::clone(shared), listener));
        }
    }
}

/// Who has the port, for people.
pub(super) fn holder(port: u16) -> String {
    let Some(port) = NonZeroU16::new(port).map(|port| Port::known(port.get())) else { return "nobody".to_owned() };
    let both = [Protocol::Udp, Protocol::Tcp];
    let Ok(holders) = Holders::of(&both.map(|protocol| (protocol, port))) else { return "another process".to_owned() };
    let found = both.map(|protocol| holders.holder(protocol, Scope::Every, port));
    found.iter().find(|holder| **holder != Holder::Nobody).unwrap_or(&found[0]).to_string()
}

async fn answer_datagrams(shared: Arc<Shared>, socket: UdpSocket) {
    let mut buffer = vec![0; wire::LONGEST];
    let mut patience = Patience::new();
    loop {
        // Errors are about answers of the past.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        match shared.answer(&buffer[..length], from.ip()) {
            Some(answer) => drop(socket.send_to(&answer, from).await),
            None => patience.lose().await,
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
pub(in crate::mesh) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; wire::HEADER];
    stream.read_exact(&mut bytes).await?;
    let size = wire::size(&bytes).filter(|size| (wire::HEADER..=wire::CONTROL).contains(size));
    bytes.resize(size.ok_or(io::ErrorKind::InvalidData)?, 0);
    stream.read_exact(&mut bytes[wire::HEADER..]).await?;
    Ok(bytes)
}
