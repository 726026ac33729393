//! Everything that needs more than the code itself: real sockets, namespaces, a booted systemd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says why"
)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look at the machine from outside")]

mod api_server;
mod bundle;
mod documents;
mod fetch;
mod first_boot;
mod from_kubeadm;
mod guard;
mod kill;
mod machine;
mod namespaces;
mod ns_discovery;
mod ns_labels;
mod ns_mesh;
mod ns_mesh_cluster;
mod ns_mesh_faults;
mod ns_mesh_flood;
mod ns_mesh_routes;
mod ns_mesh_times;
mod ns_mesh_world;
mod ns_mounts;
mod ns_ports;
mod ns_preflight;
mod ns_preflight_apiserver;
mod ns_preflight_cri;
mod ns_preflight_labels;
mod ns_preflight_machine;
mod ns_preflight_names;
mod ns_preflight_neighbours;
mod ns_preflight_others;
mod ns_preflight_packets;
mod ns_preflight_read_only;
mod ns_preflight_sources;
mod ns_preflight_world;
mod ns_propagation;
mod ns_tree;
mod ns_unmount;
mod preflight_cases;
mod signature;
mod sys_adopt;
mod sys_chain;
mod sys_cloud_init;
mod sys_cni;
mod sys_downtime;
mod sys_install;
mod sys_kill;
mod sys_kill_uninstall;
mod sys_machine;
mod sys_mesh;
mod sys_mesh_firewalls;
mod sys_preflight;
mod sys_preflight_local;
mod sys_preflight_others;
mod sys_rehearse;
mod sys_sequences;
mod sys_standin;
mod sys_systemd;
mod sys_uninstall;
mod sys_upgrade;
mod vm;
mod vm_first_boot;
mod vm_lost_writes;
mod vm_power_cut;
