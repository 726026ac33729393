//! `[mesh]`

use std::{path::PathBuf, time::Duration};

use super::kubelet::within;
use crate::{
    config::{
        given::Field,
        problems::Problems,
        raw::{RawExtraPort, RawMesh, RawPeer, RawSample, WaitForRaw},
        settings::{Datastore, ExtraPort, Flannel, Group, Mesh, Peer, PeersFrom, Role, Sample, WaitFor},
        text::Span,
    },
    model::{NodeAddress, NodeName, Port},
};

const EXAMPLE: &str = "such as: peers = [{ name = \"node-01\", ip = \"10.0.1.1\", role = \"control-plane\" }]";

/// Without the section there is none; with it there are peers, or somebody to ask for them.
pub(super) fn mesh(raw: RawMesh, listed: Vec<RawPeer>, flannel: Option<&Flannel>, problems: &mut Problems<'_>) -> Option<Mesh> {
    let none_given = raw.peers.is_empty() && listed.is_empty();
    let mut peers: Vec<Peer> = Vec::new();
    for (raw, of_file) in raw.peers.into_iter().map(|raw| (raw, false)).chain(listed.into_iter().map(|raw| (raw, true))) {
        if let Some(peer) = peer(raw, problems) {
            add(&mut peers, peer, of_file, problems);
        }
    }
    // Read where the command's edge reads fragments.
    let _ = problems.value(raw.peers_file);
    let peers_from = problems.value(raw.peers_from);
    let sample = sample(raw.sample, problems);
    let key_file = problems.value(raw.key_file).map_or_else(|| PathBuf::from("/etc/hostlet/mesh-key"), |path| path.0);
    let cluster_name = problems.value(raw.cluster_name).map_or_else(|| "kubernetes".to_owned(), |name| name.0);
    let port = problems.value(raw.port).unwrap_or(Port::known(7470));
    let (default, day) = (Duration::from_mins(5), Duration::from_hours(24));
    let wait_timeout = within(raw.wait_timeout, default, Duration::ZERO, day, problems);
    let wait_for = wait_for(raw.wait_for, &peers, peers_from.is_some(), problems);
    let extra_ports = extra_ports(raw.extra_ports, problems);
    if !problems.mentioned("mesh") {
        return None;
    }
    match peers_from {
        None if none_given => {
            let problem = problems.add_at_key(&["mesh.peers-file", "mesh.peers", "mesh"], "[mesh] names no peers");
            problem.help.push(EXAMPLE.to_owned());
        }
        Some(PeersFrom::ApiServer) if !matches!(flannel.map(|flannel| &flannel.datastore), Some(Datastore::Kube(_))) => {
            let message = "the API server is asked for Nodes with flannel's identity, and flannel has none";
            let problem = problems.add_at_key(&["mesh.peers-from"], message);
            problem.help.push(
                "give [flannel] token-file or kubeconfig-file with datastore \"kube\", or list the nodes as mesh.peers"
                    .to_owned(),
            );
        }
        _ => {}
    }
    Some(Mesh { peers, peers_from, sample, key_file, cluster_name, port, wait_for, wait_timeout, extra_ports })
}

/// A peer, and where its name and addresses stand.
struct Found {
    peer: Peer,
    at: Span,
    addresses: Vec<(NodeAddress, Span)>,
}

fn peer(raw: RawPeer, problems: &mut Problems<'_>) -> Option<Found> {
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
    let one_of_each = super::node::one_of_each_family(addresses.clone(), "ip", problems);
    Some(Found { peer: Peer { name, addresses: one_of_each, role }, at, addresses })
}

/// Once more with the same words in the file is no contradiction; anything else is.
fn add(peers: &mut Vec<Peer>, found: Found, of_file: bool, problems: &mut Problems<'_>) {
    let Found { peer, at, addresses } = found;
    if let Some(other) = peers.iter().find(|other| other.name == peer.name) {
        if !(of_file && *other == peer) {
            problems.add(&at, format!("the peer {} is given twice", peer.name));
        }
        return;
    }
    for (address, at) in &addresses {
        if let Some(other) = peers.iter().find(|other| other.addresses.contains(address)) {
            problems.add(at, format!("{address} is the address of {} already", other.name));
        }
    }
    peers.push(peer);
}

fn sample(raw: RawSample, problems: &mut Problems<'_>) -> Sample {
    let default = Sample::default();
    let mut number = |field: Field<u32>, default, least, most| match problems.located(field) {
        Some((value, at)) if !(least..=most).contains(&value) => {
            problems.add(&at, format!("{value} is not a number from {least} to {most}"));
            default
        }
        Some((value, _)) => value,
        None => default,
    };
    Sample {
        threshold: number(raw.threshold, default.threshold, 2, 5000),
        // With eight of each, a thousand nodes fall apart once in a billion times or less.
        size: number(raw.size, default.size, 8, 1000),
    }
}

fn wait_for(raw: WaitForRaw, peers: &[Peer], others: bool, problems: &mut Problems<'_>) -> WaitFor {
    let names = problems.list(raw.0);
    let word = |wanted: &str| names.len() == 1 && names.iter().all(|(name, _)| name.as_str() == wanted);
    if names.is_empty() || word("all") {
        return WaitFor::All;
    }
    if word("control-plane") {
        return WaitFor::ControlPlane;
    }
    for (name, at) in &names {
        if !others && !peers.iter().any(|peer| peer.name == *name) {
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
