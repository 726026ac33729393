//! Asks every peer at once: expect my probes, and probe me. Both directions are proved in one round.
//!
//! Promise: a peer that does not answer is pending, never a pass and never called blocked, unless its own messages come
//! here. From when a peer is armed the verdict takes [`sender::VERDICT`] at the most, and no longer than it needs; what the
//! two processes did not get to run is added, since neither could look meanwhile. A peer that ends in the middle is pending
//! again, and is judged by what it shows when it is back.

mod evidence;
mod line;
mod round;
mod unseen;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};

use super::{
    Endpoint,
    endpoint::Shared,
    report::{MeshReport, PairReport, State},
    requirement::{Family, Node},
    verdict::Verdict,
};
use crate::config::Mesh;
use round::{Session, Unseen};

/// A peer that answers is there at once; so long a silence is waited for even where nobody waits.
const LEAST_WAIT: Duration = Duration::from_millis(1_400);

/// So many pairs are probed at once, and so many connections tried to peers that do not answer over UDP: a node of the
/// control plane has a thousand peers in a large cluster.
const AT_ONCE: usize = 128;

/// Proves every pair of this node and a peer, or those that were drawn. `waiting` is told, after two seconds, who has not
/// started.
pub async fn prove(endpoint: &Endpoint, mesh: &Mesh, waiting: impl Fn(&[&str])) -> MeshReport {
    let start = Instant::now();
    let shared = &endpoint.shared;
    let identity = &shared.identity;
    let peers = identity.asked();
    let turns = Turns { probing: Semaphore::new(AT_ONCE), connecting: Semaphore::new(AT_ONCE) };
    let pairs = join_all(peers.iter().map(|peer| {
        let waits = identity.waits_for(peer);
        let wait = if waits { mesh.wait_timeout.max(LEAST_WAIT) } else { LEAST_WAIT };
        pair(Arc::clone(shared), peer, waits, start + wait, &turns)
    }));
    let told = async {
        sleep(Duration::from_secs(2)).await;
        let missing = peers.iter().filter(|peer| identity.waits_for(peer) && shared.is_needed(peer));
        let missing: Vec<_> = missing.map(|peer| peer.name.as_str()).collect();
        if !missing.is_empty() {
            waiting(&missing);
        }
        std::future::pending::<()>().await;
    };
    let pairs = tokio::select! {
        pairs = pairs => pairs,
        () = told => Vec::new(),
    };
    MeshReport::new(identity.this.clone(), pairs, start.elapsed()).of(identity.roster.clone(), identity.sampled())
}

/// Who may begin now.
struct Turns {
    probing: Semaphore,
    connecting: Semaphore,
}

async fn pair(shared: Arc<Shared>, peer: &Node, waited_for: bool, until: Instant, turns: &Turns) -> PairReport {
    let id = shared.id_of(peer);
    let this = &shared.identity.this;
    let rules = &shared.identity.rules;
    let (out, back) = (rules.between(this, peer), rules.between(peer, this));
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    let families = families.filter(|family| out.iter().chain(&back).any(|one| one.family == *family));
    let sessions = families.filter_map(|family| Some((family, this.address(family)?, peer.address(family)?)));
    let answers = watch::Sender::new(None);
    let results = join_all(sessions.map(|(family, source, destination)| {
        let session = Session { shared: &shared, peer, family, source, destination, turns, answers: &answers };
        async move { (family, destination, session.run(until).await) }
    }))
    .await;
    shared.needs(id, false);
    let (state, verdicts) = together(results);
    PairReport { peer: peer.clone(), waited_for, state, verdicts }
}

/// What the families come to together. A peer that answers over one is there, and is pending no more over the other.
fn together(results: Vec<(Family, IpAddr, Result<Vec<Verdict>, Unseen>)>) -> (State, Vec<Verdict>) {
    let answers = results.iter().any(|(_, _, result)| result.is_ok());
    let (mut verdicts, mut state) = (Vec::new(), State::Proved);
    for (family, to, result) in results {
        match result {
            Ok(mut of_family) => verdicts.append(&mut of_family),
            Err(unseen) => {
                if state == State::Proved || !state.is_failure() {
                    state = if answers { unseen.state.beside_another(family, to) } else { unseen.state };
                }
                verdicts.extend(unseen.verdicts);
            }
        }
    }
    (state, verdicts)
}
