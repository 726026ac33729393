//! What questions go over: UDP, and TCP where UDP is not answered.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, UdpSocket},
    time::{sleep, timeout, timeout_at},
};

use super::{Turns, round::Session};
use crate::mesh::{body::Body, endpoint::read_message, key, session::Envelope, wire};

/// What ends a question.
enum Answer {
    Body(Body),
    /// The peer cannot give any.
    OtherVersion,
}

/// A way to ask one peer.
pub(super) struct Line<'l> {
    pub(super) envelope: Envelope,
    socket: UdpSocket,
    source: IpAddr,
    control: SocketAddr,
    turns: &'l Turns,
    refused: AtomicBool,
    /// The version that the peer speaks, if it is another one; 0 while that is not known.
    other_version: AtomicU8,
}

impl<'l> Line<'l> {
    pub(super) async fn open(session: &Session<'l>, nonce: key::Nonce) -> io::Result<Self> {
        let shared = session.shared;
        let socket = UdpSocket::bind((session.source, 0)).await?;
        let control = SocketAddr::from((session.destination, shared.identity.port));
        socket.connect(control).await?;
        let envelope = shared.envelope(nonce, shared.id_of(session.peer));
        Ok(Self {
            envelope,
            socket,
            source: session.source,
            control,
            turns: session.turns,
            refused: false.into(),
            other_version: 0.into(),
        })
    }

    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The version of the format that the peer speaks, if it said that it is another one.
    pub(super) fn other_version(&self) -> Option<u8> {
        Some(self.other_version.load(Ordering::Relaxed)).filter(|version| *version != 0)
    }

    pub(super) async fn tell(&self, body: &Body) {
        let _ = self.socket.send(&self.envelope.seal(body.clone(), wire::HELLO)).await;
    }

    /// What an answer says, if it is one to wait for no longer.
    fn read(&self, bytes: &[u8], fits: impl Fn(&Body) -> bool) -> Option<Answer> {
        if let Some(version) = self.envelope.other_version(bytes) {
            self.other_version.store(version, Ordering::Relaxed);
            return Some(Answer::OtherVersion);
        }
        self.envelope.open(bytes).filter(fits).map(Answer::Body)
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
        match timeout_at(until.into(), answered).await {
            Ok(Answer::Body(body)) => Some(body),
            Ok(Answer::OtherVersion) | Err(_) => None,
        }
    }

    async fn by_datagram(&self, question: &[u8], fits: impl Fn(&Body) -> bool) -> Answer {
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
                        if let Some(answer) = self.read(&buffer[..length], &fits) {
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

    async fn by_connection(&self, question: &[u8], fits: impl Fn(&Body) -> bool) -> Answer {
        loop {
            sleep(Duration::from_millis(250)).await;
            let _turn = self.turns.connecting.acquire().await;
            if let Ok(Ok(bytes)) = timeout(Duration::from_secs(1), self.exchange(question)).await
                && let Some(answer) = self.read(&bytes, &fits)
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
