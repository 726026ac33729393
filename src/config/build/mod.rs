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

use std::path::{Path, PathBuf};

use super::{
    Fit,
    catalog::Catalog,
    problems::Problems,
    raw::{Raw, RawPeer, RawRuntime},
    settings::{Runtime, Settings},
};
use crate::model::UnitName;

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

/// Where runtimes listen, and the unit of each: one says the other.
const RUNTIMES: [(&str, &str); 3] = [
    ("/run/containerd/containerd.sock", "containerd.service"),
    ("/run/crio/crio.sock", "crio.service"),
    ("/run/cri-dockerd.sock", "cri-docker.service"),
];

fn runtime(raw: RawRuntime, problems: &mut Problems<'_>) -> Option<Runtime> {
    let socket = problems.value(raw.socket).map(|socket| socket.0);
    let unit = problems.value(raw.unit);
    let by_socket = |socket: &PathBuf| {
        let below = |path: &Path| path.strip_prefix("/var/run").or(path.strip_prefix("/run")).ok().map(Path::to_owned);
        RUNTIMES.iter().find(|(known, _)| below(Path::new(known)) == below(socket)).map(|(_, unit)| *unit)
    };
    let by_unit = |unit: &UnitName| RUNTIMES.iter().find(|(_, known)| *known == unit.as_str()).map(|(socket, _)| *socket);
    let (usual_socket, usual_unit) = RUNTIMES[0];
    let named = socket.as_ref().and_then(by_socket).unwrap_or(usual_unit);
    Some(Runtime {
        socket: socket.unwrap_or_else(|| unit.as_ref().and_then(by_unit).unwrap_or(usual_socket).into()),
        unit: match unit {
            Some(unit) => unit,
            None => named.parse().ok()?,
        },
    })
}
