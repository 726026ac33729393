//! Which proxy stands before a source: the configured one, the environment's, or none.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::NoProxy;
use url::Url;

use super::{netrc::Netrc, subject::redacted};
use crate::config::{ProxyChoice, Sources};

/// What the client is told and what people are told, from the same words. No `Debug`: the URLs may hold credentials.
#[derive(Default)]
pub(super) struct Proxies {
    https: String,
    http: String,
    all: String,
    exceptions: String,
}

impl Proxies {
    /// The configuration goes before the environment. The proxy's credentials come from the environment's URL, or from netrc.
    pub(super) fn of(sources: &Sources, netrc: &Netrc) -> Self {
        Self::from(sources, netrc, |name| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).unwrap_or_default()
        })
    }

    fn from(sources: &Sources, netrc: &Netrc, environment: impl Fn(&str) -> String) -> Self {
        let exceptions = || sources.no_proxy.as_ref().map_or_else(|| environment("NO_PROXY"), |list| list.join(","));
        match &sources.proxy {
            ProxyChoice::Direct => Self::default(),
            ProxyChoice::Environment => Self {
                https: environment("HTTPS_PROXY"),
                // A CGI program takes the header Proxy: from its clients as HTTP_PROXY; this one has none.
                http: environment("HTTP_PROXY"),
                all: environment("ALL_PROXY"),
                exceptions: exceptions(),
            },
            ProxyChoice::Url(url) => {
                let mut url = url.clone();
                if let Some(login) = url.host_str().and_then(|host| netrc.login(host)) {
                    // Neither fails where there is a host.
                    let _ = url.set_username(&login.user);
                    let _ = url.set_password(Some(login.password.expose()));
                }
                Self { all: url.to_string(), exceptions: exceptions(), ..Self::default() }
            }
        }
    }

    /// For the client.
    pub(super) fn rules(&self) -> reqwest::Result<Vec<reqwest::Proxy>> {
        let made = [
            (&self.https, reqwest::Proxy::https as fn(String) -> reqwest::Result<reqwest::Proxy>),
            (&self.http, reqwest::Proxy::http),
            (&self.all, reqwest::Proxy::all),
        ];
        let named = made.into_iter().filter(|(url, _)| !url.is_empty());
        named.map(|(url, make)| Ok(make(url.clone())?.no_proxy(NoProxy::from_string(&self.exceptions)))).collect()
    }

    /// The proxy that a URL is asked through, without its credentials.
    pub(super) fn before(&self, url: &Url) -> Option<String> {
        let matcher = Matcher::builder()
            .https(self.https.clone())
            .http(self.http.clone())
            .all(self.all.clone())
            .no(self.exceptions.clone())
            .build();
        let intercepted = matcher.intercept(&url.as_str().parse().ok()?)?;
        let proxy: Url = intercepted.uri().to_string().parse().ok()?;
        Some(redacted(&proxy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(choice: ProxyChoice, no_proxy: Option<&[&str]>, netrc: &str) -> Proxies {
        let no_proxy = no_proxy.map(|list| list.iter().map(|text| (*text).to_owned()).collect());
        let sources = Sources { proxy: choice, no_proxy, ..Sources::default() };
        let environment = |name: &str| match name {
            "HTTPS_PROXY" => "http://me:secret@env:3128".to_owned(),
            "NO_PROXY" => ".example.org".to_owned(),
            _ => String::new(),
        };
        Proxies::from(&sources, &Netrc::parse(netrc).unwrap(), environment)
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let configured = ProxyChoice::Url(url("http://configured:3128"));
        let before = |proxies: &Proxies, text: &str| proxies.before(&url(text));
        let environment = proxies(ProxyChoice::Environment, None, "");
        assert_eq!(before(&environment, "https://a.test/x").as_deref(), Some("http://env:3128/"));
        assert_eq!(before(&environment, "https://a.example.org/x"), None);
        let excepted = proxies(ProxyChoice::Environment, Some(&["10.0.0.0/8"]), "");
        assert_eq!(before(&excepted, "https://a.example.org/x").as_deref(), Some("http://env:3128/"));
        assert_eq!(before(&excepted, "https://10.1.2.3/x"), None);
        assert_eq!(before(&proxies(ProxyChoice::Direct, None, ""), "https://a.test/x"), None);
        let configured = proxies(configured, None, "machine configured login me password hunter2");
        for scheme in ["https", "http"] {
            assert_eq!(before(&configured, &format!("{scheme}://a.test/x")).as_deref(), Some("http://configured:3128/"));
        }
        assert_eq!(before(&configured, "https://a.example.org/x"), None);
        assert_eq!(configured.rules().unwrap().len(), 1);
        assert!(configured.all.contains("me:hunter2@"));
    }
}
