//! Everything that needs more than the code itself: real sockets, namespaces, a booted systemd.

mod machine;
mod sys_machine;
