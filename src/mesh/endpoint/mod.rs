//! A node that can be probed and asked: its receivers, its control port, and the sessions that peers have with it.
//!
//! Promise: nothing is answered but signed messages to this node from an address of the peer that signed, never with more
//! bytes than were asked with, and only to where the question came from. Each peer, and all together, are answered at a
//! bounded rate; all else is met with silence, and counted. Dropping it closes every socket.

mod answer;
mod control;
mod counters;
mod identity;
mod members;
mod shared;
mod visit;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::Socket;
use tokio::task::JoinSet;

use super::{
    body::Firewall,
    firewall,
    ledger::Place,
    presence::Presence,
    problem::MeshError,
    receivers::{Eyes, Receivers},
    requirement::Requirement,
};
use crate::host::{detached, open_files};
use control::Control;

pub(super) use control::read_message;
pub use counters::Counters;
pub use identity::Identity;
pub(super) use shared::Shared;

/// What an endpoint is opened for.
#[derive(Debug)]
pub enum Purpose {
    /// Peers ask. Services of this host may start meanwhile, so that no port is held but the control port.
    Answer {
        /// The control port's sockets, where systemd opened them.
        sockets: Vec<Socket>,
    },
    /// This node asks as well, before its services are there.
    Prove,
}

/// A node that can be probed and asked, as long as it is not dropped.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    _presence: Option<Presence>,
    answers: bool,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.doors.close_all();
    }
}

impl Endpoint {
    /// Opens every socket, and tells peers that ask whether this node needs answers of its own. Where the control port is in
    /// use, a responder of this host answers on it, and this endpoint only asks: nothing is taken from the responder, so that
    /// it goes on whatever becomes of this process.
    pub async fn open(identity: Identity, purpose: Purpose) -> Result<Self, MeshError> {
        let Identity { this, rules, .. } = &identity;
        let needed: Vec<(IpAddr, Requirement)> = identity
            .received()
            .into_iter()
            .filter_map(|requirement| Some((this.address(requirement.family)?, requirement)))
            .collect();
        let proves = matches!(purpose, Purpose::Prove);
        // With a thousand peers there are thousands of sockets; where the limit stays low, some are tried later.
        let _ = open_files::raise_limit();
        let receivers = Receivers::open(&needed, &rules.connected_to(this), proves)?;
        let firewall = detached::run("mesh-firewall", firewall::active).await?;
        let addresses = this.addresses.iter().map(|address| SocketAddr::from((address.ip(), identity.port)));
        let control = Control::open(&purpose, addresses)?;
        let shared = Shared::new(identity, &purpose, receivers.listening.clone(), receivers.eyes(), firewall)?;
        let shared = Arc::new(shared);
        let presence = proves.then(|| Presence::announce(shared.identity.port)).flatten();
        if proves {
            shared.identity.asked().into_iter().for_each(|peer| shared.needs(shared.id_of(peer), true));
        }
        let mut tasks = JoinSet::new();
        receivers.start(&shared, &mut tasks);
        let pulse = Arc::clone(&shared.pulse);
        tasks.spawn(async move { pulse.beat().await });
        let answers = control.is_ours;
        control.start(&shared, &mut tasks);
        Ok(Self { shared, _tasks: tasks, _presence: presence, answers })
    }

    /// One without sockets of its own, which answers what [`Endpoint::hear`] is given: for fuzzing what it makes of messages.
    pub fn without_sockets(identity: Identity) -> Result<Self, MeshError> {
        let shared = Arc::new(Shared::new(identity, &Purpose::Prove, Vec::new(), Eyes::default(), Firewall::None)?);
        Ok(Self { shared, _tasks: JoinSet::new(), _presence: None, answers: false })
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
        if self.answers {
            return Ok(());
        }
        let port = self.shared.identity.port;
        Err(MeshError::PortInUse { port, holder: control::holder(port) })
    }

    /// For how long no peer has said anything.
    #[must_use]
    pub fn idle(&self) -> Duration {
        shared::lock(&self.shared.last_heard).elapsed()
    }

    /// What was met with silence.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Keeps answering while peers that are in the middle of their own preflight need it; ten seconds at most. A responder of
    /// this host goes on by itself.
    pub async fn linger(&self) {
        const SILENT: Duration = Duration::from_secs(3);
        if !self.answers {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if !self.shared.is_needed_by_others(SILENT) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
