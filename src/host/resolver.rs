//! Names to addresses without NSS, and which nameservers pods are given.
//!
//! Promise: a look-up ends within its limit, whatever the files and the nameservers do; files are read on a thread that nobody
//! waits for. Gap: what NSS modules other than files, dns and myhostname would answer is not known.

use std::{net::IpAddr, path::Path, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::ResolveHosts,
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf,
};
use tokio::time::{Instant, timeout_at};

use super::{
    detached,
    files::{self, FileError, if_present},
    look,
};

/// systemd-resolved's own file with the nameservers that it asks.
pub const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// A name has no address here.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// Neither /etc/hosts nor a nameserver knows it.
    #[error("neither /etc/hosts nor DNS ({nameservers}) knows it")]
    Unknown {
        /// Who was asked.
        nameservers: String,
    },
    /// /etc/hosts does not know it, and there is nobody to ask.
    #[error("/etc/hosts does not know it, and /etc/resolv.conf names no nameserver")]
    NobodyToAsk,
    /// The nameservers did not answer.
    #[error("/etc/hosts does not know it, and DNS ({nameservers}) did not answer within {} ms", limit.as_millis())]
    Silent {
        /// Who was asked.
        nameservers: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The nameservers could not be asked.
    #[error("/etc/hosts does not know it, and DNS failed: {0}")]
    Failed(String),
    /// The files that say how names are resolved cannot be read.
    #[error("{0}")]
    Files(String),
}

/// Where an answer came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// /etc/hosts
    Hosts(Vec<IpAddr>),
    /// nss-myhostname, which always knows the host's own name.
    MyHostName,
    /// A nameserver.
    Dns(Vec<IpAddr>),
}

/// What the files say.
struct Configuration {
    hosts: String,
    switch: String,
    resolv: String,
}

/// Resolves a name as programs on this host would: /etc/hosts, nss-myhostname where it is on, then DNS.
pub async fn resolve(name: &str, own_name: &str, limit: Duration) -> Result<Resolved, Unresolved> {
    let until = Instant::now() + limit;
    let Ok(read) = timeout_at(until, detached::run("resolver", configuration)).await else {
        return Err(Unresolved::Files(format!(
            "reading /etc/hosts or /etc/resolv.conf took more than {} ms",
            limit.as_millis()
        )));
    };
    let read = read.map_err(|error| Unresolved::Files(error.to_string()))?;
    let configuration = read.map_err(|error| Unresolved::Files(error.to_string()))?;
    let listed = in_hosts(&configuration.hosts, name);
    if !listed.is_empty() {
        return Ok(Resolved::Hosts(listed));
    }
    if name.eq_ignore_ascii_case(own_name) && has_my_host_name(&configuration.switch) {
        return Ok(Resolved::MyHostName);
    }
    let servers = nameservers(&configuration.resolv);
    if servers.is_empty() {
        return Err(Unresolved::NobodyToAsk);
    }
    let nameservers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match timeout_at(until, ask(&configuration.resolv, name, limit)).await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(Unresolved::Unknown { nameservers }),
        Ok(Ok(addresses)) => Ok(Resolved::Dns(addresses)),
        Ok(Err(error)) if !matches!(error, NetError::Timeout) => Err(Unresolved::Failed(error.to_string())),
        Ok(Err(_)) | Err(_) => Err(Unresolved::Silent { nameservers, limit }),
    }
}

fn configuration() -> Result<Configuration, FileError> {
    let text = |path| Ok(if_present(files::read_text(Path::new(path)))?.unwrap_or_default());
    Ok(Configuration { hosts: text("/etc/hosts")?, switch: text("/etc/nsswitch.conf")?, resolv: text("/etc/resolv.conf")? })
}

async fn ask(resolv: &str, name: &str, limit: Duration) -> Result<Vec<IpAddr>, NetError> {
    let (config, mut options) = system_conf::parse_resolv_conf(resolv)?;
    options.use_hosts_file = ResolveHosts::Never;
    // A question that was lost is asked once more.
    options.timeout = limit / 2;
    options.attempts = 1;
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
    match resolver?.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// hosts(5)
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let entry = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(entry).collect()
}

/// nsswitch.conf(5): the line for hosts.
fn has_my_host_name(text: &str) -> bool {
    let line = text.lines().filter_map(|line| line.split('#').next()?.trim().strip_prefix("hosts:")).next_back();
    line.is_some_and(|services| services.split_whitespace().any(|service| service == "myhostname"))
}

/// resolv.conf(5): the nameservers, in order. A zone after an address (fe80::1%eth0) is left out.
#[must_use]
pub fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        words.next()?.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).collect()
}

/// Whether /etc/resolv.conf names systemd-resolved's stub, and the file behind it is there. The stub listens on the host's
/// loopback, which pods cannot reach. Source: kubernetes' documentation, "Known issues" of DNS debugging.
pub fn is_stub() -> Result<bool, FileError> {
    let text = if_present(files::read_text(Path::new("/etc/resolv.conf")))?.unwrap_or_default();
    let stub = text.lines().any(|line| line.split_whitespace().eq(["nameserver", "127.0.0.53"]));
    Ok(stub && look::exists(Path::new(BEHIND_THE_STUB)))
}

/// The nameservers in a file; `None` where there is no such file.
pub fn nameservers_in(path: &Path) -> Result<Option<Vec<IpAddr>>, FileError> {
    Ok(if_present(files::read_text(path))?.map(|text| nameservers(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let hosts =
            "127.0.0.1 localhost # node-07\n10.0.1.7\tnode-07.example.org NODE-07\n::1 ip6-localhost\nnonsense node-07\n";
        assert_eq!(in_hosts(hosts, "node-07"), ["10.0.1.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(in_hosts(hosts, "node-08"), [] as [IpAddr; 0]);
    }

    #[test]
    fn the_switch_says_whether_the_own_name_is_always_known() {
        assert!(has_my_host_name("passwd: files\nhosts:  mymachines resolve [!UNAVAIL=return] files myhostname dns\n"));
        assert!(!has_my_host_name("hosts: files dns # myhostname\n"));
        assert!(!has_my_host_name(""));
    }

    #[test]
    fn nameservers_are_read_in_order() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 127.0.0.53\n nameserver fe80::1%eth0\nnameserver x\n";
        assert_eq!(nameservers(text), ["127.0.0.53".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    }
}
