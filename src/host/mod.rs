//! The only room that touches the host: files, systemd, mounts, sockets, processes, the container runtime.
//!
//! Everything else decides; this room looks and does. Each module says what it promises about being interrupted.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the room that may")]

pub mod activation;
pub mod api_server;
pub mod arp;
pub mod capabilities;
pub mod checkpoint;
pub mod clock;
pub mod container;
pub mod cri;
pub mod datagrams;
pub mod detached;
pub mod disk;
pub mod files;
pub mod fragments;
pub mod hardware;
pub mod healthz;
pub mod journal;
pub mod kernel;
pub mod kubeconfig;
pub mod labels;
pub mod links;
pub mod lock;
pub mod look;
pub mod machine;
pub mod moment;
pub mod mounts;
pub mod namespaces;
mod netlink;
pub mod network;
pub mod nftables;
pub mod open_files;
pub mod os_release;
pub mod parameters;
pub mod ports;
pub mod process;
pub mod processes;
pub mod propagation;
pub mod proxies;
pub mod resolver;
pub mod secret_file;
pub mod signals;
pub mod systemd;
pub mod terminal;
pub mod tree;
