//! From what was written to [`Settings`]: values are checked against each other and defaults are filled in.

mod artifacts;
mod cluster;
mod flannel;
mod kubelet;
mod kubelet_rules;
mod mesh;
mod node;
mod preflight;
mod signature;

use std::path::PathBuf;

use super::{
    Fit,
    catalog::Catalog,
    problems::Problems,
    raw::{Raw, RawPeer, RawRuntime},
    settings::{Runtime, Settings},
};

/// The settings, if nothing about them was wrong; every mistake is in `problems`.
pub(super) fn settings(
    raw: Raw,
    listed: Vec<RawPeer>,
    catalog: Catalog,
    fit: Fit,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    let node = node::node(raw.node, problems);
    let cluster = cluster::cluster(raw.cluster, problems);
    let kubelet = kubelet::kubelet(raw.kubelet, &catalog, fit, problems);
    let flannel = flannel::flannel(raw.flannel, cluster.as_ref(), &catalog, problems);
    let cni = artifacts::cni(raw.cni, &catalog, problems);
    let runtime = runtime(raw.runtime, problems);
    let sources = artifacts::sources(raw.sources, catalog, problems);
    let preflight = preflight::preflight(raw.preflight, problems);
    let mesh = mesh::mesh(raw.mesh, listed, flannel.as_ref(), problems);
    if !problems.is_empty() {
        return None;
    }
    let settings =
        Settings { node, cluster, kubelet: kubelet?, flannel, cni: cni?, runtime: runtime?, sources, preflight, mesh };
    artifacts::every_artifact_can_be_verified(&settings, problems);
    flannel::networks_are_disjoint(&settings, problems);
    Some(settings)
}

fn runtime(raw: RawRuntime, problems: &mut Problems<'_>) -> Option<Runtime> {
    let socket = problems.value(raw.socket);
    let unit = problems.value(raw.unit);
    Some(Runtime {
        socket: socket.map_or_else(|| PathBuf::from("/run/containerd/containerd.sock"), |socket| socket.0),
        unit: match unit {
            Some(unit) => unit,
            None => "containerd.service".parse().ok()?,
        },
    })
}
