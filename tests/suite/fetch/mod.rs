//! Fetching from a real TLS server that misbehaves on demand, into a real directory.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look at the host themselves")]

pub(crate) mod bench;
mod cached;
mod disk;
mod files;
mod memory;
mod proxy;
mod refusal;
mod resume;
pub(crate) mod server;
mod sidecar;
mod transfer;
mod trust;
