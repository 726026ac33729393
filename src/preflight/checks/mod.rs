//! The checks, one file for each family. To add a check, add an entry to its family's `CHECKS`.

mod api_server;
mod capacity;
mod clock;
mod duplicate;
mod eviction;
mod executables;
mod existing;
mod firewall;
mod kernel;
mod leftovers;
mod limits;
mod machine;
mod manager;
mod mounted;
mod network;
mod networks;
mod packets;
mod ports;
mod propagation;
mod proxy;
mod quantity;
mod resolution;
mod resources;
mod runtime;
mod sandboxing;
mod security;
mod sources;
mod storage;

use super::check::Check;

/// In the order of the list: what everything else rests on comes first.
const FAMILIES: &[&[Check]] = &[
    manager::CHECKS,
    machine::CHECKS,
    capacity::CHECKS,
    clock::CHECKS,
    resolution::CHECKS,
    resources::CHECKS,
    limits::CHECKS,
    storage::CHECKS,
    mounted::CHECKS,
    executables::CHECKS,
    security::CHECKS,
    propagation::CHECKS,
    sandboxing::CHECKS,
    kernel::CHECKS,
    network::CHECKS,
    duplicate::CHECKS,
    packets::CHECKS,
    firewall::CHECKS,
    ports::CHECKS,
    runtime::CHECKS,
    networks::CHECKS,
    api_server::CHECKS,
    sources::CHECKS,
    proxy::CHECKS,
    existing::CHECKS,
    leftovers::CHECKS,
];

pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().copied().flatten()
}
