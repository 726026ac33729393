//! The HTTPS client: whom it trusts, where it lets itself be redirected, and what its errors mean.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Certificate, redirect};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::OnceCell;
use url::Url;

use super::{FetchError, Problem, subject::redacted};
use crate::{config, host::files};

/// As many redirects are followed.
const REDIRECTS: usize = 10;
/// A connection to one address takes no longer, whatever a stall is.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes the client when the first https source is asked for: a node that has only `file://` sources needs no authorities.
pub(super) struct LazyClient {
    authorities: Vec<Certificate>,
    stall_timeout: Duration,
    client: OnceCell<reqwest::Client>,
}

impl LazyClient {
    pub(super) fn new(sources: &config::Sources) -> Result<Self, FetchError> {
        let authorities = sources.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default();
        Ok(Self { authorities, stall_timeout: sources.stall_timeout, client: OnceCell::new() })
    }

    /// The client; reading the system's authorities blocks, so that happens on a thread for it.
    pub(super) async fn get(&self) -> Result<&reqwest::Client, Problem> {
        let make = async || {
            let (authorities, connect) = (self.authorities.clone(), self.stall_timeout.min(CONNECT));
            let built = tokio::task::spawn_blocking(move || build(authorities, connect)).await.map_err(Problem::stopped)?;
            built.map_err(|error| Problem::Client(chain(&error)))
        };
        self.client.get_or_try_init(make).await
    }
}

fn build(authorities: Vec<Certificate>, connect: Duration) -> reqwest::Result<reqwest::Client> {
    // reqwest panics without a provider. Whoever came first has installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("hostlet/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(authorities)
        .connect_timeout(connect)
        // A Referer would carry the query of the URL before, and with it a token, to the next host.
        .referer(false)
        .redirect(redirect::Policy::custom(follow))
        .build()
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.url().scheme() != "https" {
        let target = redacted(attempt.url());
        attempt.error(Refused::Plain(target))
    } else if attempt.previous().len() > REDIRECTS {
        attempt.error(Refused::Loop)
    } else {
        attempt.follow()
    }
}

#[derive(Debug, Clone, thiserror::Error)]
enum Refused {
    #[error("redirect to {0}")]
    Plain(String),
    #[error("too many redirects")]
    Loop,
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let refuse = |found: String| FetchError::Authorities { path: path.to_owned(), found };
    let pem = files::read(path).map_err(|error| refuse(error.source.to_string()))?;
    let mut store = rustls::RootCertStore::empty();
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|error| refuse(format!("it is not PEM: {error}")))?;
        let number = certificates.len() + 1;
        store.add(der.clone()).map_err(|error| refuse(format!("certificate {number} cannot be used: {error}")))?;
        certificates.push(Certificate::from_der(&der).map_err(|error| refuse(chain(&error)))?);
    }
    if certificates.is_empty() {
        return Err(refuse("it holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

/// What an error of the client means. URLs are taken out of it: they may carry credentials.
pub(super) fn problem(error: reqwest::Error) -> Problem {
    let error = error.without_url();
    match find::<Refused>(&error) {
        Some(Refused::Plain(target)) => return Problem::RedirectToPlain(target.clone()),
        Some(Refused::Loop) => return Problem::RedirectLoop(REDIRECTS),
        None => {}
    }
    if error.is_connect() {
        if let Some(tls) = find::<rustls::Error>(&error) {
            return Problem::Trust(tls.to_string());
        }
        return Problem::Connect(chain(&error));
    }
    Problem::Broken(chain(&error))
}

/// The first error of this type in the chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| cause(*error)).find_map(|error| error.downcast_ref())
}

/// What an error carries. An `io::Error`'s `source` would skip that and give what comes after it.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|carried| carried as _),
        None => error.source(),
    }
}

/// An error's causes, each once; the error itself, which says little more than that there was a request, where it has none.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    for error in std::iter::successors(cause(error), |error| cause(*error)).map(ToString::to_string) {
        if text.is_empty() {
            text = error;
        } else if !text.contains(&error) {
            text = format!("{text}: {error}");
        }
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// Whether a source is taken at all.
pub(super) fn accepted(url: &Url) -> Result<(), Problem> {
    if matches!(url.scheme(), "https" | "file") { Ok(()) } else { Err(Problem::Scheme(url.scheme().to_owned())) }
}
