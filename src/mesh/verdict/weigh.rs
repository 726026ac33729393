//! Whether it passed, and the cause where it did not.

use super::{Cause, Context, Evidence, Status};
use crate::{
    mesh::{
        body::{Ending, How, Icmp, Size},
        requirement::Framing,
    },
    model::Protocol,
};

pub(super) fn weigh(evidence: &Evidence, context: Context) -> (Status, Option<Cause>) {
    let fail = |cause| (Status::Fail, Some(cause));
    match (evidence.requirement.protocol, evidence.ending) {
        (Protocol::Tcp, Ending::Reached { proved }) if proved || evidence.listening != Some(How::Bound) => {
            return (Status::Pass, None);
        }
        (Protocol::Udp, _) if evidence.arrived.is_some_and(|arrived| arrived.socket != 0) => return (Status::Pass, None),
        _ => {}
    }
    if evidence.translated.is_some() {
        return fail(Cause::Translated);
    }
    if !evidence.told {
        return (Status::Unverified, Some(Cause::NothingTold));
    }
    if evidence.listening.is_none() {
        return (Status::Unverified, Some(Cause::NotExpected));
    }
    match evidence.ending {
        // Connected, and the answer did not come in time.
        Ending::Reached { .. } => return (Status::Unverified, Some(Cause::NothingTold)),
        Ending::Impostor => return fail(Cause::Impostor),
        Ending::NotPermitted => return fail(Cause::SendersFirewall),
        Ending::NoNeighbour => return fail(Cause::NoNeighbour),
        Ending::TooLarge { .. } => return fail(Cause::PathMtu),
        // Nobody but hostlet listens on a port that hostlet bound; a taken one is the real service's to refuse.
        Ending::Reset => return fail(Cause::Refused),
        Ending::Icmp { meaning, .. } => {
            return fail(match meaning {
                Icmp::PortUnreachable => Cause::Refused,
                Icmp::Prohibited => Cause::Rejected,
                Icmp::NoRoute => Cause::NoRoute,
            });
        }
        Ending::Silence => {}
    }
    if evidence.size == Size::Full && context.small_arrives {
        return fail(Cause::BlackHole);
    }
    if evidence.requirement.protocol == Protocol::Udp && evidence.listening == Some(How::Blind) {
        return (Status::Unverified, Some(Cause::Blind));
    }
    fail(silence(evidence, context))
}

/// Nothing was heard: where was it lost?
fn silence(evidence: &Evidence, context: Context) -> Cause {
    match evidence.arrived.and_then(|arrived| arrived.interface) {
        _ if evidence.arrived.is_some_and(|arrived| arrived.socket != 0) => Cause::AnswerLost,
        Some(bits) if bits != 0 => Cause::ReceiversFirewall,
        // The receiver can look at its interface, and saw nothing.
        Some(_) if evidence.requirement.framing == Framing::Vxlan && context.others_arrive => Cause::FilterOnVxlan,
        _ if context.others_arrive => Cause::FilterOnPort,
        Some(_) => Cause::Network,
        None => Cause::Somewhere,
    }
}
