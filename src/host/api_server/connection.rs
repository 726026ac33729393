//! One connection to an API server, and the requests over it.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use super::{Progress, Stage, Unreachable, dial, trust};

/// A version is a few hundred bytes; a Node with the names of fifty images some ten thousand.
const BYTES: usize = 4 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// What is done.
    pub method: Method,
    /// The path, with its query.
    pub path: &'a str,
    /// Content type and content.
    pub body: Option<(&'static str, &'a [u8])>,
}

/// What came back.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A connection that may be used again.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    pub(super) address: SocketAddr,
}

impl Connection {
    /// Connects, and completes TLS as the configuration says.
    pub(super) async fn open(server: &Url, config: ClientConfig, progress: &Progress) -> Result<Self, Unreachable> {
        let (stream, address) = dial::dial(server, progress).await?;
        progress.is(Stage::Handshaking(address));
        let connected = TlsConnector::from(Arc::new(config)).connect(trust::name(server)?, stream).await;
        let stream = connected.map_err(|error| trust::meaning(&error, server, address))?;
        progress.is(Stage::Asking(address));
        let broken = |error: hyper::Error| Unreachable::Broken { address, why: error.to_string() };
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the last request.
        tokio::spawn(connection);
        Ok(Self { requests, address })
    }

    /// Whether the server still takes requests over it.
    pub(super) async fn is_open(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Asks for a path, as whom the token is for.
    pub(super) async fn get(&mut self, server: &Url, path: &str, token: Option<&str>) -> Result<Response, Unreachable> {
        self.send(server, &Call { method: Method::GET, path, body: None }, token).await
    }

    /// Sends a request, as whom the token is for.
    pub(super) async fn send(&mut self, server: &Url, call: &Call<'_>, token: Option<&str>) -> Result<Response, Unreachable> {
        let address = self.address;
        let broken = |why: String| Unreachable::Broken { address, why };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.path)
            .header(header::HOST, authority(server))
            .header(header::USER_AGENT, concat!("hostlet/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((content_type, _)) = call.body {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = call.body.map(|(_, body)| Bytes::copy_from_slice(body)).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| broken(error.to_string()))?;
        let response = self.requests.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BYTES).collect().await.map_err(|error| broken(error.to_string()))?;
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// Host and port, as they stand in the URL.
fn authority(server: &Url) -> &str {
    &server[Position::BeforeHost..Position::AfterPort]
}
