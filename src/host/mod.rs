//! The only room that touches the host: files, systemd, mounts, sockets, processes, the container runtime.
//!
//! Everything else decides; this room looks and does. Each module says what it promises about being interrupted.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the room that may")]

pub mod capabilities;
pub mod container;
pub mod cri;
pub mod detached;
pub mod disk;
pub mod files;
pub mod healthz;
pub mod journal;
pub mod mounts;
pub mod processes;
pub mod propagation;
pub mod systemd;
