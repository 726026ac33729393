//! The API server's version, asked for over TLS with nothing but the cluster's own authority trusted.
//!
//! Promise: an answer or a reason within the limit; no credential is sent, no proxy used, no redirect followed. Gap: a
//! cluster that tells its version to nobody anonymous cannot be asked.

use std::time::Duration;

use reqwest::{Certificate, StatusCode, redirect};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::model::Version;

/// An answer is a few hundred bytes.
const BYTES: usize = 64 * 1024;

/// The API server's version is not known.
#[derive(Debug, thiserror::Error)]
pub enum NoVersion {
    /// The authority cannot be used, or there is no TLS here.
    #[error("the cluster's authority cannot be used: {0}")]
    Authority(reqwest::Error),
    /// It could not be reached, or was not who it should be.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("it did not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It tells its version to nobody anonymous.
    #[error("it answered {0}: it tells its version only to those it knows")]
    Forbidden(StatusCode),
    /// It answered something else.
    #[error("it answered {0}")]
    Refused(StatusCode),
    /// The answer tells no version.
    #[error("its answer tells no version")]
    Unclear,
}

/// Asks `<server>/version`. By default anybody may (RBAC's system:public-info-viewer).
pub async fn version(server: &Url, authority: &[u8], limit: Duration) -> Result<Version, NoVersion> {
    match timeout(limit, ask(server, authority)).await {
        Ok(answer) => answer,
        Err(_) => Err(NoVersion::Silent(limit)),
    }
}

async fn ask(server: &Url, authority: &[u8]) -> Result<Version, NoVersion> {
    // reqwest panics without a provider. Whoever came first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .user_agent(concat!("hostlet/", env!("CARGO_PKG_VERSION")))
        .tls_certs_only(Certificate::from_pem_bundle(authority).map_err(NoVersion::Authority)?)
        .https_only(true)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .map_err(NoVersion::Authority)?;
    let mut url = server.clone();
    url.set_path("/version");
    let mut response = client.get(url).send().await.map_err(|error| unreachable(&error))?;
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(NoVersion::Forbidden(status)),
        status => return Err(NoVersion::Refused(status)),
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > BYTES {
            return Err(NoVersion::Unclear);
        }
    }
    parse(&body).ok_or(NoVersion::Unclear)
}

/// The innermost cause says what happened; those around it only that there was a request.
fn unreachable(error: &reqwest::Error) -> NoVersion {
    let first: &dyn std::error::Error = error;
    let innermost = std::iter::successors(Some(first), |error| error.source()).last().unwrap_or(first);
    NoVersion::Unreachable(innermost.to_string())
}

/// apimachinery's version.Info, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    major: String,
    minor: String,
    git_version: String,
}

/// `gitVersion` is `v1.36.4`, with a distribution's `+k3s1` or `-gke.100`; `minor` may be `36+`.
fn parse(body: &[u8]) -> Option<Version> {
    let info: Info = serde_json::from_slice(body).ok()?;
    let bare = info.git_version.split('+').next().unwrap_or_default();
    if let Ok(version) = bare.parse() {
        return Some(version);
    }
    let number = |text: &str| text.trim_end_matches('+').parse::<u16>().ok();
    Some(Version::new(number(&info.major)?, number(&info.minor)?, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distributions_write_their_versions_in_their_own_ways() {
        for (body, expected) in [
            (r#"{"major":"1","minor":"36","gitVersion":"v1.36.4","goVersion":"go1.26"}"#, "1.36.4"),
            (r#"{"major":"1","minor":"36","gitVersion":"v1.36.4+k3s1"}"#, "1.36.4"),
            (r#"{"major":"1","minor":"36+","gitVersion":"v1.36.4-gke.100"}"#, "1.36.4-gke.100"),
            (r#"{"major":"1","minor":"36+","gitVersion":"of our own"}"#, "1.36.0"),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap().to_string(), expected, "{body}");
        }
        assert_eq!(parse(b"<html>"), None);
        assert_eq!(parse(b"{}"), None);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_costs_no_more_than_the_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let begun = std::time::Instant::now();
        let answer = version(&server, authority.cert.pem().as_bytes(), Duration::from_millis(200)).await;
        assert!(matches!(answer, Err(NoVersion::Silent(_))), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(listener);
        let answer = version(&server, authority.cert.pem().as_bytes(), Duration::from_secs(5)).await.unwrap_err();
        assert!(answer.to_string().contains("refused"), "{answer}");
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(body in ".{0,200}") {
            let _ = parse(body.as_bytes());
        }
    }
}
