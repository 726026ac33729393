//! `[mesh]`

use std::{path::PathBuf, time::Duration};

use super::kubelet::within;
use crate::{
    config::{
        given::Field,
        problems::Problems,
        raw::{RawExtraPort, RawMesh, RawPeer, WaitForRaw},
        settings::{ExtraPort, Group, Mesh, Peer, Role, WaitFor},
    },
    model::{NodeName, Port},
};

const EXAMPLE: &str = "such as: peers = [{ name = \"node-01\", ip = \"10.0.1.1\", role = \"control-plane\" }]";

/// Without the section there is none; with it there are peers.
pub(super) fn mesh(raw: RawMesh, problems: &mut Problems<'_>) -> Option<Mesh> {
    let none_given = raw.peers.is_empty();
    let mut peers: Vec<Peer> = Vec::new();
    for raw in raw.peers {
        if let Some(peer) = peer(raw, &peers, problems) {
            peers.push(peer);
        }
    }
    let key_file = problems.value(raw.key_file).map_or_else(|| PathBuf::from("/etc/hostlet/mesh-key"), |path| path.0);
    let cluster_name = problems.value(raw.cluster_name).map_or_else(|| "kubernetes".to_owned(), |name| name.0);
    let port = problems.value(raw.port).unwrap_or(Port::known(7470));
    let (default, day) = (Duration::from_mins(5), Duration::from_hours(24));
    let wait_timeout = within(raw.wait_timeout, default, Duration::ZERO, day, problems);
    let wait_for = wait_for(raw.wait_for, &peers, problems);
    let extra_ports = extra_ports(raw.extra_ports, problems);
    if !problems.mentioned("mesh") {
        return None;
    }
    if none_given {
        problems.add_at_key(&["mesh.peers", "mesh"], "[mesh] names no peers").help.push(EXAMPLE.to_owned());
    }
    Some(Mesh { peers, key_file, cluster_name, port, wait_for, wait_timeout, extra_ports })
}

fn peer(raw: RawPeer, others: &[Peer], problems: &mut Problems<'_>) -> Option<Peer> {
    let (no_name, no_address) = (matches!(raw.name, Field::Absent), raw.ip.0.is_empty());
    let name = problems.located(raw.name);
    let addresses = problems.list(raw.ip.0);
    let role = problems.value(raw.role).unwrap_or(Role::Worker);
    let Some((name, at)) = name else {
        if no_name {
            let problem = match addresses.first() {
                Some((_, at)) => problems.add_missing(at, "the peer has no name"),
                None => problems.add_at_key(&["mesh.peers"], "a peer has no name"),
            };
            problem.help.push(EXAMPLE.to_owned());
        }
        return None;
    };
    if no_address {
        problems.add_missing(&at, format!("the peer {name} has no ip")).help.push(EXAMPLE.to_owned());
    }
    if others.iter().any(|other| other.name == name) {
        problems.add(&at, format!("the peer {name} is given twice"));
    }
    for (address, at) in &addresses {
        if let Some(other) = others.iter().find(|other| other.addresses.contains(address)) {
            problems.add(at, format!("{address} is the address of {} already", other.name));
        }
    }
    let addresses = super::node::one_of_each_family(addresses, "ip", problems);
    Some(Peer { name, addresses, role })
}

fn wait_for(raw: WaitForRaw, peers: &[Peer], problems: &mut Problems<'_>) -> WaitFor {
    let names = problems.list(raw.0);
    let word = |wanted: &str| names.len() == 1 && names.iter().all(|(name, _)| name.as_str() == wanted);
    if names.is_empty() || word("all") {
        return WaitFor::All;
    }
    if word("control-plane") {
        return WaitFor::ControlPlane;
    }
    for (name, at) in &names {
        if !peers.iter().any(|peer| peer.name == *name) {
            let known: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
            let problem = problems.add(at, format!("{name} is not one of mesh.peers"));
            problem.help.push(format!("allowed: all, control-plane, or a list of {}", known.join(", ")));
        }
    }
    WaitFor::Names(names.into_iter().map(|(name, _): (NodeName, _)| name).collect())
}

fn extra_ports(raw: Vec<RawExtraPort>, problems: &mut Problems<'_>) -> Vec<ExtraPort> {
    let mut ports: Vec<ExtraPort> = Vec::new();
    for raw in raw {
        let from = problems.value(raw.from).unwrap_or(Group::All);
        let to = problems.value(raw.to).unwrap_or(Group::All);
        if matches!(raw.port, Field::Absent) {
            let problem = problems.add_at_key(&["mesh.extra-ports"], "an extra port has no port");
            problem.help.push("such as: extra-ports = [{ port = \"tcp/9100\", from = \"control-plane\" }]".to_owned());
        }
        let Some((port, at)) = problems.located(raw.port) else { continue };
        let port = ExtraPort { protocol: port.0, port: port.1, from, to };
        if ports.contains(&port) {
            problems.add(&at, format!("{}/{} is given twice", port.protocol, port.port));
        } else {
            ports.push(port);
        }
    }
    // A message names at most 32 ports, and those of roles and backend are nine at the most.
    if ports.len() > 16 {
        problems.add_at_key(&["mesh.extra-ports"], format!("{} extra ports; at most 16 are allowed", ports.len()));
    }
    ports
}
