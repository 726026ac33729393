//! Whether a source would answer, without fetching anything from it.
//!
//! Promise: the client, its authorities, its redirects and its proxies are those of a download; nothing is written. Gap: one
//! attempt, so a source that answers every second time may fail here and succeed there.

use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{
    StatusCode,
    header::{ACCEPT_ENCODING, RANGE},
};
use tokio::time::timeout;
use url::Url;

use super::{
    FetchError, Problem,
    body::Body,
    client::{self, LazyClient},
    response,
    subject::redacted,
};
use crate::config;

/// Asks sources.
pub struct Prober {
    client: LazyClient,
}

/// A source that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answering {
    /// It says that what it sends is a page for people. Its digest would decide.
    pub is_html: bool,
}

/// A source that does not.
#[derive(Debug, thiserror::Error)]
#[error("{url}{}: {problem}", proxy.as_deref().map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default())]
pub struct NoAnswer {
    /// The source, without credentials.
    pub url: String,
    /// The proxy between, where the environment names one for this URL.
    pub proxy: Option<String>,
    /// Why.
    pub problem: Problem,
}

impl NoAnswer {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.problem.remedy(&self.url)
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problem.is_transient()
    }
}

impl Prober {
    /// Reads the authorities in `sources.ca_file`.
    pub fn new(sources: &config::Sources) -> Result<Self, FetchError> {
        Ok(Self { client: LazyClient::new(sources)? })
    }

    /// Asks one source, and waits no longer than the limit.
    pub async fn ask(&self, url: &Url, limit: Duration) -> Result<Answering, NoAnswer> {
        let asked = timeout(limit, self.answer(url)).await.unwrap_or(Err(Problem::Stalled(limit)));
        asked.map_err(|problem| NoAnswer { url: redacted(url), proxy: proxy(url), problem })
    }

    async fn answer(&self, url: &Url) -> Result<Answering, Problem> {
        client::accepted(url)?;
        if url.scheme() == "file" {
            return Body::open_file(url).await.map(|_| Answering { is_html: false });
        }
        let client = self.client.get().await?;
        let head = client.head(url.clone()).header(ACCEPT_ENCODING, "identity").send().await.map_err(client::problem)?;
        if head.status().is_success() {
            return Ok(Answering { is_html: response::is_html(head.headers()) });
        }
        // Some answer only what a download asks, such as those whose URLs are signed for GET.
        let first = client.get(url.clone()).header(ACCEPT_ENCODING, "identity").header(RANGE, "bytes=0-0");
        let answer = first.send().await.map_err(client::problem)?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Answering { is_html: response::is_html(answer.headers()) }),
            status => Err(response::refusal(status, answer.headers())),
        }
    }
}

/// The proxy that the client takes for a URL, without its credentials.
fn proxy(url: &Url) -> Option<String> {
    let uri = url.as_str().parse().ok()?;
    let intercepted = Matcher::from_system().intercept(&uri)?;
    let proxy: Url = intercepted.uri().to_string().parse().ok()?;
    Some(redacted(&proxy))
}
