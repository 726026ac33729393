//! Fetching from a real TLS server that misbehaves on demand, into a real directory.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look at the host themselves")]

mod access;
pub(crate) mod bench;
mod cached;
mod disk;
mod files;
mod kill;
mod memory;
mod nginx;
mod proxy;
mod refusal;
mod resume;
mod schedules;
pub(crate) mod server;
mod sidecar;
mod sources;
mod transfer;
mod trust;
