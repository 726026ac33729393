//! What filters packets on this host, as far as it matters for the command that opens a port.

use std::path::Path;

use super::body::Firewall;
use crate::host::{files, processes::Process};

/// Looks at processes and files; takes some milliseconds.
pub(super) fn active() -> Firewall {
    let text = |path: &str| files::read_text(Path::new(path)).unwrap_or_default();
    if Process::all().unwrap_or_default().iter().any(|process| process.name == "firewalld") {
        return Firewall::Firewalld;
    }
    if text("/etc/ufw/ufw.conf").lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")) {
        return Firewall::Ufw;
    }
    // Only iptables-legacy shows here; iptables-nft makes rules that nft lists.
    if text("/proc/net/ip_tables_names").trim().is_empty() { Firewall::Nftables } else { Firewall::Iptables }
}
