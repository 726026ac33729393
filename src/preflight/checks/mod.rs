//! The checks, one file for each family. To add a check, add an entry to its family's `CHECKS`.

mod api_server;
mod duplicate;
mod existing;
mod kernel;
mod leftovers;
mod machine;
mod manager;
mod network;
mod ports;
mod propagation;
mod proxy;
mod resources;
mod runtime;
mod sandboxing;
mod sources;
mod storage;

use super::check::Check;

/// In the order of the list: what everything else rests on comes first.
const FAMILIES: &[&[Check]] = &[
    manager::CHECKS,
    machine::CHECKS,
    resources::CHECKS,
    storage::CHECKS,
    propagation::CHECKS,
    sandboxing::CHECKS,
    kernel::CHECKS,
    network::CHECKS,
    duplicate::CHECKS,
    ports::CHECKS,
    runtime::CHECKS,
    api_server::CHECKS,
    sources::CHECKS,
    proxy::CHECKS,
    existing::CHECKS,
    leftovers::CHECKS,
];

pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().copied().flatten()
}
