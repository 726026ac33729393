//! Whether a source would answer, without fetching anything from it.
//!
//! Promise: the client, its authorities, its redirects and its proxies are those of a download; nothing is written. Gap: one
//! attempt, so a source that answers every second time may fail here and succeed there.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use super::{
    FetchError, Problem,
    body::Body,
    client::{self, LazyClient},
    response::{self, Question},
    subject::redacted,
};
use crate::config::{self, Site};

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

    /// Whether it says something about the source, and not only that this file is not there.
    #[must_use]
    pub fn is_the_sources(&self) -> bool {
        self.problem.is_the_sources()
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problem.is_transient()
    }
}

impl Prober {
    /// Reads the files that `sources` names for all sources.
    pub fn new(sources: &config::Sources) -> Result<Self, FetchError> {
        Ok(Self { client: LazyClient::new(sources)? })
    }

    /// Asks one source, and waits no longer than the limit.
    pub async fn ask(&self, site: &Site, limit: Duration) -> Result<Answering, NoAnswer> {
        let asked = timeout(limit, self.answer(site, limit)).await.unwrap_or(Err(Problem::Stalled(limit)));
        let proxy = || if site.url.scheme() == "file" { None } else { self.client.proxies.before(&site.url) };
        asked.map_err(|problem| NoAnswer { url: redacted(&site.url), proxy: proxy(), problem })
    }

    async fn answer(&self, site: &Site, limit: Duration) -> Result<Answering, Problem> {
        client::accepted(site)?;
        if site.url.scheme() == "file" {
            return Body::open_file(&site.url).await.map(|_| Answering { is_html: false });
        }
        let whole = Question::whole(site, limit);
        let head = response::ask(&self.client, &Question { method: Method::HEAD, ..whole }).await?;
        if head.status().is_success() {
            return Ok(Answering { is_html: response::is_html(head.headers()) });
        }
        // Some answer only what a download asks, such as those whose URLs are signed for GET.
        let range = Some("bytes=0-0".to_owned());
        let answer = response::ask(&self.client, &Question { range, ..Question::whole(site, limit) }).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Answering { is_html: response::is_html(answer.headers()) }),
            status => Err(response::refusal(status, answer.headers())),
        }
    }
}
