//! An API server, or another server over TLS, of a test's own: as much as preflight asks, with certificates and answers as
//! a test wants them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hostlet::{
    config::{CertificateAuthority, Cluster, JoinCredential},
    preflight::Subject,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use crate::ns_preflight_world::subject;

/// An authority that signs for servers and kubelets.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// As kubeadm names it.
    pub(crate) fn new() -> Self {
        Self::with("kubernetes", |_| ())
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The one of this name that has this key.
    pub(crate) fn with_key(name: &str, key: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::from_pem(key).unwrap()).unwrap())
    }

    /// Certificate and key of somebody who may bootstrap kubelets.
    pub(crate) fn bootstrapper(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        self.certificate("provisioner", "system:bootstrappers", change)
    }

    /// Certificate and key of this user of this group.
    pub(crate) fn of(&self, name: &str, group: &str) -> (String, String) {
        self.certificate(name, group, |_| ())
    }

    fn certificate(&self, name: &str, group: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key of a kubelet, as the kubelet keeps them.
    pub(crate) fn client(&self, name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{name}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().pem() + &key.serialize_pem()
    }

    fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut clients = RootCertStore::empty();
        clients.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(clients.into(), Arc::clone(&provider));
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap()
    }
}

/// What it answers, by path: status and body. A path may be asked with a credential, as `PATH with token` or
/// `PATH with certificate`, for its head alone, as `HEAD PATH`, and for a review, as `POST PATH VERB RESOURCE/SUBRESOURCE`.
pub(crate) type Answers = BTreeMap<&'static str, (u16, String)>;

/// An answer that is none: by so many seconds the server's clock is ahead.
pub(crate) const CLOCK_AHEAD: &str = "clock ahead";

pub(crate) fn version(minor: u16) -> (u16, String) {
    (200, format!(r#"{{"major":"1","minor":"{minor}","gitVersion":"v1.{minor}.1"}}"#))
}

/// An API server that answers this, and has been asked so often.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

pub(crate) fn start(authority: &Authority, answers: Answers) -> Running {
    start_with(authority, &["localhost", "127.0.0.1"], |_| (), answers)
}

pub(crate) fn start_with(
    authority: &Authority,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
    answers: Answers,
) -> Running {
    let config = Arc::new(authority.server(names, change));
    serve(conversation(config, answers))
}

/// At this address.
pub(crate) fn start_at(address: SocketAddr, authority: &Authority, answers: Answers) -> Running {
    let config = Arc::new(authority.server(&[&address.ip().to_string()], |_| ()));
    serve_on(TcpListener::bind(address).unwrap(), conversation(config, answers))
}

fn conversation(config: Arc<ServerConfig>, answers: Answers) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |stream| {
        // A client that does not trust us ends the handshake.
        let _ = converse(stream, &config, &answers);
    }
}

/// A listener on a port of its own, each connection of which is handed over.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Running {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), handle)
}

fn serve_on(listener: TcpListener, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Running {
    let running = Running { address: listener.local_addr().unwrap(), connections: Arc::default() };
    let (connections, handle) = (Arc::clone(&running.connections), Arc::new(handle));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            connections.fetch_add(1, Ordering::SeqCst);
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(stream.unwrap()));
        }
    });
    running
}

/// Completes TLS, and says nothing any more.
pub(crate) fn start_mute(authority: &Authority) -> Running {
    let config = Arc::new(authority.server(&["127.0.0.1"], |_| ()));
    serve(move |mut stream| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn converse(stream: TcpStream, config: &Arc<ServerConfig>, answers: &Answers) -> std::io::Result<()> {
    let tls = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    loop {
        let (mut path, mut credential, mut body) = (String::new(), "", Vec::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                body = vec![0; length.trim().parse().unwrap()];
            }
            if let Some(rest) = line.strip_prefix("POST ") {
                path = format!("POST {}", rest.split(' ').next().unwrap_or_default());
            } else if let Some(rest) = line.strip_prefix("GET ") {
                rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
            } else if line.starts_with("HEAD ") {
                line.rsplit_once(' ').unwrap().0.clone_into(&mut path);
            } else if line.to_ascii_lowercase().starts_with("authorization: bearer abcdef.0123456789abcdef") {
                credential = " with token";
            }
        }
        stream.read_exact(&mut body)?;
        if let Ok(review) = serde_json::from_slice::<serde_json::Value>(&body) {
            let asked = &review["spec"]["resourceAttributes"];
            let text = |key: &str| asked[key].as_str().unwrap_or_default();
            path = format!("{path} {} {}/{}", text("verb"), text("resource"), text("subresource"));
        }
        if stream.get_ref().conn.peer_certificates().is_some() {
            credential = " with certificate";
        }
        let bare = path.trim_start_matches("HEAD ");
        let (status, body) = answers
            .get(format!("{path}{credential}").as_str())
            .or_else(|| answers.get(path.as_str()))
            .or_else(|| answers.get(bare))
            .cloned()
            .unwrap_or_else(|| (404, r#"{"kind":"Status","reason":"NotFound","code":404}"#.to_owned()));
        let ahead = answers.get(CLOCK_AHEAD).map_or(0, |(_, seconds)| seconds.parse().unwrap());
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let kind = if body.starts_with('<') { "text/html" } else { "application/octet-stream" };
        let head =
            format!("HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n", body.len());
        let body = if bare == path { body.as_str() } else { "" };
        stream.get_mut().write_all((head + body).as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// A worker of a cluster whose API server is there, with its authority pinned. No credential.
pub(crate) fn subject_of(server: &str, authority: &Authority) -> Subject {
    let mut subject = subject();
    subject.settings.cluster = Some(Cluster {
        server: server.parse().unwrap(),
        certificate_authority: CertificateAuthority::Inline(authority.pem()),
        credential: None,
        dns: Vec::new(),
        domain: "cluster.local".to_owned(),
        service_cidr: None,
        ready_timeout: Cluster::READY_TIMEOUT,
    });
    subject
}

/// The same, with a bootstrap token.
pub(crate) fn subject_with_token(server: &str, authority: &Authority) -> Subject {
    let path = std::path::Path::new("/mnt/host/token");
    std::fs::write(path, "abcdef.0123456789abcdef\n").unwrap();
    let mut subject = subject_of(server, authority);
    subject.settings.cluster.as_mut().unwrap().credential = Some(JoinCredential::TokenFile(path.to_owned()));
    subject
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}
