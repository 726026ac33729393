//! The API server, asked for its version, for the Node of a name and for whatever else [`call`] asks, over TLS with nothing
//! but the cluster's own authority trusted.
//!
//! Promise: an answer, or the one cause that keeps it from coming, within the limit; a credential is sent only to a server
//! that the authority vouches for; no redirect is followed. No proxy is used, whatever the environment says: the kubelet's
//! unit has none either. Names are resolved as DNS and /etc/hosts say, never through NSS. Gap: of several addresses those
//! that are silent are told only where none answers.

mod answer;
mod clock;
mod cluster_info;
mod connection;
mod dial;
mod discovery;
mod exchange;
mod signing_request;
mod trust;

use std::{io, net::SocketAddr, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use tokio::time::timeout;
use url::{Host, Url};

pub use answer::{Condition, ListedNode, Node, SystemInfo, node};
pub use clock::Clocks;
pub use connection::Call;
pub use discovery::{NotDiscovered, discover, pinned};
pub(crate) use signing_request::subject;
pub use signing_request::{KUBELET_CLIENT, Listed, SigningRequest, State, signing_requests};
pub use trust::{ClientCertificate, UnusableCertificate};

use super::resolver::Unresolved;
use crate::model::{Secret, Version};

/// Whom to ask, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// An https URL with a host.
    pub server: &'a Url,
    /// The authorities that may vouch for it, as PEM.
    pub authority: &'a [u8],
    /// With which credential; without one no Node is asked for.
    pub credential: Option<&'a Credential>,
}

/// Whom to ask for what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whom.
    pub door: Door<'a>,
    /// The Node to ask for.
    pub node: &'a str,
}

/// Who asks.
#[derive(Debug)]
pub enum Credential {
    /// A token: a bootstrap token, or a ServiceAccount's.
    Token(Secret<String>),
    /// A client certificate.
    Certificate(ClientCertificate),
}

/// What the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Where it was reached.
    pub address: SocketAddr,
    /// Its version.
    pub version: VersionAnswer,
    /// The Node.
    pub node: NodeAnswer,
    /// What time it was, here and there; `None` where it did not tell.
    pub clocks: Option<Clocks>,
}

/// What it said of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionAnswer {
    /// This.
    Known(Version),
    /// It tells its version only to those it knows.
    Withheld(StatusCode),
}

/// What it said of the Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAnswer {
    /// There was no credential to ask with.
    NotAsked,
    /// There is none of that name.
    Absent,
    /// There is one.
    Present(Box<Node>),
    /// 401: it does not know who asks.
    Unauthorized,
    /// 403: who asks may not read Nodes.
    Forbidden,
    /// Neither.
    Unclear(String),
}

/// What it said of all Nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodesAnswer {
    /// These there are.
    Listed(Vec<ListedNode>),
    /// 401: it does not know who asks.
    Unauthorized,
    /// 403: who asks may not list Nodes.
    Forbidden,
    /// Neither.
    Unclear(String),
}

/// What came back for one request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// What time it was, here and there; `None` where it did not tell.
    pub clocks: Option<Clocks>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Why it cannot be asked: one cause.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The pinned authority cannot be used.
    #[error("the cluster's authority cannot be used: {0}")]
    Authority(String),
    /// It has no address.
    #[error("{name} does not resolve: {why}")]
    NoAddress {
        /// The name.
        name: String,
        /// Why not.
        why: Unresolved,
    },
    /// No certificate can be for this name.
    #[error("{name}: {why}")]
    NotAName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel, or a host on the way, refused each connection.
    #[error("{}", .0.iter().map(refusal).collect::<Vec<_>>().join("; "))]
    NoConnection(Vec<(SocketAddr, io::Error)>),
    /// Nobody answers a connection.
    #[error("no answer from {} within {} ms: dropped on the way, or no such host", list(addresses), limit.as_millis())]
    ConnectionSilent {
        /// The addresses.
        addresses: Vec<SocketAddr>,
        /// How long.
        limit: Duration,
    },
    /// It takes the connection, and says nothing.
    #[error("{address} takes connections and does not answer the TLS handshake within {} ms", limit.as_millis())]
    HandshakeSilent {
        /// Where.
        address: SocketAddr,
        /// How long.
        limit: Duration,
    },
    /// It does not speak TLS.
    #[error("what listens on {0} does not speak TLS")]
    NotTls(SocketAddr),
    /// The handshake failed for a reason that is not the certificate's.
    #[error("the TLS handshake with {address} failed: {why}")]
    Handshake {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// Its certificate is another authority's.
    #[error("{address} has a certificate that the configured authority did not sign ({why})")]
    ForeignAuthority {
        /// Where.
        address: SocketAddr,
        /// What was wrong with it.
        why: String,
    },
    /// The certificate is for other names.
    #[error("{address} has a certificate for {}, not for {name}", list(presented))]
    WrongName {
        /// Where.
        address: SocketAddr,
        /// The host of the URL.
        name: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// A certificate is outside of its time.
    #[error("{}", clock::explain(.0))]
    OutOfTime(OutOfTime),
    /// TLS works, and no answer to a request comes.
    #[error("{address} completes TLS and does not answer a request within {} ms", limit.as_millis())]
    AnswerSilent {
        /// Where.
        address: SocketAddr,
        /// How long.
        limit: Duration,
    },
    /// The connection ended, or what came is no HTTP.
    #[error("{address} completes TLS and breaks off: {why}")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// How.
        why: String,
    },
    /// Somebody else than an API server answers.
    #[error("{address} answers, but not as an API server: {what}")]
    NotApiServer {
        /// Where.
        address: SocketAddr,
        /// What it answered.
        what: String,
    },
}

/// A certificate outside of its time, with both clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfTime {
    /// `the API server's certificate`
    pub whose: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Its limit that is crossed.
    pub bound: Bound,
    /// This host's clock.
    pub ours: Timestamp,
    /// The API server's clock, where it told.
    pub theirs: Option<Timestamp>,
}

/// One end of a certificate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is over since.
    NotAfter(Timestamp),
    /// It begins then.
    NotBefore(Timestamp),
}

impl Unreachable {
    /// Whether it may be otherwise in a moment, because the network or the server is coming up.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // A clock is set a moment after boot.
            Self::OutOfTime(found) => found.clocks_differ() == Some(true),
            Self::NoAddress { .. }
            | Self::NoConnection(_)
            | Self::ConnectionSilent { .. }
            | Self::HandshakeSilent { .. }
            | Self::Handshake { .. }
            | Self::AnswerSilent { .. }
            | Self::Broken { .. }
            | Self::NotApiServer { .. } => true,
            Self::Authority(_)
            | Self::NotAName { .. }
            | Self::NotTls(_)
            | Self::ForeignAuthority { .. }
            | Self::WrongName { .. } => false,
        }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() { "nobody".to_owned() } else { items.iter().map(T::to_string).collect::<Vec<_>>().join(", ") }
}

fn refusal((address, error): &(SocketAddr, io::Error)) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refuses the connection: nothing listens there"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("there is no route to {address}: {error}")
        }
        _ => format!("connecting to {address} failed: {error}"),
    }
}

/// How far a look has come: what is told when its time is up.
#[derive(Debug, Clone)]
enum Stage {
    Resolving,
    Connecting(Vec<SocketAddr>),
    Handshaking(SocketAddr),
    Asking(SocketAddr),
}

/// The stage that one look is in.
struct Progress(Mutex<Stage>);

impl Progress {
    const fn new() -> Self {
        Self(Mutex::new(Stage::Resolving))
    }

    fn is(&self, stage: Stage) {
        if let Ok(mut current) = self.0.lock() {
            *current = stage;
        }
    }

    fn out_of_time(&self, server: &Url, limit: Duration) -> Unreachable {
        let stage = self.0.lock().map_or(Stage::Resolving, |stage| stage.clone());
        match stage {
            Stage::Resolving => Unreachable::NoAddress {
                name: server.host_str().unwrap_or_default().to_owned(),
                why: Unresolved::Failed(format!("no answer within {} ms", limit.as_millis())),
            },
            Stage::Connecting(addresses) => Unreachable::ConnectionSilent { addresses, limit },
            Stage::Handshaking(address) => Unreachable::HandshakeSilent { address, limit },
            Stage::Asking(address) => Unreachable::AnswerSilent { address, limit },
        }
    }
}

/// Asks for the version, as anybody may by default (RBAC's system:public-info-viewer), and with the credential for the
/// Node.
pub async fn ask(question: &Question<'_>, limit: Duration) -> Result<Answers, Unreachable> {
    let progress = Progress::new();
    match timeout(limit, exchange::run(question, &progress)).await {
        Ok(answers) => answers,
        Err(_) => Err(progress.out_of_time(question.door.server, limit)),
    }
}

/// Asks for all Nodes.
pub async fn nodes(door: Door<'_>, limit: Duration) -> Result<NodesAnswer, Unreachable> {
    let progress = Progress::new();
    match timeout(limit, exchange::list(door, &progress)).await {
        Ok(answer) => answer,
        Err(_) => Err(progress.out_of_time(door.server, limit)),
    }
}

/// Sends one request, and gives what came back, whatever its status.
pub async fn call(door: Door<'_>, call: &Call<'_>, limit: Duration) -> Result<Reply, Unreachable> {
    let progress = Progress::new();
    match timeout(limit, exchange::call(door, call, &progress)).await {
        Ok(reply) => reply,
        Err(_) => Err(progress.out_of_time(door.server, limit)),
    }
}

/// The host of an https URL, which always has one.
fn host(server: &Url) -> Host<&str> {
    server.host().unwrap_or(Host::Domain(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_never_answers_costs_no_more_than_the_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server: Url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
        let question =
            Question { door: Door { server: &server, authority: authority.as_bytes(), credential: None }, node: "node-07" };
        let begun = std::time::Instant::now();
        let answer = ask(&question, Duration::from_millis(200)).await;
        assert!(matches!(answer, Err(Unreachable::HandshakeSilent { .. })), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(listener);
        let answer = ask(&question, Duration::from_secs(5)).await.unwrap_err();
        assert!(answer.to_string().contains("refuses the connection"), "{answer}");
    }
}
