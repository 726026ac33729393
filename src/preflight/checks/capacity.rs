//! Processors and memory: what a node of its role needs, and what the kubelet is told to keep back from pods.
//!
//! Sources of the floors: kubeadm's preflight for a control plane (two processors, 1700 MiB); kubespray's for a worker (1024
//! MiB); "2 GB or more" in kubeadm's documentation. Gap: what a container that hostlet runs in is limited to is not looked at.

use super::quantity;
use crate::{
    config::Role,
    host::hardware,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cpu",
        tests: "a worker has one processor, a control-plane node two, and more than is reserved from pods",
        weight: ERROR,
        remedy: "give the machine more processors",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(processors),
    },
    Check {
        id: "memory",
        tests: "a worker has 1024 MiB, a control-plane node 1700 MiB (5% less will do; 2 GiB are better), and more than is reserved",
        weight: ERROR,
        remedy: "give the machine more memory",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(memory),
    },
];

const MEBIBYTE: u64 = 1 << 20;

/// What the kubelet keeps back from pods; it does not start when that is more than there is ("invalid Node Allocatable
/// configuration").
fn reserved(subject: &Subject, resource: &str, parse: fn(&str) -> Option<u64>) -> u64 {
    let of = |field: &str| {
        let value = subject.kubelet_field(field)?.get(resource)?;
        parse(value.as_str()?)
    };
    of("kubeReserved").unwrap_or_default().saturating_add(of("systemReserved").unwrap_or_default())
}

const RESERVED: &str =
    "lower kubelet.config.kubeReserved and systemReserved: the kubelet does not start with more than there is";

fn processors(subject: &Subject) -> Looked {
    let found = hardware::processors()?.ok_or_else(|| Unclear("the kernel's list of processors is none".to_owned()))?;
    let needed = if subject.settings.node.role == Role::ControlPlane { 2 } else { 1 };
    let reserved = reserved(subject, "cpu", quantity::thousandths);
    Ok(if found < needed {
        Judgement::failure(format!("{found}")).required(format!("{needed} for this node's role"))
    } else if reserved >= u64::from(found) * 1000 {
        Judgement::failure(format!("{found}, and {reserved}m are reserved")).remedy(RESERVED)
    } else {
        Judgement::pass(found.to_string())
    })
}

fn memory(subject: &Subject) -> Looked {
    let found = hardware::memory()?;
    let needed = if subject.settings.node.role == Role::ControlPlane { 1700 * MEBIBYTE } else { 1024 * MEBIBYTE };
    let evicts_below = super::eviction::line(subject, "memory.available").of(found);
    let reserved = reserved(subject, "memory", quantity::bytes).saturating_add(evicts_below);
    let seen = format!("{} MiB", found / MEBIBYTE);
    // What firmware and kernel take for themselves is missing from what a machine is sold with (kubespray#2123).
    let with_slack = |size: u64| size - size / 20;
    Ok(if found < with_slack(needed) {
        Judgement::failure(seen).required(format!("{} MiB for this node's role", needed / MEBIBYTE))
    } else if reserved >= found {
        Judgement::failure(format!("{seen}, and {} MiB are reserved", reserved / MEBIBYTE)).remedy(RESERVED)
    } else if found < with_slack(2048 * MEBIBYTE) {
        Judgement::warning(seen).required("2 GiB leave little room for pods already")
    } else {
        Judgement::pass(seen)
    })
}
