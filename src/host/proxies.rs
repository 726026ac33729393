//! What the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say about a destination.
//!
//! As reqwest and Go's net/http read them: names, suffixes, addresses and networks in NO_PROXY; nothing on the loopback goes
//! through a proxy. Gap: of a variable in both spellings Go takes the one in capitals, as here, and curl the other.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

use crate::model::Cidr;

/// The proxies of an environment.
#[derive(Debug)]
pub struct Proxies {
    matcher: Matcher,
    /// NO_PROXY as it is.
    pub exceptions: String,
}

impl Proxies {
    /// Those that these variables, as `NAME=value`, name; none where no proxy is set. The last of a name counts.
    #[must_use]
    pub fn of(variables: &[String]) -> Option<Self> {
        let value = |names: [&str; 2]| {
            let find = |name: &str| {
                let pairs = variables.iter().rev().filter_map(|variable| variable.split_once('='));
                pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value).filter(|value| !value.is_empty())
            };
            names.into_iter().find_map(find).unwrap_or_default()
        };
        let (http, https) = (value(["HTTP_PROXY", "http_proxy"]), value(["HTTPS_PROXY", "https_proxy"]));
        if http.is_empty() && https.is_empty() {
            return None;
        }
        let exceptions = value(["NO_PROXY", "no_proxy"]);
        let matcher = Matcher::builder().http(http.to_owned()).https(https.to_owned()).no(exceptions.to_owned()).build();
        Some(Self { matcher, exceptions: exceptions.to_owned() })
    }

    /// Those of this process.
    #[must_use]
    pub fn own() -> Option<Self> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            Some(format!("{name}={value}"))
        });
        Self::of(&variables.collect::<Vec<_>>())
    }

    /// The proxy between us and a server, as host and port.
    #[must_use]
    pub fn before(&self, server: &Url) -> Option<String> {
        let local = match server.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        if local { None } else { self.intercepting(server.as_str()) }
    }

    /// The proxy between us and some address of a network. Its ends stand for all: an exception is one network or one address.
    #[must_use]
    pub fn before_network(&self, network: Cidr) -> Option<String> {
        let shown = |ip: IpAddr| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        [network.base(), network.last()]
            .into_iter()
            .flat_map(|ip| ["https", "http"].map(|scheme| format!("{scheme}://{}/", shown(ip))))
            .find_map(|url| self.intercepting(&url))
    }

    fn intercepting(&self, url: &str) -> Option<String> {
        let uri = self.matcher.intercept(&url.parse().ok()?)?.uri().clone();
        // Without the credentials that may stand before the host.
        let host = uri.host()?;
        Some(uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[&str]) -> Option<Proxies> {
        Proxies::of(&variables.iter().map(|variable| (*variable).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_proxy_there_is_nothing_to_except() {
        assert!(proxies(&["PATH=/bin", "NO_PROXY=10.0.0.0/8", "HTTPS_PROXY="]).is_none());
    }

    #[test]
    fn exceptions_are_names_suffixes_addresses_and_networks() {
        let found =
            proxies(&["HTTPS_PROXY=http://user:secret@proxy:3128", "no_proxy=10.96.0.0/12,.example.org,192.0.2.1"]).unwrap();
        let before = |url: &str| found.before(&url.parse().unwrap());
        assert_eq!(before("https://10.77.0.1:6443").as_deref(), Some("proxy:3128"));
        for direct in ["https://10.96.0.1", "https://api.example.org:6443", "https://192.0.2.1:6443", "https://127.0.0.1:6443"]
        {
            assert_eq!(before(direct), None, "{direct}");
        }
        let network = |text: &str| found.before_network(text.parse().unwrap());
        assert_eq!(network("10.96.0.0/12"), None);
        assert_eq!(network("10.96.0.0/11").as_deref(), Some("proxy:3128"), "its end is not excepted");
        assert_eq!(network("fd00::/64").as_deref(), Some("proxy:3128"));
    }

    #[test]
    fn a_proxy_for_plain_http_alone_is_one_for_networks_too() {
        let found = proxies(&["http_proxy=http://proxy:3128"]).unwrap();
        assert_eq!(found.before(&"https://10.0.0.1:6443".parse().unwrap()), None);
        assert!(found.before_network("10.244.0.0/16".parse().unwrap()).is_some());
    }
}
