//! Evidence of both directions from what both ends told, and the verdicts on it.

use super::round::{Session, Told};
use crate::{
    mesh::{
        body::{Arrived, Ending, Firewall, Listening, Sent, Size},
        key,
        requirement::Requirement,
        sender,
        session::{Outgoing, Target},
        verdict::{self, Context, Evidence, Verdict},
    },
    model::Protocol,
};

impl Session<'_> {
    pub(super) fn verdicts(
        &self,
        outgoing: &Outgoing,
        told: &Told,
        theirs: &[Listening],
        firewall: &Firewall,
        nonce: &key::Nonce,
    ) -> Vec<Verdict> {
        let (this, peer) = self.ends();
        let ours = self.shared.ledger.arrived(nonce, self.shared.eyes().of(self.family));
        let (own_firewall, translated) = (self.shared.firewall(), self.shared.translated(self.shared.id_of(self.peer)));
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
                    firewall: firewall.clone(),
                    translated: None,
                    told: attempts > 0
                        && !outgoing.is_hopeless()
                        && !told.is_broken
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
                    firewall: own_firewall.clone(),
                    translated,
                    told: told.at_all
                        && !told.is_broken
                        && !outgoing.is_hopeless()
                        && sent.is_some_and(|sent| sent.attempts > 0),
                });
            }
        }
        // The peer answered, so this node's questions arrive there; answers to them may pass where nothing else does.
        let mut verdicts = judge_direction(there, true);
        verdicts.extend(judge_direction(back, false));
        verdicts
    }
}

pub(super) fn bytes(outgoing: &Outgoing, size: Size) -> u16 {
    u16::try_from(sender::packet(outgoing, size)).unwrap_or(u16::MAX)
}

fn find_arrived(arrived: &[Arrived], requirement: Requirement, size: Size) -> Option<Arrived> {
    let same = |one: &&Arrived| (one.protocol, one.port, one.size) == (requirement.protocol, requirement.port, size);
    arrived.iter().find(same).copied()
}

pub(super) fn find_sent(sent: &[Sent], requirement: Requirement, size: Size) -> Option<Sent> {
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
