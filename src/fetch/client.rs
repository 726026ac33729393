//! The HTTPS client: whom it trusts, who it is, which proxy it takes, and what its errors mean.

use std::{error::Error, path::Path, time::Duration};

use reqwest::{Certificate, Identity, redirect};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::sync::OnceCell;
use url::Url;

use super::{FetchError, Problem, netrc::Netrc, proxy::Proxies};
use crate::{
    config::{self, ClientIdentity, Site},
    host::{files, secret_file},
};

/// A connection to one address takes no longer, whatever a stall is.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes the client when the first https source is asked for: a node that has only `file://` sources needs no authorities.
pub(super) struct LazyClient {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    pub(super) netrc: Netrc,
    pub(super) proxies: Proxies,
    stall_timeout: Duration,
    clients: OnceCell<Clients>,
}

/// Two, so that a host that a source redirects to learns nothing of who this node is.
pub(super) struct Clients {
    /// For the sources themselves.
    pub(super) known: reqwest::Client,
    /// For whomever they redirect to.
    pub(super) foreign: reqwest::Client,
}

impl LazyClient {
    pub(super) fn new(sources: &config::Sources) -> Result<Self, FetchError> {
        let netrc = sources.netrc_file.as_deref().map(netrc).transpose()?.unwrap_or_default();
        Ok(Self {
            authorities: sources.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default(),
            identity: sources.client_identity.as_ref().map(identity).transpose()?,
            proxies: Proxies::of(sources, &netrc),
            netrc,
            stall_timeout: sources.stall_timeout,
            clients: OnceCell::new(),
        })
    }

    /// The clients; reading the system's authorities blocks, so that happens on a thread for it.
    pub(super) async fn get(&self) -> Result<&Clients, Problem> {
        let make = async || {
            let (authorities, connect) = (self.authorities.clone(), self.stall_timeout.min(CONNECT));
            let (certificate, proxies) = (self.identity.clone(), self.proxies.rules());
            let build = move || {
                let proxies = proxies?;
                let foreign = build(authorities.clone(), None, proxies.clone(), connect)?;
                let known = match certificate {
                    Some(identity) => build(authorities, Some(identity), proxies, connect)?,
                    None => foreign.clone(),
                };
                Ok(Clients { known, foreign })
            };
            let made = tokio::task::spawn_blocking(build).await.map_err(Problem::stopped)?;
            made.map_err(|error: reqwest::Error| Problem::Client(chain(&error)))
        };
        self.clients.get_or_try_init(make).await
    }
}

fn build(
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    proxies: Vec<reqwest::Proxy>,
    connect: Duration,
) -> reqwest::Result<reqwest::Client> {
    // reqwest panics without a provider. Whoever came first has installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hostlet/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(authorities)
        .connect_timeout(connect)
        .referer(false)
        // Followed in `response`, which knows what may be sent where.
        .redirect(redirect::Policy::none())
        .no_proxy();
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    proxies.into_iter().fold(builder, reqwest::ClientBuilder::proxy).build()
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

/// The error shows nothing of the key's file but what is missing in it.
fn identity(files: &ClientIdentity) -> Result<Identity, FetchError> {
    let refuse = |path: &Path, found: &str| FetchError::Identity { path: path.to_owned(), found: found.to_owned() };
    let read = |path: &Path| files::read(path).map_err(|error| refuse(path, &error.source.to_string()));
    let (mut certificate, key) = (read(&files.certificate_file)?, secret_file::read(&files.key_file));
    let key = key.map_err(|error| refuse(&files.key_file, &error.source.to_string()))?;
    let key = key.map_err(|exposed| FetchError::Exposed { key: "sources.client-key-file", exposed })?;
    if CertificateDer::from_pem_slice(&certificate).is_err() {
        return Err(refuse(&files.certificate_file, "it holds no PEM certificate"));
    }
    if PrivateKeyDer::from_pem_slice(&key).is_err() {
        return Err(refuse(&files.key_file, "it holds no PEM private key, or an encrypted one"));
    }
    if files.certificate_file != files.key_file {
        certificate.push(b'\n');
        certificate.extend_from_slice(&key);
    }
    Identity::from_pem(&certificate).map_err(|error| refuse(&files.certificate_file, &chain(&error)))
}

fn netrc(path: &Path) -> Result<Netrc, FetchError> {
    let refuse = |found: String| FetchError::Netrc { path: path.to_owned(), found };
    let text = secret_file::read_text(path).map_err(|error| refuse(error.source.to_string()))?;
    let text = text.map_err(|exposed| FetchError::Exposed { key: "sources.netrc-file", exposed })?;
    Netrc::parse(&text).map_err(refuse)
}

/// What an error of the client means. URLs are taken out of it: they may carry credentials.
pub(super) fn problem(error: reqwest::Error) -> Problem {
    let error = error.without_url();
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
pub(super) fn accepted(site: &Site) -> Result<(), Problem> {
    match site.url.scheme() {
        "https" | "file" => Ok(()),
        "http" if site.allow_http => Ok(()),
        "http" => Err(Problem::Plain),
        other => Err(Problem::Scheme(other.to_owned())),
    }
}

/// Whether credentials for one URL may be sent to the other.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}
