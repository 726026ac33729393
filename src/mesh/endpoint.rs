//! A node that can be probed and asked: its receivers, its control port, and the sessions that peers have with it.
//!
//! Promise: nothing is answered but signed messages to this node from an address of the peer that signed, never with more
//! bytes than were asked with, and only to where the question came from. Each peer, and all together, are answered at a
//! bounded rate; all else is met with silence, and counted. Dropping it closes every socket.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::{
    body::{Body, Firewall, Listening},
    bucket::Bucket,
    filter::Tap,
    firewall,
    key::{self, Key, NodeId, Nonce},
    ledger::{Ledger, Place},
    pulse::Pulse,
    receivers::{Receivers, bind_listener},
    requirement::{Family, Node, Requirement, Rules},
    sender,
    session::{Envelope, Outgoing, Target},
    wire::{self, Message, Refused},
};
use crate::{
    config::{Mesh, Settings},
    host::{detached, files, links},
    model::NodeIdentity,
};

/// A session of which nothing is heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// A cookie is good for this long, at the least.
const COOKIE: Duration = Duration::from_secs(30);

/// Why this node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The key cannot be read.
    #[error(
        "the key that all nodes share (mesh.key-file) cannot be read: {0}; make one with: openssl rand -hex 32, and copy it to every node"
    )]
    NoKey(files::FileError),
    /// Others can read the key.
    #[error("{path} has mode {mode:04o}: others than its owner can read the key; chmod 0600 {path}")]
    KeyIsOpen {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("{path} holds no key: {reason}")]
    NotAKey {
        /// The file.
        path: String,
        /// What is wrong.
        reason: key::TooShort,
    },
    /// The peers list says something else of this node than its own configuration.
    #[error(
        "mesh.peers says of this node, {name}: {listed}; but it is {actual}. The other nodes go by that list: correct it, or [node]"
    )]
    OtherThanListed {
        /// This node.
        name: String,
        /// What the list says.
        listed: String,
        /// What is true.
        actual: String,
    },
    /// The control port is held.
    #[error("the control port {port} (mesh.port) is in use; is another hostlet respond running? (ss -lnup 'sport = :{port}')")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// A socket cannot be opened.
    #[error("the node cannot listen for the other nodes: {0}")]
    Sockets(#[from] io::Error),
}

/// Who takes part: this node, its peers, and the rules between them.
#[derive(Debug)]
pub struct Identity {
    /// This node.
    pub this: Node,
    /// The others.
    pub peers: Vec<Node>,
    /// Who must reach whom.
    pub rules: Rules,
    /// The control port.
    pub port: u16,
    key: Key,
}

impl Identity {
    /// From the configuration and the key file.
    pub fn new(settings: &Settings, mesh: &Mesh, identity: &NodeIdentity) -> Result<Self, MeshError> {
        let this = Node::this(settings, identity);
        let listed = mesh.peers.iter().map(Node::from).find(|peer| peer.name == this.name);
        if let Some(listed) = listed.filter(|listed| listed.role != this.role || !same_addresses(listed, &this)) {
            let (listed, actual) = (describe(&listed), describe(&this));
            return Err(MeshError::OtherThanListed { name: this.name.to_string(), listed, actual });
        }
        let peers = mesh.peers.iter().map(Node::from).filter(|peer| peer.name != this.name).collect();
        let key = read_key(mesh)?;
        Ok(Self { this, peers, rules: Rules::of(settings), port: mesh.port.number(), key })
    }
}

/// The order does not matter, nor an address of this node that others do not use.
fn same_addresses(listed: &Node, actual: &Node) -> bool {
    listed.addresses.iter().all(|address| actual.addresses.contains(address))
}

fn describe(node: &Node) -> String {
    let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
    let role = if node.role == crate::config::Role::Worker { "a worker" } else { "of the control plane" };
    format!("{role} at {}", addresses.join(" and "))
}

fn read_key(mesh: &Mesh) -> Result<Key, MeshError> {
    let path = mesh.key_file.display().to_string();
    let mode = files::mode(&mesh.key_file).map_err(MeshError::NoKey)?;
    if mode & 0o077 != 0 {
        return Err(MeshError::KeyIsOpen { path, mode });
    }
    let content = files::read(&mesh.key_file).map_err(MeshError::NoKey)?;
    Key::new(&content, &mesh.cluster_name).map_err(|reason| MeshError::NotAKey { path, reason })
}

/// What was met with silence.
#[derive(Debug, Default)]
pub struct Counters {
    strangers: AtomicU64,
    forged: AtomicU64,
    misplaced: AtomicU64,
    stale: AtomicU64,
    too_many: AtomicU64,
}

impl Counters {
    pub(super) fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// From addresses of no peer, signed with no key of ours, signed by another than the address's peer or for another
    /// node, of no session, and more often than is answered.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 5] {
        [
            ("from strangers", &self.strangers),
            ("with a wrong key or changed", &self.forged),
            ("from another address or for another node than signed", &self.misplaced),
            ("of no session, or repeated", &self.stale),
            ("more than is answered", &self.too_many),
        ]
        .map(|(what, counter)| (what, counter.load(Ordering::Relaxed)))
    }
}

/// A session that a peer has with this node.
#[derive(Debug)]
struct Visit {
    peer: usize,
    family: Family,
    outgoing: Arc<Outgoing>,
    probing: AbortHandle,
    heard: Instant,
    done: bool,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

/// What all parts of a node share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) ledger: Ledger,
    pub(super) counters: Counters,
    pub(super) pulse: Arc<Pulse>,
    pub(super) firewall: Firewall,
    id: NodeId,
    by_id: HashMap<NodeId, usize>,
    by_address: HashMap<IpAddr, usize>,
    listening: Vec<(Family, Listening)>,
    interfaces_seen: Vec<Family>,
    mtus: HashMap<IpAddr, u32>,
    visits: Mutex<HashMap<Nonce, Visit>>,
    buckets: Mutex<(Bucket, Vec<Bucket>)>,
    /// Peers that this node still needs answers from, and peers that spoke to it.
    needed: Mutex<HashSet<NodeId>>,
    heard: Mutex<HashSet<NodeId>>,
    /// Peers that need answers from this node, and when they said so.
    needed_by: Mutex<HashMap<NodeId, Instant>>,
    secret: Nonce,
    started: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        let needed: Vec<(IpAddr, Requirement)> = rules
            .received_by(this, peers)
            .into_iter()
            .filter_map(|requirement| Some((this.address(requirement.family)?, requirement)))
            .collect();
        let receivers = Receivers::open(&needed)?;
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
        let families = [Family::Ipv4, Family::Ipv6].into_iter();
        let interfaces_seen = families.filter(|family| receivers.sees(*family, Tap::Interface)).collect();
        let shared = Arc::new(Shared::new(identity, receivers.listening.clone(), interfaces_seen, firewall)?);
        if purpose == Purpose::Prove {
            shared.identity.peers.iter().for_each(|peer| shared.needs(shared.id_of(peer), true));
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
        if !shared.is_listed(from.ip()) {
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

impl Shared {
    fn new(
        identity: Identity,
        listening: Vec<(Family, Listening)>,
        interfaces_seen: Vec<Family>,
        firewall: Firewall,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let peers = || identity.peers.iter().enumerate();
        let by_id = peers().map(|(index, peer)| (identity.key.id(&peer.name), index)).collect();
        let by_address =
            peers().flat_map(|(index, peer)| peer.addresses.iter().map(move |address| (address.ip(), index))).collect();
        let links = links::links()?;
        let mtu = |index| links.iter().find(|link| link.index == index).map_or(1500, |link| link.mtu);
        let mtus = links::addresses()?.into_iter().map(|address| (address.ip, mtu(address.link))).collect();
        // A session takes some twenty answers a second.
        let buckets = (Bucket::new(20_000, 10_000, now), vec![Bucket::new(200, 100, now); identity.peers.len()]);
        Ok(Self {
            id: identity.key.id(&identity.this.name),
            by_id,
            by_address,
            listening,
            interfaces_seen,
            mtus,
            firewall,
            ledger: Ledger::default(),
            counters: Counters::default(),
            pulse: Arc::default(),
            visits: Mutex::default(),
            buckets: Mutex::new(buckets),
            needed: Mutex::default(),
            heard: Mutex::default(),
            needed_by: Mutex::default(),
            secret: key::nonce()?,
            started: now,
            identity,
        })
    }

    /// Whether it is an address of a peer's.
    pub(super) fn is_listed(&self, ip: IpAddr) -> bool {
        self.by_address.contains_key(&ip)
    }

    pub(super) fn id_of(&self, peer: &Node) -> NodeId {
        self.identity.key.id(&peer.name)
    }

    pub(super) fn envelope(&self, session: Nonce, to: NodeId) -> Envelope {
        Envelope { key: self.identity.key.clone(), session, from: self.id, to }
    }

    pub(super) fn mtu(&self, source: IpAddr) -> u32 {
        self.mtus.get(&source).copied().unwrap_or(1500)
    }

    pub(super) fn sees_interface(&self, family: Family) -> bool {
        self.interfaces_seen.contains(&family)
    }

    /// How this node listens.
    pub(super) fn listening(&self, family: Family) -> Vec<Listening> {
        self.listening.iter().filter(|(one, _)| *one == family).map(|(_, listening)| *listening).collect()
    }

    /// This node needs answers from the peer, or needs them no more.
    pub(super) fn needs(&self, peer: NodeId, needs: bool) {
        let mut needed = lock(&self.needed);
        if needs {
            needed.insert(peer)
        } else {
            needed.remove(&peer)
        };
    }

    /// Whether this node still needs answers from the peer.
    pub(super) fn is_needed(&self, peer: &Node) -> bool {
        lock(&self.needed).contains(&self.id_of(peer))
    }

    /// The peer needs answers from this node, or no more.
    pub(super) fn needed_by(&self, peer: NodeId, needs: bool) {
        let mut needed_by = lock(&self.needed_by);
        if needs {
            needed_by.insert(peer, Instant::now())
        } else {
            needed_by.remove(&peer)
        };
    }

    /// Whether a peer is in the middle of a session with this node, or said that it will begin one; but not if it has been
    /// silent for so long.
    fn is_needed_by_others(&self, silent: Duration) -> bool {
        let visits = lock(&self.visits);
        let visited = |id: &NodeId| {
            let peer = self.by_id.get(id);
            visits.values().any(|visit| visit.done && Some(&visit.peer) == peer)
        };
        visits.values().any(|visit| !visit.done && visit.heard.elapsed() < silent)
            || lock(&self.needed_by).iter().any(|(id, said)| said.elapsed() < silent && !visited(id))
    }

    /// Whether the peer's messages come here.
    pub(super) fn was_heard(&self, peer: NodeId) -> bool {
        lock(&self.heard).contains(&peer)
    }

    /// Reads a message that is for this node, from where it says; anything else is counted.
    fn read(&self, bytes: &[u8], from: IpAddr) -> Option<(Message, usize)> {
        if !self.is_listed(from) {
            self.counters.stranger();
            return None;
        }
        let message = match Message::parse(bytes, &self.identity.key) {
            Ok(message) => message,
            Err(Refused::Forged | Refused::Malformed | Refused::NotOurs | Refused::Version(_)) => {
                self.counters.forged.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let peer = self.by_id.get(&message.from).copied().filter(|_| message.to == self.id);
        let Some(peer) = peer.filter(|peer| self.by_address.get(&from) == Some(peer)) else {
            self.counters.misplaced.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        lock(&self.heard).insert(message.from);
        Some((message, peer))
    }

    /// What somebody says who is to be answered in the same session.
    pub(super) fn open(&self, bytes: &[u8], from: IpAddr) -> Option<(Envelope, Body)> {
        let (message, peer) = self.read(bytes, from)?;
        self.may_answer(peer).then(|| (self.envelope(message.session, message.from), message.body))
    }

    fn may_answer(&self, peer: usize) -> bool {
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        let (all, each) = &mut *buckets;
        let may = each.get_mut(peer).is_some_and(|bucket| bucket.take(now)) && all.take(now);
        if !may {
            self.counters.too_many.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// A datagram came to a port that is probed.
    pub(super) fn probed(&self, from: Option<IpAddr>, port: u16, datagram: &[u8], place: Place) {
        let bytes = wire::without_vxlan(datagram);
        // A raw socket for IPv6 does not tell whose it is; the signature does.
        let Ok(message) = Message::parse(bytes, &self.identity.key) else {
            if place == Place::Socket {
                self.counters.forged.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let Body::Probe(probe) = message.body else { return };
        let right = message.to == self.id && probe.port.number() == port && from.is_none_or(|from| from == probe.source);
        if right && self.ledger.record(&message.session, message.from, &probe, place) {
            lock(&self.heard).insert(message.from);
        } else if place == Place::Socket {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The answer to a control message, if it is to be answered.
    fn answer(self: &Arc<Self>, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        let (message, peer) = self.read(bytes, from)?;
        if !self.may_answer(peer) {
            return None;
        }
        let body = self.reply(&message, peer, from);
        if body.is_none() && !matches!(message.body, Body::Done { .. }) {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
        let answer = self.envelope(message.session, message.from).seal(body?, 0);
        (answer.len() <= bytes.len()).then_some(answer)
    }

    fn reply(self: &Arc<Self>, message: &Message, peer: usize, from: IpAddr) -> Option<Body> {
        let now = self.epoch();
        let good =
            |cookie: &Nonce| [now, now.wrapping_sub(1)].iter().any(|epoch| *cookie == self.cookie(message, from, *epoch));
        match &message.body {
            Body::Hello => Some(Body::Challenge { cookie: self.cookie(message, from, now) }),
            Body::Arm { cookie, listening } if good(cookie) => self.arm(message, peer, from, listening),
            Body::Ask { cookie, arrived, late } if good(cookie) => {
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(|visit| visit.peer == peer)?;
                visit.heard = Instant::now();
                visit.outgoing.confirm(arrived);
                visit.outgoing.allowance.heard(*late);
                Some(Body::Tell {
                    arrived: self.ledger.arrived(&message.session, self.sees_interface(visit.family)),
                    sent: visit.outgoing.sent(),
                    needs_you: lock(&self.needed).contains(&message.from),
                    late: visit.outgoing.late(),
                })
            }
            Body::Done { cookie } if good(cookie) => {
                let mut visits = lock(&self.visits);
                let visit = visits.get_mut(&message.session).filter(|visit| visit.peer == peer)?;
                visit.done = true;
                visit.probing.abort();
                None
            }
            _ => None,
        }
    }

    fn epoch(&self) -> u64 {
        self.started.elapsed().as_secs() / COOKIE.as_secs()
    }

    /// Needs no memory of who said hello.
    fn cookie(&self, message: &Message, from: IpAddr, epoch: u64) -> Nonce {
        let address = from.to_string();
        let pieces: [&[u8]; 5] = [&self.secret, &message.session, &message.from, address.as_bytes(), &epoch.to_be_bytes()];
        let signature = self.identity.key.sign(&pieces);
        let mut cookie = Nonce::default();
        cookie.copy_from_slice(&signature[..16]);
        cookie
    }

    /// Begins a session, or goes on with it: the question may come twice.
    fn arm(self: &Arc<Self>, message: &Message, peer: usize, from: IpAddr, theirs: &[Listening]) -> Option<Body> {
        let family = Family::of(from);
        let source = self.identity.this.address(family)?;
        let mut visits = lock(&self.visits);
        // A peer has one session in each family: a new one means that it started again.
        visits.retain(|session, visit| {
            let keep = *session == message.session
                || !(visit.heard.elapsed() > FORGOTTEN || (visit.peer == peer && visit.family == family));
            if !keep {
                self.ledger.close(session);
            }
            keep
        });
        let visit = visits.entry(message.session).or_insert_with(|| {
            let envelope = self.envelope(message.session, message.from);
            let node = &self.identity.peers[peer];
            let targets = self.targets(node, family, theirs);
            self.expect(message.session, node, family);
            let outgoing = Arc::new(Outgoing::new(envelope, (source, from), self.mtu(source), targets, &self.pulse));
            let probing = tokio::spawn(sender::send(Arc::clone(&outgoing))).abort_handle();
            Visit { peer, family, outgoing, probing, heard: Instant::now(), done: false }
        });
        visit.heard = Instant::now();
        Some(Body::Armed {
            listening: self.listening(family),
            firewall: self.firewall,
            needs_you: lock(&self.needed).contains(&message.from),
        })
    }

    /// What this node must reach on the peer in this family, and how the peer listens there.
    pub(super) fn targets(&self, peer: &Node, family: Family, listening: &[Listening]) -> Vec<Target> {
        let needed = self.identity.rules.between(&self.identity.this, peer).into_iter();
        let needed = needed.filter(|requirement| requirement.family == family);
        let how = |requirement: &Requirement| {
            let found = listening.iter().find(|one| (one.protocol, one.port) == (requirement.protocol, requirement.port));
            found.map(|one| one.how)
        };
        needed.map(|requirement| Target { requirement, how: how(&requirement) }).collect()
    }

    /// Expects the peer's probes in this session.
    pub(super) fn expect(&self, session: Nonce, peer: &Node, family: Family) {
        let needed = self.identity.rules.between(peer, &self.identity.this).into_iter();
        let ports =
            needed.filter(|one| one.family == family && one.protocol == crate::model::Protocol::Udp).map(|one| one.port);
        self.ledger.open(session, self.id_of(peer), ports);
    }
}
