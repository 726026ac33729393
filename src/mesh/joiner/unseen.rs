//! A peer that did not answer: why, as far as can be told, and which of its services can be reached.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    evidence::bytes,
    line::Line,
    round::{Session, Unseen},
};
use crate::{
    host::links,
    mesh::{
        body::{Ending, Size},
        report::{State, WayOut},
        sender,
        verdict::{self, Context, Evidence},
        wire,
    },
    model::Protocol,
};

impl Session<'_> {
    /// The peer did not answer: why, as far as can be told, and which of its services can be reached.
    pub(super) async fn unseen(&self, line: &Line<'_>) -> Unseen {
        let silent = links::silent_neighbours().is_ok_and(|silent| silent.contains(&self.destination));
        let peer = self.shared.id_of(self.peer);
        let heard = self.shared.was_heard(peer);
        if let Some(theirs) = line.other_version() {
            return Unseen { state: State::OtherVersion { theirs, ours: wire::VERSION }, verdicts: Vec::new() };
        }
        let mut verdicts = Vec::new();
        if !silent {
            let mut targets = self.shared.targets(self.peer, self.family, &[]);
            targets.retain(|target| target.requirement.protocol == Protocol::Tcp);
            let outgoing = self.shared.outgoing(line.envelope.clone(), (self.source, self.destination), targets);
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
                        firewall: self.shared.firewall(),
                        translated: None,
                        told: true,
                    };
                    verdicts.push(verdict::judge(evidence, Context::default()));
                }
            }
        }
        let port = self.shared.identity.port;
        let state = if silent {
            State::Down { way_out: self.way_out() }
        } else if let Some(seen) = self.shared.translated(peer) {
            State::Translated { seen, this: false }
        } else if let Some(seen) = self.shared.seen_as(peer) {
            State::Translated { seen, this: true }
        } else if heard {
            State::OneWay { port }
        } else if !verdicts.is_empty() {
            State::NoResponder { port }
        } else if line.refused() {
            State::NotStarted { port }
        } else {
            State::Silent { reason: format!("no answer from udp/{port} and tcp/{port}"), way_out: self.way_out() }
        };
        Unseen { state, verdicts }
    }

    /// Where packets to the peer leave, if not where this node's address is.
    fn way_out(&self) -> Option<WayOut> {
        let (from, to) = (self.source, self.destination);
        let leaves = links::way_out(from, to).ok()??;
        let at = links::addresses().ok()?.into_iter().find(|address| address.ip == from)?.link;
        let links = links::links().ok()?;
        let name = |index| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
        let (link, address_at) = (name(leaves)?, name(at)?);
        (leaves != at).then_some(WayOut { link, address_at, from, to })
    }
}
