//! What questions go over: UDP, and TCP where UDP is not answered.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, UdpSocket},
    time::{sleep, timeout, timeout_at},
};

use super::round::Session;
use crate::mesh::{
    body::Body,
    endpoint::{Shared, read_message},
    key,
    session::Envelope,
    wire,
};

/// A way to ask one peer.
pub(super) struct Line {
    pub(super) envelope: Envelope,
    socket: UdpSocket,
    source: IpAddr,
    control: SocketAddr,
    refused: AtomicBool,
}

impl Line {
    pub(super) async fn open(shared: &Shared, session: &Session<'_>, nonce: key::Nonce) -> io::Result<Self> {
        let socket = UdpSocket::bind((session.source, 0)).await?;
        let control = SocketAddr::from((session.destination, shared.identity.port));
        socket.connect(control).await?;
        let envelope = shared.envelope(nonce, shared.id_of(session.peer));
        Ok(Self { envelope, socket, source: session.source, control, refused: false.into() })
    }

    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) async fn tell(&self, body: &Body) {
        let _ = self.socket.send(&self.envelope.seal(body.clone(), wire::HELLO)).await;
    }

    /// Asks until it is answered; none when it was not until then.
    pub(super) async fn ask(&self, body: &Body, size: usize, until: Instant) -> Option<Body> {
        let question = self.envelope.seal(body.clone(), size);
        let fits = |answer: &Body| answer.kind() == body.kind() + 1;
        let answered = async {
            tokio::select! {
                answer = self.by_datagram(&question, fits) => answer,
                answer = self.by_connection(&question, fits) => answer,
            }
        };
        timeout_at(until.into(), answered).await.ok()
    }

    async fn by_datagram(&self, question: &[u8], fits: impl Fn(&Body) -> bool) -> Body {
        let start = Instant::now();
        let mut buffer = vec![0; wire::CONTROL + 1];
        loop {
            if self.socket.send(question).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                self.refused.store(true, Ordering::Relaxed);
            }
            // A peer that starts later is not flooded meanwhile.
            let pause = if start.elapsed() < Duration::from_secs(2) { 80 } else { 400 };
            let next = Instant::now() + Duration::from_millis(pause);
            while let Ok(received) = timeout_at(next.into(), self.socket.recv(&mut buffer)).await {
                match received {
                    Ok(length) => {
                        if let Some(answer) = self.envelope.open(&buffer[..length]).filter(&fits) {
                            return answer;
                        }
                    }
                    Err(error) => {
                        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                        self.refused.fetch_or(refused, Ordering::Relaxed);
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }
    }

    async fn by_connection(&self, question: &[u8], fits: impl Fn(&Body) -> bool) -> Body {
        loop {
            sleep(Duration::from_millis(250)).await;
            if let Ok(Ok(bytes)) = timeout(Duration::from_secs(1), self.exchange(question)).await
                && let Some(answer) = self.envelope.open(&bytes).filter(&fits)
            {
                return answer;
            }
        }
    }

    async fn exchange(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        let socket = if self.source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((self.source, 0).into())?;
        let mut stream = socket.connect(self.control).await?;
        stream.write_all(question).await?;
        read_message(&mut stream).await
    }
}
