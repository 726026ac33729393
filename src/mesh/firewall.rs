//! What filters packets on this host, as far as it matters for the command that opens a port.

use std::path::Path;

use super::body::{Chain, ChainFamily, Firewall, Identifier, MOST_CHAINS};
use crate::host::{
    files,
    nftables::{self, Family},
    processes::Process,
};

/// Looks at processes, files and the kernel's rules; takes some milliseconds.
pub(super) fn active() -> Firewall {
    let text = |path: &str| files::read_text(Path::new(path)).unwrap_or_default();
    if Process::all().unwrap_or_default().iter().any(|process| process.name == "firewalld") {
        return Firewall::Firewalld;
    }
    if text("/etc/ufw/ufw.conf").lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")) {
        return Firewall::Ufw;
    }
    let ruleset = nftables::look().unwrap_or_default();
    let refusing: Vec<_> = ruleset.chains.iter().filter(|chain| chain.is_input && (chain.drops || chain.refuses)).collect();
    if refusing.is_empty() {
        // Only the older tables show here; iptables-nft makes rules that nft lists.
        let legacy = text("/proc/net/ip_tables_names")
            .lines()
            .chain(text("/proc/net/ip6_tables_names").lines())
            .any(|it| it == "filter");
        return if legacy { Firewall::Iptables { legacy: true } } else { Firewall::None };
    }
    if refusing.iter().all(|chain| is_iptables(chain)) {
        return Firewall::Iptables { legacy: false };
    }
    Firewall::Nftables(refusing.into_iter().filter_map(named).take(MOST_CHAINS).collect())
}

/// What iptables-nft keeps its rules in.
fn is_iptables(chain: &nftables::Chain) -> bool {
    matches!(chain.family, Family::Ip | Family::Ip6) && chain.table == "filter" && chain.name == "INPUT"
}

fn named(chain: &nftables::Chain) -> Option<Chain> {
    let family = match chain.family {
        Family::Inet => ChainFamily::Inet,
        Family::Ip => ChainFamily::Ip,
        Family::Ip6 => ChainFamily::Ip6,
        Family::Other(_) => return None,
    };
    Some(Chain { family, table: Identifier::new(&chain.table)?, name: Identifier::new(&chain.name)? })
}
