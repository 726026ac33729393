//! Packet filters: the one that flannel needs, and those that may stand in the way.
//!
//! Gaps: rules are not read, so that a firewall that lets the node's traffic through is named as well; and a default of "drop"
//! in iptables-legacy's own tables is not seen.

use std::path::Path;

use crate::{
    host::{
        files::{self, if_present},
        look,
        nftables::{self, Family, Ruleset},
        processes::Process,
    },
    model::Protocol,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "iptables-backend",
        tests: "iptables (with flannel.nftables: nft) is there for flannel; and rules are in one backend, nft or legacy (a warning)",
        weight: ERROR,
        remedy: "apt-get install iptables (or dnf install iptables-nft)",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(backend),
    },
    Check {
        id: "firewall",
        tests: "no firewall decides which of the node's ports can be reached: firewalld, ufw, or a default of drop in nftables",
        weight: WARNING,
        remedy: "open the node's ports in the firewall",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(firewall),
    },
];

/// The programs that flannel runs (facts: flanneld; `EnableNFTables`).
fn programs(subject: &Subject) -> Vec<&'static str> {
    match &subject.settings.flannel {
        None => Vec::new(),
        Some(flannel) if flannel.nftables => vec!["nft"],
        Some(flannel) if flannel.ipv6_network.is_some() => vec!["iptables", "ip6tables"],
        Some(_) => vec!["iptables"],
    }
}

fn backend(subject: &Subject) -> Looked {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in programs(subject) {
        match look::program(name)? {
            Some(path) => found.push(described(&path)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        let judgement =
            Judgement::failure(format!("flannel needs {}, which is not on the PATH of services", missing.join(" and ")));
        return Ok(if missing == ["nft"] {
            judgement.remedy("apt-get install nftables (or dnf install nftables)")
        } else {
            judgement
        });
    }
    let (legacy, nft) = (legacy_tables()?, nft_tables(&nftables::look()?));
    if !legacy.is_empty() && !nft.is_empty() {
        return Ok(Judgement::warning(format!(
            "iptables' rules are in both backends: legacy has the tables {}; nft has rules in {}",
            legacy.join(", "),
            nft.join(", ")
        ))
        .required("rules in one backend: each decides without knowing of the other")
        .remedy("find who uses which (iptables-legacy-save; iptables-nft-save), and let all use the same: update-alternatives --config iptables"));
    }
    Ok(Judgement::pass(if found.is_empty() { "not needed without flannel".to_owned() } else { found.join(", ") }))
}

/// `/usr/sbin/iptables (nft)`: what the links behind it lead to tells.
fn described(path: &Path) -> String {
    let target = path.canonicalize().ok().and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()));
    match target.as_deref() {
        Some("xtables-nft-multi") => format!("{} (nft)", path.display()),
        Some("xtables-legacy-multi") => format!("{} (legacy)", path.display()),
        _ => path.display().to_string(),
    }
}

/// The tables that iptables-legacy made: iptables-nft itself warns by the same file. Reading it loads nothing.
fn legacy_tables() -> Result<Vec<String>, Unclear> {
    let mut tables = Vec::new();
    for (file, family) in [("/proc/net/ip_tables_names", "ip"), ("/proc/net/ip6_tables_names", "ip6")] {
        let text = if_present(files::read_text(Path::new(file)))?.unwrap_or_default();
        tables.extend(text.split_whitespace().map(|name| format!("{family} {name}")));
    }
    Ok(tables)
}

/// The tables with rules that have the names and families of iptables-nft's.
fn nft_tables(rules: &Ruleset) -> Vec<String> {
    let iptables = ["filter", "nat", "mangle", "raw", "security"];
    let family = |family| match family {
        Family::Ip => Some("ip"),
        Family::Ip6 => Some("ip6"),
        Family::Inet | Family::Other(_) => None,
    };
    let tables = rules.tables.iter().filter(|table| table.rules > 0 && iptables.contains(&table.name.as_str()));
    tables.filter_map(|table| Some(format!("{} {}", family(table.family)?, table.name))).collect()
}

fn firewall(subject: &Subject) -> Looked {
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    let ports = super::ports::reachable(subject);
    let each = |one: fn(u16, Protocol) -> String| {
        ports.iter().map(|(protocol, port)| one(port.number(), *protocol)).collect::<Vec<_>>()
    };
    if let Some(process) = Process::all()?.into_iter().find(|process| process.name == "firewalld") {
        found.push(format!("{process} is active"));
        let ports = each(|port, protocol| format!("--add-port={port}/{protocol}")).join(" ");
        remedies.push(format!("firewall-cmd --permanent {ports} && firewall-cmd --reload"));
    }
    if if_present(files::read_text(Path::new("/etc/ufw/ufw.conf")))?.is_some_and(|text| is_enabled(&text)) {
        found.push("ufw is enabled".to_owned());
        remedies.extend(each(|port, protocol| format!("ufw allow {port}/{protocol}")));
    }
    for chain in nftables::look()?.chains.iter().filter(|chain| chain.is_input && chain.drops) {
        let family = match chain.family {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Other(_) => continue,
        };
        found.push(format!("nftables drops what no rule accepts: chain {} of table {family} {}", chain.name, chain.table));
        let rule = |port, protocol| format!("{protocol} dport {port} accept");
        for rule in each(rule) {
            remedies.push(format!(
                "nft add rule {family} {} {} {rule}, and the same in /etc/nftables.conf",
                chain.table, chain.name
            ));
        }
    }
    Ok(if found.is_empty() {
        Judgement::pass("none")
    } else {
        Judgement::failure(found.join("\n"))
            .required(format!("from the other nodes: {}", each(|port, protocol| format!("{port}/{protocol}")).join(", ")))
            .remedy(remedies.join("\n"))
    })
}

/// ufw.conf is read by a shell.
fn is_enabled(text: &str) -> bool {
    let value = text.lines().filter_map(|line| line.trim().strip_prefix("ENABLED=")).next_back();
    value.is_some_and(|value| value.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_is_enabled_by_its_last_word() {
        assert!(is_enabled("# ENABLED=no\nENABLED=no\nENABLED=\"yes\"\nLOGLEVEL=low\n"));
        assert!(!is_enabled("ENABLED=no\n") && !is_enabled(""));
    }
}
