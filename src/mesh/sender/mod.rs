//! Sends probes: UDP from a fresh port, since conntrack lets answers to older traffic pass; TCP by connecting.
//!
//! Promise: it ends before [`VERDICT`] and what an end missed, and at once when all has been learnt. It sends to the session's one address only.
//! What was rejected by ICMP is tried once more, at the end, and not before: a kernel sends a host six of these at once and
//! then one a second (icmp(7), icmp_ratelimit), and each one that is spent on what is known already hides another rejection.

mod connections;
mod datagrams;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use nix::libc;

use super::{
    body::{Ending, Icmp, Size},
    requirement::Requirement,
    session::Outgoing,
    wire,
};
use crate::{
    host::{
        datagrams::{Origin, SendError},
        links,
    },
    model::Protocol,
};

/// How long after a peer is armed the verdict on it stands.
pub(super) const VERDICT: Duration = Duration::from_millis(1_500);

/// When sending ends, so that what was learnt can still be told.
const LAST: Duration = Duration::from_millis(1_400);

/// A small probe's size as a packet.
const SMALL: usize = 128;

/// Sends everything, and then says what it heard in `outgoing`.
pub(super) async fn send(outgoing: Arc<Outgoing>) {
    let start = Instant::now();
    join_all(outgoing.targets.iter().map(|target| async {
        match target.requirement.protocol {
            Protocol::Udp => datagrams::send(&outgoing, target, start).await,
            Protocol::Tcp => connections::send(&outgoing, target, start).await,
        }
    }))
    .await;
}

/// How large the packet is.
pub(super) fn packet(outgoing: &Outgoing, size: Size) -> usize {
    match size {
        // An IPv6 packet with two addresses in its message needs a little more.
        Size::Small => SMALL + if outgoing.destination.is_ipv6() { 64 } else { 32 },
        Size::Full => usize::try_from(outgoing.mtu).unwrap_or(1500).clamp(1280, wire::LONGEST),
    }
}

/// Said by this host's kernel.
const NO_ROUTE: Ending = Ending::Icmp { meaning: Icmp::NoRoute, by: None };

/// What this host's kernel says without anything having come back.
fn own_error(error: &io::Error) -> Option<Ending> {
    match error.raw_os_error()? {
        libc::EPERM => Some(Ending::NotPermitted),
        // A route or rule of the type blackhole, and one of the type prohibit: connect(2) tells them so.
        libc::ENETUNREACH | libc::EINVAL | libc::EACCES => Some(NO_ROUTE),
        libc::EMSGSIZE => Some(Ending::TooLarge { mtu: 0, by: None }),
        _ => None,
    }
}

/// What an error that came back means.
fn came_back(outgoing: &Outgoing, error: &SendError) -> Option<Ending> {
    let icmp = |meaning| Some(Ending::Icmp { meaning, by: error.by });
    match error.origin {
        // The kernel itself says host unreachable when nobody answered to ARP (RFC 1122, 3/1).
        Origin::Icmp(3, 1) | Origin::Icmpv6(1, 3) if error.by.is_none_or(|by| by == outgoing.source) => {
            Some(Ending::NoNeighbour)
        }
        Origin::Icmp(3, 3) | Origin::Icmpv6(1, 4) => icmp(Icmp::PortUnreachable),
        Origin::Icmp(3, 4) | Origin::Icmpv6(2, _) => {
            Some(Ending::TooLarge { mtu: u16::try_from(error.mtu).unwrap_or(u16::MAX), by: error.by })
        }
        Origin::Icmp(3, 9 | 10 | 13) | Origin::Icmpv6(1, 1 | 5 | 6) => icmp(Icmp::Prohibited),
        Origin::Icmp(3, 0 | 1 | 5..=8 | 11 | 12) | Origin::Icmpv6(1, _) => icmp(Icmp::NoRoute),
        Origin::Local if error.errno == libc::EMSGSIZE => {
            Some(Ending::TooLarge { mtu: u16::try_from(error.mtu).unwrap_or(u16::MAX), by: None })
        }
        Origin::Local if error.errno == libc::EHOSTUNREACH => Some(Ending::NoNeighbour),
        _ => None,
    }
}

/// The kernel gives up on a neighbour after three seconds only, but it knows earlier that nobody answers.
fn look_for_neighbour(outgoing: &Outgoing, requirement: Requirement, sizes: &[Size]) {
    if is_silent_neighbour(outgoing) {
        for size in sizes {
            outgoing.heard(requirement, *size, Ending::NoNeighbour);
        }
    }
}

fn is_silent_neighbour(outgoing: &Outgoing) -> bool {
    links::silent_neighbours().is_ok_and(|silent| silent.contains(&outgoing.destination))
}
