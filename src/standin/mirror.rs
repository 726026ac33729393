//! A mirror of the projects' servers: files over HTTPS, with an authority of its own, and with faults on demand. The API server
//! ([`super::api_server`]) listens at the same address; its `version` is a file of the mirror's.

use std::{
    collections::BTreeMap,
    io::SeekFrom,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{
    api_server::{AnyClient, Cluster, Request, clock},
    flags::Flags,
    notify::notify,
    say,
};
use crate::host::files;

/// In the mirror's directory: a JSON object of paths (`/kubelet/...`) and the fault that each is served with. Read for each
/// request.
pub const FAULTS: &str = "faults.json";

/// How long its certificate is valid, from a little before it was made: as kubeadm makes an API server's.
const YEAR: Duration = Duration::from_hours(365 * 24);
const BACKDATE: Duration = Duration::from_mins(5);

/// The mirror could not start.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Wrong flags.
    #[error("mirror: {0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The authority or the certificate could not be made.
    #[error("making a certificate for the mirror: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The API server could not be set up with them.
    #[error("setting up the API server: {0}")]
    ApiServer(String),
    /// TLS does not take them.
    #[error("setting up TLS for the mirror: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// What goes wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 503.
    Unavailable,
    /// 200, and a web page instead of the file.
    Html,
    /// The length of the whole file is announced, half of it comes, and the connection ends.
    Truncate,
    /// The last byte is another one.
    WrongBytes,
    /// A redirect to this URL.
    Redirect(String),
    /// Half of it comes, and then nothing any more.
    Stall,
    /// So many percent of it come, and then nothing any more.
    StallAt(u64),
}

/// `mirror --directory DIRECTORY --listen ADDRESS --ca-out FILE`. The authority's key is kept beside its certificate, so that who
/// joined before a restart is known after it.
pub(super) async fn run(arguments: &[String]) -> Result<(), MirrorError> {
    let flags = Flags::parse(arguments, "directory listen ca-out", "").map_err(MirrorError::Usage)?;
    let needed = |name: &str| flags.get(name).ok_or_else(|| MirrorError::Usage(format!("--{name} is missing")));
    let directory: Arc<Path> = Arc::from(Path::new(needed("directory")?));
    let address = needed("listen")?.to_owned();
    let failed = |source| MirrorError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let certificate_file = Path::new(needed("ca-out")?);
    let key_file = certificate_file.with_extension("key");
    let kept = files::if_present(files::read_text(&key_file))?;
    let now = clock(&directory);
    let (config, authority) = identity(host, kept.as_deref(), now)?;
    let (pem, key) = (authority.pem(), authority.key().serialize_pem());
    let cluster = Arc::new(Cluster::new(&directory, authority).map_err(MirrorError::ApiServer)?);
    // Whoever waits for this file finds the mirror listening.
    if kept.is_none() {
        files::write(certificate_file, pem.as_bytes(), 0o644)?;
        files::write(&key_file, key.as_bytes(), 0o600)?;
    }
    notify("READY=1");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let (acceptor, directory, cluster) = (acceptor.clone(), Arc::clone(&directory), Arc::clone(&cluster));
        tokio::spawn(async move {
            let served = async {
                let stream = acceptor.accept(stream).await?;
                let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificate = certificates.first().map(|certificate| certificate.to_vec());
                serve(stream, certificate, &directory, &cluster).await
            };
            if let Err(error) = served.await {
                say(&format!("mirror: {error}"));
            }
        });
    }
}

/// A certificate for a host, as of this time, and the authority that signed it: with the key that was kept, or a new one.
fn identity(
    host: &str,
    kept: Option<&str>,
    now: Timestamp,
) -> Result<(ServerConfig, CertifiedIssuer<'static, KeyPair>), MirrorError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "hostlet rehearsal");
    let authority_key = kept.map_or_else(KeyPair::generate, KeyPair::from_pem)?;
    let authority = CertifiedIssuer::self_signed(params, authority_key)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned(), "localhost".to_owned()])?;
    let now = SystemTime::from(now);
    (params.not_before, params.not_after) = ((now - BACKDATE).into(), (now + YEAR).into());
    let certificate = params.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyClient::of(&authority).map_err(MirrorError::ApiServer)?))
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((config, authority))
}

/// One request on one connection, which is then closed.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    certificate: Option<Vec<u8>>,
    directory: &Path,
    cluster: &Cluster,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut start, mut length) = (Request { certificate, ..Request::default() }, 0, 0);
    for number in 0.. {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        if number == 0 {
            let mut words = line.split_whitespace();
            words.next().unwrap_or("GET").clone_into(&mut request.method);
            words.next().unwrap_or("/").clone_into(&mut request.target);
        } else if let Some((name, value)) = line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        {
            match name.as_str() {
                "range" => {
                    start =
                        value.strip_prefix("bytes=").and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
                }
                "content-length" => length = value.parse().unwrap_or(0),
                "content-type" => value.clone_into(&mut request.content_type),
                "authorization" => value.clone_into(&mut request.authorization),
                "accept" => value.clone_into(&mut request.accept),
                _ => {}
            }
        }
    }
    if Cluster::has(&request.target) && fault(directory, &request.target).is_none() {
        // Objects of a node are small.
        request.body.resize(length.min(1 << 20), 0);
        stream.read_exact(&mut request.body).await?;
        let answer = cluster.answer(&request);
        say(&format!("api server: {} {}: {}", request.method, request.target, answer.status));
        respond(&mut stream, directory, answer.status, "Content-Type: application/json\r\n", &answer.body).await?;
        return stream.shutdown().await;
    }
    let (target, head) = (request.target, request.method == "HEAD");
    say(&format!("mirror: {} {target} from byte {start}", if head { "HEAD" } else { "GET" }));
    answer(&mut stream, directory, &target, head, start).await?;
    stream.shutdown().await
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    directory: &Path,
    target: &str,
    head: bool,
    start: u64,
) -> std::io::Result<()> {
    let fault = fault(directory, target);
    match &fault {
        Some(Fault::Unauthorized) => return respond(stream, directory, "401 Unauthorized", "", b"who is there?\n").await,
        Some(Fault::Forbidden) => return respond(stream, directory, "403 Forbidden", "", b"not you\n").await,
        Some(Fault::NotFound) => return respond(stream, directory, "404 Not Found", "", b"no such file\n").await,
        Some(Fault::Unavailable) => {
            return respond(stream, directory, "503 Service Unavailable", "", b"try again later\n").await;
        }
        Some(Fault::Html) => {
            let page = b"<!DOCTYPE html><html><body>Please log in</body></html>\n";
            return respond(stream, directory, "200 OK", "Content-Type: text/html\r\n", page).await;
        }
        Some(Fault::Redirect(to)) => return respond(stream, directory, "302 Found", &format!("Location: {to}\r\n"), b"").await,
        _ => {}
    }
    let file = match below(directory, target) {
        Some(path) => files::open(&path).ok().map(tokio::fs::File::from_std),
        None => None,
    };
    let Some(mut file) = file else {
        return respond(stream, directory, "404 Not Found", "", b"no such file\n").await;
    };
    let length = file.metadata().await?.len();
    let start = start.min(length);
    file.seek(SeekFrom::Start(start)).await?;
    let rest = length - start;
    let (status, range) = if start == 0 {
        ("200 OK", String::new())
    } else {
        ("206 Partial Content", format!("Content-Range: bytes {start}-{}/{length}\r\n", length.saturating_sub(1)))
    };
    let header = format!(
        "HTTP/1.1 {status}\r\n{}Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n{range}\
         Content-Length: {rest}\r\nConnection: close\r\n\r\n",
        date(directory)
    );
    stream.write_all(header.as_bytes()).await?;
    if !head {
        body(stream, file, rest, fault.as_ref()).await?;
    }
    Ok(())
}

async fn body(
    stream: &mut (impl AsyncWrite + Unpin),
    mut file: tokio::fs::File,
    length: u64,
    fault: Option<&Fault>,
) -> std::io::Result<()> {
    match fault {
        Some(Fault::Truncate | Fault::Stall | Fault::StallAt(_)) => {
            let percent = if let Some(Fault::StallAt(percent)) = fault { *percent } else { 50 };
            tokio::io::copy(&mut (&mut file).take(length / 100 * percent), stream).await?;
            stream.flush().await?;
            if fault != Some(&Fault::Truncate) {
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            Err(std::io::Error::other("ended half-way, on demand"))
        }
        Some(Fault::WrongBytes) => {
            tokio::io::copy(&mut (&mut file).take(length.saturating_sub(1)), stream).await?;
            let last = file.read_u8().await?;
            stream.write_all(&[!last]).await
        }
        _ => tokio::io::copy(&mut file, stream).await.map(drop),
    }
}

async fn respond(
    stream: &mut (impl AsyncWrite + Unpin),
    directory: &Path,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let (date, length) = (date(directory), body.len());
    let header = format!("HTTP/1.1 {status}\r\n{date}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(header.as_bytes()).await?;
    stream.write_all(body).await
}

/// The header with the cluster's clock.
fn date(directory: &Path) -> String {
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&clock(directory));
    text.map(|text| format!("Date: {text}\r\n")).unwrap_or_default()
}

fn fault(directory: &Path, target: &str) -> Option<Fault> {
    let text = files::read_text(&directory.join(FAULTS)).ok()?;
    let mut faults: BTreeMap<String, Fault> = match serde_json::from_str(&text) {
        Ok(faults) => faults,
        Err(error) => {
            say(&format!("mirror: {FAULTS}: {error}"));
            return None;
        }
    };
    faults.remove(target)
}

/// The file that a path names, as long as it stays below the directory.
fn below(directory: &Path, target: &str) -> Option<PathBuf> {
    let relative = Path::new(target.trim_start_matches('/'));
    relative.components().all(|part| matches!(part, Component::Normal(_))).then(|| directory.join(relative))
}
