//! Asks every peer at once: expect my probes, and probe me. Both directions are proved in one round.
//!
//! Promise: a peer that does not answer is pending, never a pass and never called blocked, unless its own messages come
//! here. From when a peer is armed the verdict takes [`sender::VERDICT`] at the most, and no longer than it needs; what the
//! two processes did not get to run is added, since neither could look meanwhile.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, UdpSocket},
    time::{sleep, timeout, timeout_at},
};

use super::{
    Endpoint,
    body::{Arrived, Body, Ending, Firewall, Listening, Sent, Size},
    endpoint::{Shared, read_message},
    key,
    report::{MeshReport, PairReport, State},
    requirement::{Family, Node, Requirement},
    sender,
    session::{Envelope, Outgoing, Target, is_final},
    verdict::{self, Context, End, Evidence, Verdict},
    wire,
};
use crate::{
    config::{Mesh, Peer},
    host::links,
    model::Protocol,
};

/// A peer that answers is there at once; so long a silence is waited for even where nobody waits.
const LEAST_WAIT: Duration = Duration::from_millis(1_400);

/// Proves every pair of this node and a peer. `waiting` is told, after two seconds, who has not started.
pub async fn prove(endpoint: &Endpoint, mesh: &Mesh, waiting: impl Fn(&[&str])) -> MeshReport {
    let start = Instant::now();
    let shared = &endpoint.shared;
    let wanted = |node: &Node| {
        let peer = Peer { name: node.name.clone(), addresses: node.addresses.clone(), role: node.role };
        mesh.wait_for.includes(&peer)
    };
    let peers = &shared.identity.peers;
    let pairs = join_all(peers.iter().map(|peer| {
        let wait = if wanted(peer) { mesh.wait_timeout.max(LEAST_WAIT) } else { LEAST_WAIT };
        pair(Arc::clone(shared), peer, wanted(peer), start + wait)
    }));
    let told = async {
        sleep(Duration::from_secs(2)).await;
        let missing = peers.iter().filter(|peer| wanted(peer) && shared.is_needed(peer)).map(|peer| peer.name.as_str());
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            waiting(&missing);
        }
        std::future::pending::<()>().await;
    };
    let pairs = tokio::select! {
        pairs = pairs => pairs,
        () = told => Vec::new(),
    };
    MeshReport::new(shared.identity.this.clone(), pairs, start.elapsed())
}

async fn pair(shared: Arc<Shared>, peer: &Node, waited_for: bool, until: Instant) -> PairReport {
    let id = shared.id_of(peer);
    let this = &shared.identity.this;
    let rules = &shared.identity.rules;
    let (out, back) = (rules.between(this, peer), rules.between(peer, this));
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    let families = families.filter(|family| out.iter().chain(&back).any(|one| one.family == *family));
    let sessions = families.filter_map(|family| Some((family, this.address(family)?, peer.address(family)?)));
    let results = join_all(sessions.map(|(family, source, destination)| {
        let session = Session { shared: &shared, peer, family, source, destination };
        async move { session.run(until).await }
    }))
    .await;
    shared.needs(id, false);
    let (mut verdicts, mut state) = (Vec::new(), State::Proved);
    for result in results {
        match result {
            Ok(mut of_family) => verdicts.append(&mut of_family),
            Err(unseen) => {
                state = unseen.state;
                verdicts.extend(unseen.verdicts);
            }
        }
    }
    PairReport { peer: peer.clone(), waited_for, state, verdicts }
}

/// One peer in one family.
struct Session<'s> {
    shared: &'s Arc<Shared>,
    peer: &'s Node,
    family: Family,
    source: IpAddr,
    destination: IpAddr,
}

/// A peer that did not answer, and what reached its services all the same.
struct Unseen {
    state: State,
    verdicts: Vec<Verdict>,
}

/// What the peer told in the end.
#[derive(Default)]
struct Told {
    arrived: Vec<Arrived>,
    sent: Vec<Sent>,
    at_all: bool,
}

impl Session<'_> {
    async fn run(&self, until: Instant) -> Result<Vec<Verdict>, Unseen> {
        let opened = async {
            let nonce = key::nonce()?;
            Ok::<_, io::Error>((nonce, Line::open(self.shared, self, nonce).await?))
        };
        let (nonce, line) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                let state = State::Silent { reason: format!("no socket could be opened: {error}") };
                return Err(Unseen { state, verdicts: Vec::new() });
            }
        };
        let Some(Body::Challenge { cookie }) = line.ask(&Body::Hello, wire::HELLO, until).await else {
            return Err(self.unseen(&line).await);
        };
        self.shared.expect(nonce, self.peer, self.family);
        let arm = Body::Arm { cookie, listening: self.shared.listening(self.family) };
        // It is pending until it is armed; a cookie is good for half a minute.
        let asked = Instant::now();
        let latest = until.clamp(asked + sender::VERDICT, asked + Duration::from_secs(20));
        let armed = line.ask(&arm, wire::CONTROL, latest).await;
        let Some(Body::Armed { listening, firewall, needs_you }) = armed else {
            self.shared.ledger.close(&nonce);
            return Err(self.unseen(&line).await);
        };
        self.shared.needed_by(line.envelope.to, needs_you);
        let targets = self.shared.targets(self.peer, self.family, &listening);
        let mtu = self.shared.mtu(self.source);
        let outgoing = Outgoing::new(line.envelope.clone(), (self.source, self.destination), mtu, targets, &self.shared.pulse);
        let outgoing = Arc::new(outgoing);
        let told = self.probe_both_ways(&line, &outgoing, cookie).await;
        let verdicts = self.verdicts(&outgoing, &told, &listening, firewall, &nonce);
        self.shared.ledger.close(&nonce);
        // Should it be lost, the peer waits for a while for nothing.
        for _ in 0..2 {
            line.tell(&Body::Done { cookie }).await;
        }
        Ok(verdicts)
    }

    /// Sends, and asks what arrived, until all did or the time is up.
    async fn probe_both_ways(&self, line: &Line, outgoing: &Arc<Outgoing>, cookie: key::Nonce) -> Told {
        let start = Instant::now();
        // The last question may still be answered a little after the verdict's time.
        let end = || start + sender::VERDICT + outgoing.allowed();
        let sending = tokio::spawn(sender::send(Arc::clone(outgoing)));
        let mut told = Told::default();
        let mut pause = Duration::from_millis(5);
        while Instant::now() < end() {
            sleep(pause.min(end().saturating_duration_since(Instant::now()))).await;
            let ask = Body::Ask { cookie, arrived: self.arrived(line), late: outgoing.late() };
            // Where an end did not get to run, its answer is waited for, since it tells how much it missed.
            let grace = Duration::from_millis(if outgoing.allowed().is_zero() { 200 } else { 1_000 });
            let latest = (Instant::now() + Duration::from_millis(400)).max(end()).min(end() + grace);
            if let Some(Body::Tell { arrived, sent, needs_you, late }) = line.ask(&ask, wire::CONTROL, latest).await {
                outgoing.confirm(&arrived);
                outgoing.allowance.heard(late);
                self.shared.needed_by(line.envelope.to, needs_you);
                told = Told { arrived, sent, at_all: true };
            }
            if outgoing.is_complete() && self.all_came(line, &told) {
                break;
            }
            pause = (pause * 2).min(Duration::from_millis(160));
        }
        sending.abort();
        told
    }

    fn arrived(&self, line: &Line) -> Vec<Arrived> {
        self.shared.ledger.arrived(&line.envelope.session, self.shared.sees_interface(self.family))
    }

    /// Whether all that the peer has to prove has been proved.
    fn all_came(&self, line: &Line, told: &Told) -> bool {
        let arrived = self.arrived(line);
        self.back().iter().all(|requirement| match requirement.protocol {
            Protocol::Udp => arrived.iter().filter(|one| one.port == requirement.port).all(|one| one.socket != 0),
            Protocol::Tcp => {
                let sent = find_sent(&told.sent, *requirement, Size::Small);
                let listening = self.shared.listening(self.family);
                let how = listening.iter().find(|one| (one.protocol, one.port) == (Protocol::Tcp, requirement.port));
                sent.is_some_and(|sent| is_final(sent.ending, how.map(|one| one.how)))
            }
        })
    }

    /// What the peer must reach on this node.
    fn back(&self) -> Vec<Requirement> {
        let needed = self.shared.identity.rules.between(self.peer, &self.shared.identity.this);
        needed.into_iter().filter(|requirement| requirement.family == self.family).collect()
    }

    fn ends(&self) -> (End, End) {
        let end = |node: &Node, address| End { name: node.name.clone(), address };
        (end(&self.shared.identity.this, self.source), end(self.peer, self.destination))
    }

    fn verdicts(
        &self,
        outgoing: &Outgoing,
        told: &Told,
        theirs: &[Listening],
        firewall: Firewall,
        nonce: &key::Nonce,
    ) -> Vec<Verdict> {
        let (this, peer) = self.ends();
        let ours = self.shared.ledger.arrived(nonce, self.shared.sees_interface(self.family));
        let how = |listening: &[Listening], one: Requirement| {
            let found = listening.iter().find(|other| (other.protocol, other.port) == (one.protocol, one.port));
            found.map(|found| found.how)
        };
        let mut there = Vec::new();
        for target in &outgoing.targets {
            for size in target.sizes() {
                let (attempts, ending) = outgoing.ending(target.requirement, *size);
                there.push(Evidence {
                    from: this.clone(),
                    to: peer.clone(),
                    requirement: target.requirement,
                    size: *size,
                    bytes: bytes(outgoing, *size),
                    attempts,
                    ending,
                    arrived: find_arrived(&told.arrived, target.requirement, *size),
                    listening: how(theirs, target.requirement),
                    firewall,
                    told: attempts > 0
                        && !outgoing.is_hopeless()
                        && (told.at_all || target.requirement.protocol == Protocol::Tcp),
                });
            }
        }
        let mut back = Vec::new();
        let listening = self.shared.listening(self.family);
        for requirement in self.back() {
            for size in (Target { requirement, how: None }).sizes() {
                let sent = find_sent(&told.sent, requirement, *size);
                back.push(Evidence {
                    from: peer.clone(),
                    to: this.clone(),
                    requirement,
                    size: *size,
                    bytes: bytes(outgoing, *size),
                    attempts: sent.map_or(0, |sent| sent.attempts),
                    ending: sent.map_or(Ending::Silence, |sent| sent.ending),
                    arrived: find_arrived(&ours, requirement, *size),
                    listening: how(&listening, requirement),
                    firewall: self.shared.firewall,
                    told: told.at_all && !outgoing.is_hopeless() && sent.is_some_and(|sent| sent.attempts > 0),
                });
            }
        }
        // The peer answered, so this node's questions arrive there; answers to them may pass where nothing else does.
        let mut verdicts = judge_direction(there, true);
        verdicts.extend(judge_direction(back, false));
        verdicts
    }

    /// The peer did not answer: why, as far as can be told, and which of its services can be reached.
    async fn unseen(&self, line: &Line) -> Unseen {
        let silent = links::silent_neighbours().is_ok_and(|silent| silent.contains(&self.destination));
        let heard = self.shared.was_heard(self.shared.id_of(self.peer));
        let mut verdicts = Vec::new();
        if !silent {
            let mut targets = self.shared.targets(self.peer, self.family, &[]);
            targets.retain(|target| target.requirement.protocol == Protocol::Tcp);
            let mtu = self.shared.mtu(self.source);
            let outgoing =
                Outgoing::new(line.envelope.clone(), (self.source, self.destination), mtu, targets, &self.shared.pulse);
            let outgoing = Arc::new(outgoing);
            let _ = timeout(Duration::from_millis(350), sender::send(Arc::clone(&outgoing))).await;
            let (this, peer) = self.ends();
            for target in &outgoing.targets {
                let (attempts, ending) = outgoing.ending(target.requirement, Size::Small);
                if matches!(ending, Ending::Reached { .. }) {
                    let evidence = Evidence {
                        from: this.clone(),
                        to: peer.clone(),
                        requirement: target.requirement,
                        size: Size::Small,
                        bytes: bytes(&outgoing, Size::Small),
                        attempts,
                        ending,
                        arrived: None,
                        listening: None,
                        firewall: self.shared.firewall,
                        told: true,
                    };
                    verdicts.push(verdict::judge(evidence, Context::default()));
                }
            }
        }
        let port = self.shared.identity.port;
        let state = if silent {
            State::Down
        } else if heard {
            State::OneWay { port }
        } else if !verdicts.is_empty() {
            State::NoResponder { port }
        } else if line.refused() {
            State::NotStarted { port }
        } else {
            State::Silent { reason: format!("no answer from udp/{port} and tcp/{port}") }
        };
        Unseen { state, verdicts }
    }
}

fn bytes(outgoing: &Outgoing, size: Size) -> u16 {
    u16::try_from(sender::packet(outgoing, size)).unwrap_or(u16::MAX)
}

fn find_arrived(arrived: &[Arrived], requirement: Requirement, size: Size) -> Option<Arrived> {
    let udp = requirement.protocol == Protocol::Udp;
    arrived.iter().find(|one| udp && one.port == requirement.port && one.size == size).copied()
}

fn find_sent(sent: &[Sent], requirement: Requirement, size: Size) -> Option<Sent> {
    let same = |one: &&Sent| (one.protocol, one.port, one.size) == (requirement.protocol, requirement.port, size);
    sent.iter().find(same).copied()
}

/// All evidence from one node to the other.
fn judge_direction(evidence: Vec<Evidence>, control_arrives: bool) -> Vec<Verdict> {
    let came =
        |one: &Evidence| one.arrived.is_some_and(|arrived| arrived.socket != 0) || matches!(one.ending, Ending::Reached { .. });
    let contexts: Vec<_> = evidence
        .iter()
        .map(|one| Context {
            small_arrives: evidence
                .iter()
                .any(|other| other.requirement == one.requirement && other.size == Size::Small && came(other)),
            others_arrive: control_arrives
                || evidence.iter().any(|other| other.requirement.port != one.requirement.port && came(other)),
        })
        .collect();
    evidence.into_iter().zip(contexts).map(|(evidence, context)| verdict::judge(evidence, context)).collect()
}

/// What questions go over: UDP, and TCP where UDP is not answered.
struct Line {
    envelope: Envelope,
    socket: UdpSocket,
    source: IpAddr,
    control: SocketAddr,
    refused: std::sync::atomic::AtomicBool,
}

impl Line {
    async fn open(shared: &Shared, session: &Session<'_>, nonce: key::Nonce) -> io::Result<Self> {
        let socket = UdpSocket::bind((session.source, 0)).await?;
        let control = SocketAddr::from((session.destination, shared.identity.port));
        socket.connect(control).await?;
        let envelope = shared.envelope(nonce, shared.id_of(session.peer));
        Ok(Self { envelope, socket, source: session.source, control, refused: false.into() })
    }

    fn refused(&self) -> bool {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn tell(&self, body: &Body) {
        let _ = self.socket.send(&self.envelope.seal(body.clone(), wire::HELLO)).await;
    }

    /// Asks until it is answered; none when it was not until then.
    async fn ask(&self, body: &Body, size: usize, until: Instant) -> Option<Body> {
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
                self.refused.store(true, std::sync::atomic::Ordering::Relaxed);
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
                        self.refused.fetch_or(refused, std::sync::atomic::Ordering::Relaxed);
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
