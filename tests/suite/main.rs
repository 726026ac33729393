//! Everything that needs more than the code itself: real sockets, namespaces, a booted systemd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says why"
)]

mod machine;
mod namespaces;
mod ns_mounts;
mod ns_propagation;
mod sys_machine;
mod sys_standin;
mod sys_systemd;
