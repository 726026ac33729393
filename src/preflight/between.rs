//! The check between nodes: what the mesh found, as a finding. It runs after the others, since it binds the ports that
//! they look at, and takes as long as `mesh.wait-timeout` allows peers to start.

use std::time::Instant;

use super::{
    CheckDescription, Severity, Subject,
    report::{Finding, Outcome},
};
use crate::{
    mesh::{self, Ended, Endpoint, Identity, MeshError, MeshReport, Purpose, prove},
    output::{Event, Events},
};

const ID: &str = "mesh";
const TESTS: &str = "every port that the nodes need of each other can be reached, in both directions";
const REMEDY: &str = "open the ports that are named, on the nodes that are named; peers and waiting are set under [mesh]";

/// For the list of all checks.
pub(super) fn describe() -> CheckDescription {
    CheckDescription { id: ID, tests: TESTS, severity: Severity::Error.to_string(), remedy: REMEDY, waits: false }
}

/// Proves it where peers are configured.
pub(super) async fn look(subject: &Subject, events: &Events) -> (Option<Finding>, Option<MeshReport>) {
    let start = Instant::now();
    let Some(settings) = &subject.settings.mesh else {
        return (Some(found(Outcome::Pass, "no peers are configured".to_owned(), start)), None);
    };
    let proved = async {
        let mut identity = Identity::new(&subject.settings, settings, &subject.identity)?;
        if settings.peers_from.is_some() {
            let settled = subject.settled().await;
            identity = identity.with_roster(mesh::ask(&settled, subject.wait).await);
        }
        let endpoint = Endpoint::open(identity, Purpose::Prove).await?;
        let waiting = |names: &[&str]| {
            let text = format!("waiting up to {:?} for {} to start", settings.wait_timeout, names.join(", "));
            events.emit(Event::Note { text });
        };
        let report = prove(&endpoint, settings, waiting).await;
        // Those who wait for this line should not wait for the peers that still need answers.
        events.emit(Event::Note { text: format!("mesh: {}", report.summary()) });
        endpoint.linger().await;
        Ok::<_, MeshError>(report)
    };
    let (outcome, observed, report) = match proved.await {
        Ok(report) => {
            let outcome = match report.ended() {
                Ended::Pass => Outcome::Pass,
                Ended::SomePending => Outcome::Warning,
                Ended::Unknown => Outcome::Unknown,
                Ended::Failed => Outcome::Failure,
            };
            (outcome, report.to_string(), Some(report))
        }
        Err(error) => (Outcome::Unknown, format!("could not find out: {error}"), None),
    };
    (Some(found(outcome, observed, start)), report)
}

fn found(outcome: Outcome, observed: String, start: Instant) -> Finding {
    let remedy = (outcome != Outcome::Pass).then(|| REMEDY.to_owned());
    let duration = start.elapsed();
    Finding { id: ID, severity: Severity::Error, outcome, observed, required: TESTS.to_owned(), remedy, duration }
}
