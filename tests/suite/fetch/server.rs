//! An HTTPS server written by hand, so that its faults are real ones on the wire.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Barrier, Notify},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};
use url::Url;

/// What one answer does.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Serves what was asked for, Range included.
    Serve,
    /// Serves the whole whatever the Range.
    IgnoreRange,
    /// A status with a header line (may be empty) and a short body.
    Status(u16, &'static str),
    /// Announces what it should and cuts the connection after so many bytes.
    CutAfter(usize),
    /// Announces what it should and goes silent after so many bytes.
    StallAfter(usize),
    /// Sends so many bytes, and the rest when it is told to.
    HoldAfter(usize, Arc<Notify>),
    /// Answers once so many requests are there.
    Meet(Arc<Barrier>),
    /// 302 to there.
    Redirect(String),
    /// Announces a size and sends nothing.
    Announce(u64),
    /// Serves what was asked for with the byte at this offset of the file changed.
    Corrupt(usize),
    /// 206 that begins so many bytes later than was asked for, and says so.
    WrongRange(usize),
    /// 206 as it was asked for, by its head; its bytes are those of the file's beginning.
    LyingRange,
    /// So many bytes fewer than there are, and a length that fits them.
    Short(usize),
    /// Announces so many bytes more than come.
    Long(usize),
    /// Says that it is compressed.
    Encoded,
    /// A byte at a time, with this pause between them.
    Trickle(Duration),
    /// No HTTP at all.
    Garbage,
    /// Something else with status 200 and this content type.
    Instead(&'static str, &'static str),
}

/// One request as it was seen, and how many bytes of body it got.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) from: Option<usize>,
    pub(crate) sent: usize,
}

#[derive(Default)]
struct State {
    contents: HashMap<String, Arc<Vec<u8>>>,
    scripts: HashMap<String, VecDeque<Answer>>,
    always: HashMap<String, Answer>,
    etags: HashMap<String, &'static str>,
    seen: Vec<Seen>,
}

/// A server on the loopback device with an authority of its own. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Its authority's certificate.
    pub(crate) authority: String,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_as("127.0.0.1").await
    }

    /// Starts with a certificate for this name.
    pub(crate) async fn start_as(name: &str) -> Self {
        let (authority, config) = identity(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&state));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&shared)));
            }
        });
        Self { address, authority, state, accepting }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("https://{}{path}", self.address).parse().unwrap()
    }

    /// Puts content at a path, and says how the first requests for it are answered; later ones are served.
    pub(crate) fn put(&self, path: &str, content: &[u8], script: impl IntoIterator<Item = Answer>) -> Url {
        let mut state = self.state.lock().unwrap();
        state.contents.insert(path.to_owned(), Arc::new(content.to_vec()));
        state.scripts.insert(path.to_owned(), script.into_iter().collect());
        self.url(path)
    }

    /// Answers every request for a path like this.
    pub(crate) fn always(&self, path: &str, answer: Answer) -> Url {
        self.state.lock().unwrap().always.insert(path.to_owned(), answer);
        self.url(path)
    }

    /// What a path's version is called from now on.
    pub(crate) fn tag(&self, path: &str, etag: &'static str) {
        self.state.lock().unwrap().etags.insert(path.to_owned(), etag);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn identity(name: &str) -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "hostlet test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.pem(), config)
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let Some(head) = read_head(&mut stream).await else { return };
    let Some(body) = read_body(&mut stream, &head).await else { return };
    let path = head.split_whitespace().nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let from = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned))
        .and_then(|range| range.trim_end_matches('-').parse().ok());
    let if_range = head.lines().find_map(|line| line.strip_prefix("if-range: ").map(str::to_owned));
    let (number, content, answer, etag) = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen { path: path.clone(), head, body, from, sent: 0 });
        let scripted = state.scripts.get_mut(&path).and_then(VecDeque::pop_front);
        let answer = scripted.or_else(|| state.always.get(&path).cloned()).unwrap_or(Answer::Serve);
        let etag = state.etags.get(&path).copied();
        (state.seen.len() - 1, state.contents.get(&path).cloned(), answer, etag)
    };
    // Another version than the one that a part is there of: the whole comes.
    let from = from.filter(|_| if_range.is_none_or(|tag| Some(tag.as_str()) == etag));
    let sent = reply(&mut stream, (answer, etag), content, from).await;
    state.lock().unwrap().seen[number].sent = sent.unwrap_or_default();
}

async fn read_head(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

async fn read_body(stream: &mut TlsStream<TcpStream>, head: &str) -> Option<String> {
    let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|text| text.parse().ok());
    let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    String::from_utf8(body).ok()
}

/// Gives the number of bytes of body that were sent; none where the client went away.
async fn reply(
    stream: &mut TlsStream<TcpStream>,
    (answer, etag): (Answer, Option<&str>),
    content: Option<Arc<Vec<u8>>>,
    from: Option<usize>,
) -> std::io::Result<usize> {
    let plain = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let canned = match &answer {
        Answer::Status(code, header) => Some(plain(&format!("{code} x"), &line(header), "sorry")),
        Answer::Redirect(to) => Some(plain("302 x", &format!("Location: {to}\r\n"), "")),
        Answer::Announce(size) => Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")),
        Answer::Garbage => Some("\u{7}\u{1b}]0;nonsense\r\n\r\n".repeat(20)),
        Answer::Instead(kind, body) => Some(plain("200 OK", &format!("Content-Type: {kind}\r\n"), body)),
        _ if content.is_none() => Some(plain("404 x", "", "nothing here")),
        _ => None,
    };
    if let Some(canned) = canned {
        stream.write_all(canned.as_bytes()).await?;
        stream.shutdown().await?;
        return Ok(0);
    }
    let content = content.unwrap_or_default();
    let from = from.filter(|_| !matches!(answer, Answer::IgnoreRange));
    if from.is_some_and(|from| from >= content.len()) {
        stream.write_all(plain("416 x", "", "").as_bytes()).await?;
        stream.shutdown().await?;
        return Ok(0);
    }
    if let Answer::Meet(barrier) = &answer {
        barrier.wait().await;
    }
    let mut start = from.unwrap_or_default();
    if let (Answer::WrongRange(later), Some(_)) = (&answer, from) {
        start = (start + later).min(content.len() - 1);
    }
    let (status, mut headers) = match from {
        Some(_) => ("206 x", format!("Content-Range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len())),
        None => ("200 OK", String::new()),
    };
    headers += &etag.map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
    if matches!(answer, Answer::Encoded) {
        headers += "Content-Encoding: gzip\r\n";
    }
    let mut body = content[start..].to_vec();
    match answer {
        Answer::Corrupt(at) if (start..content.len()).contains(&at) => body[at - start] ^= 0x55,
        Answer::LyingRange if from.is_some() => body = content[..body.len()].to_vec(),
        Answer::Short(fewer) => body.truncate(body.len().saturating_sub(fewer)),
        _ => {}
    }
    let announced = if let Answer::Long(more) = answer { body.len() + more } else { body.len() };
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {announced}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (first, rest) = match answer {
        Answer::CutAfter(count) | Answer::StallAfter(count) | Answer::HoldAfter(count, _) => {
            body.split_at(count.min(body.len()))
        }
        Answer::Trickle(_) => body.split_at(0),
        _ => (body.as_slice(), [].as_slice()),
    };
    stream.write_all(first).await?;
    stream.flush().await?;
    match answer {
        Answer::CutAfter(_) => return Ok(first.len()),
        Answer::Trickle(pause) => {
            for byte in rest.chunks(1) {
                stream.write_all(byte).await?;
                stream.flush().await?;
                tokio::time::sleep(pause).await;
            }
            return Ok(rest.len());
        }
        Answer::StallAfter(_) => tokio::time::sleep(Duration::from_hours(1)).await,
        Answer::HoldAfter(_, go_on) => go_on.notified().await,
        _ => {}
    }
    stream.write_all(rest).await?;
    stream.shutdown().await?;
    Ok(body.len())
}

fn line(header: &str) -> String {
    if header.is_empty() { String::new() } else { format!("{header}\r\n") }
}
