//! One look along the chain, and waiting until it is complete.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Expectation, Link, Obstacle, Reached, Readiness, certificate, flannel, network, node};
use crate::{
    host::{api_server::Clocks, journal, systemd::Systemd},
    model::UnitName,
    output::{Event, Events},
};

/// Between two looks at first, and later.
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(1);
const FIRST: Duration = Duration::from_secs(20);
/// What does not become better by waiting is waited for no longer: it may be of a moment before.
const SETTLED: Duration = Duration::from_secs(10);

/// How long to wait, and who may end it.
pub struct Patience<'a> {
    /// How long in all.
    pub timeout: Duration,
    /// How far: to the last link, or to an earlier one.
    pub until: Link,
    /// Where links that were reached are told.
    pub events: &'a Events,
    /// Ends the wait.
    pub stop: &'a CancellationToken,
}

/// Looks once.
pub async fn look(expectation: &Expectation) -> Readiness {
    let (mut reached, mut clocks) = (Vec::new(), None);
    let missing = along(expectation, &mut reached, &mut clocks).await.err();
    let clock_skew = clocks.filter(Clocks::differ).map(certificate::clock_skew);
    Readiness { complete: missing.is_none(), reached, missing, clock_skew }
}

async fn along(expectation: &Expectation, reached: &mut Vec<Reached>, clocks: &mut Option<Clocks>) -> Result<(), Obstacle> {
    let mut reach = |link: Link, seen: String| reached.push(Reached { link, seen });
    let (certificate, seen) = certificate::certificate(expectation, clocks).await?;
    reach(Link::Certificate, seen);
    let (answer, told) = node::node_of(expectation.node.as_str(), certificate).await?;
    *clocks = told;
    let (node, seen) = node::registered(expectation, answer)?;
    reach(Link::Registered, seen);
    if let Some(flannel) = &expectation.flannel {
        if flannel.from_node {
            reach(Link::PodCidr, node::pod_cidr(&node)?);
        }
        reach(Link::Flannel, flannel::flannel(flannel, &node.pod_cidrs)?);
    }
    reach(Link::Cni, network::cni(&expectation.runtime).await?);
    reach(Link::Ready, node::ready(expectation, &node)?);
    Ok(())
}

/// Looks until the chain is complete, or time is up, or nothing is gained by waiting on.
pub async fn wait(expectation: &Expectation, patience: &Patience<'_>) -> Readiness {
    let begun = Instant::now();
    let mut told = Vec::new();
    // By what helps: what was found may name the time.
    let mut stuck: Option<(Link, String, Instant)> = None;
    loop {
        let readiness = look(expectation).await;
        for reached in &readiness.reached {
            if !told.contains(&reached.link) {
                told.push(reached.link);
                let (link, seen) = (reached.link.to_string(), reached.seen.clone());
                patience.events.emit(Event::Reached { link, seen });
            }
        }
        let Some(missing) = readiness.missing.as_ref().filter(|_| !readiness.has(patience.until)) else { return readiness };
        let since = match &stuck {
            Some((link, remedy, since)) if *link == missing.link && *remedy == missing.remedy => *since,
            _ => stuck.insert((missing.link, missing.remedy.clone(), Instant::now())).2,
        };
        let in_vain = missing.settled && since.elapsed() >= SETTLED;
        if in_vain || begun.elapsed() >= patience.timeout {
            return explained(readiness).await;
        }
        let pause = if begun.elapsed() < FIRST { SOON } else { LATER };
        tokio::select! {
            () = patience.stop.cancelled() => return explained(readiness).await,
            () = sleep(pause) => {}
        }
    }
}

/// With the last lines of whoever is to tell more.
async fn explained(mut readiness: Readiness) -> Readiness {
    if let Some(obstacle) = &mut readiness.missing
        && let Some(unit) = obstacle.unit
        && let Ok(systemd) = Systemd::connect().await
        && let Ok(state) = systemd.unit(&UnitName::known(unit)).await
    {
        obstacle.journal = journal::last_lines(&state).await;
    }
    readiness
}
