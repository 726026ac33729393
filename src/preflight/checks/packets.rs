//! What the kernel does with packets on their way: reverse-path filter, connection tracking.

use crate::{
    host::{
        kernel::{self, Module},
        links,
    },
    preflight::{
        Subject,
        check::{Check, Judgement, Look, Looked, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "rp-filter",
        tests: "the reverse-path filter is not strict on flannel's path (net.ipv4.conf.*.rp_filter is 0 or 2)",
        weight: WARNING,
        remedy: "set net.ipv4.conf.all.rp_filter = 2 in /etc/sysctl.d, and sysctl --system",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(reverse_path),
    },
    Check {
        id: "conntrack",
        tests: "the kernel tracks connections, at least 65536 of them, and the table is not nearly full",
        weight: WARNING,
        remedy: "set net.netfilter.nf_conntrack_max = 131072 in /etc/sysctl.d, and sysctl --system",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(tracking),
    },
];

/// The kernel takes the larger of a link's own value and that of `all`; a link that is yet to come (flannel.1, cni0) begins
/// with that of `default`. Source: the kernel's ip-sysctl.rst.
fn reverse_path(subject: &Subject) -> Looked {
    if subject.settings.flannel.is_none() {
        return Ok(Judgement::pass("not needed without flannel"));
    }
    let all = value("all")?;
    let mut names = underlay(subject)?;
    names.push("default".to_owned());
    let mut strict = Vec::new();
    for name in &names {
        if all.max(value(name)?) == 1 {
            strict.push(name.clone());
        }
    }
    if strict.is_empty() {
        return Ok(Judgement::pass(format!("not strict on {}", names.join(", "))));
    }
    let lines: Vec<_> = strict.iter().map(|name| format!("net.ipv4.conf.{name}.rp_filter = 2")).collect();
    Ok(Judgement::failure(format!(
        "strict on {}: packets that come another way than their answers would go are dropped",
        strict.join(", ")
    ))
    .remedy(format!("printf '%s\\n' {} >/etc/sysctl.d/90-rp-filter.conf && sysctl --system", quoted(&lines))))
}

fn quoted(lines: &[String]) -> String {
    // Loose wins over strict in `all`, so that this line alone would do; the others say what was strict.
    let all = "net.ipv4.conf.all.rp_filter = 2".to_owned();
    [all].iter().chain(lines).map(|line| format!("'{line}'")).collect::<Vec<_>>().join(" ")
}

fn value(link: &str) -> Result<u8, Unclear> {
    let text = kernel::link_setting(link, "rp_filter")?.unwrap_or_default();
    Ok(text.parse().unwrap_or_default())
}

/// The links that flannel's packets between nodes come in by: the configured one, or those with the node's addresses.
fn underlay(subject: &Subject) -> Result<Vec<String>, Unclear> {
    let links = links::links()?;
    let configured = subject.settings.flannel.as_ref().and_then(|flannel| flannel.interface.as_ref());
    if let Some(name) = configured.filter(|name| links.iter().any(|link| link.name == **name)) {
        return Ok(vec![name.clone()]);
    }
    let own: Vec<_> = links::addresses()?
        .into_iter()
        .filter(|local| subject.identity.addresses.iter().any(|address| address.ip() == local.ip))
        .map(|local| local.link)
        .collect();
    Ok(links.into_iter().filter(|link| own.contains(&link.index)).map(|link| link.name).collect())
}

/// What the kernel starts with on a machine of one gigabyte; kube-proxy raises it to 131072 where it may.
const TABLE: u64 = 65_536;

fn tracking(_: &Subject) -> Looked {
    let number = |name| -> Result<Option<u64>, Unclear> { Ok(kernel::setting(name)?.and_then(|text| text.parse().ok())) };
    let Some(max) = number("net.netfilter.nf_conntrack_max")? else {
        return Ok(match kernel::module("nf_conntrack", "NF_CONNTRACK")? {
            Module::Absent => Judgement::failure("the kernel has no nf_conntrack").remedy("see modules"),
            Module::Present | Module::Loadable => Judgement::pass("nf_conntrack is loaded when it is needed"),
            Module::Unknown => Judgement::warning("nf_conntrack is not loaded, and nothing tells whether it can be")
                .remedy("modprobe nf_conntrack"),
        });
    };
    let count = number("net.netfilter.nf_conntrack_count")?.unwrap_or_default();
    let seen = format!("{count} of {max} connections are tracked");
    Ok(if max < TABLE || count.saturating_mul(5) > max.saturating_mul(4) {
        Judgement::failure(seen)
    } else {
        Judgement::pass(seen)
    })
}
