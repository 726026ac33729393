//! Limits of the kernel that nodes with many pods run into.
//!
//! Sources: the kernel's own defaults; kubelet's maxOpenFiles (1,000,000), which it sets for itself and cannot above nr_open.

use serde_json::Value;

use crate::{
    host::kernel,
    preflight::{
        Subject,
        check::{Check, Judgement, Look, Looked, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "limits",
    tests: "the kernel allows the files and the inotify instances and watches that a kubelet and its pods open",
    weight: WARNING,
    remedy: "raise them in /etc/sysctl.d, and sysctl --system",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(limits),
}];

fn limits(subject: &Subject) -> Looked {
    let files = subject.kubelet_field("maxOpenFiles").and_then(Value::as_u64).unwrap_or(1_000_000);
    let floors = [
        ("fs.inotify.max_user_instances", 128),
        ("fs.inotify.max_user_watches", 65_536),
        ("fs.nr_open", files),
        ("fs.file-max", files),
    ];
    let (mut low, mut seen) = (Vec::new(), Vec::new());
    for (name, floor) in floors {
        let Some(text) = kernel::setting(name)? else { continue };
        let value: u64 = text.parse().map_err(|_| Unclear(format!("{name} is {text:?}")))?;
        if value < floor {
            low.push((name, value, floor));
        }
        seen.push(format!("{name} = {value}"));
    }
    if low.is_empty() {
        return Ok(Judgement::pass(seen.join(", ")));
    }
    let list = |one: fn(&(&str, u64, u64)) -> String| low.iter().map(one).collect::<Vec<_>>();
    let lines = list(|(name, _, floor)| format!("'{name} = {floor}'")).join(" ");
    Ok(Judgement::failure(list(|(name, value, _)| format!("{name} = {value}")).join(", "))
        .required(list(|(name, _, floor)| format!("{name} >= {floor}")).join(", "))
        .remedy(format!("printf '%s\\n' {lines} >/etc/sysctl.d/90-limits.conf && sysctl --system")))
}
