//! hostlet installs the kubelet and flannel natively on a systemd host, and refuses to until the host is fit.
//!
//! The rooms, and what may import what, are in `docs/architecture.md`. This library is the program's own: it
//! has no stable interface.

#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look at files from outside"))]

pub mod cli;
pub mod commands;
pub mod config;
pub mod facts;
pub mod fetch;
pub mod generation;
pub mod health;
pub mod host;
pub mod mesh;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod plan;
pub mod preflight;
pub mod rehearse;
pub mod standin;
pub mod transaction;
pub mod uninstall;
pub mod version;
