//! Asking a health endpoint over plain HTTP: the kubelet's and flanneld's `/healthz`.
//!
//! By hand over one TCP connection: no name is resolved, no proxy from the environment is ever used, no redirect followed.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A health endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    path: &'static str,
}

impl Endpoint {
    /// An address, and a path that begins with `/`.
    #[must_use]
    pub const fn new(address: SocketAddr, path: &'static str) -> Self {
        Self { address, path }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Healthy,
    /// Anything else, as a clause: "it answered 500 Internal Server Error: ...".
    Unhealthy(String),
}

/// The longest answer that is read.
const BYTES: usize = 4096;

/// Asks once.
pub async fn ask(endpoint: &Endpoint, deadline: Duration) -> Answer {
    match timeout(deadline, exchange(endpoint)).await {
        Ok(Ok(response)) => judge(&String::from_utf8_lossy(&response)),
        Ok(Err(error)) => Answer::Unhealthy(format!("asking it failed: {error}")),
        Err(_) => Answer::Unhealthy(format!("it did not answer within {} s", deadline.as_secs_f32())),
    }
}

async fn exchange(endpoint: &Endpoint) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(endpoint.address).await?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", endpoint.path, endpoint.address);
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    let mut piece = [0; 1024];
    // Not to the end: a server may keep the connection open. Of a refusal, what comes at once tells why.
    while response.len() < BYTES {
        let count = if complete(&response) {
            timeout(Duration::from_millis(100), stream.read(&mut piece)).await.unwrap_or(Ok(0))?
        } else {
            stream.read(&mut piece).await?
        };
        response.extend_from_slice(&piece[..count]);
        if count == 0 || (complete(&response) && judge(&String::from_utf8_lossy(&response)) == Answer::Healthy) {
            break;
        }
    }
    Ok(response)
}

fn complete(response: &[u8]) -> bool {
    response.windows(4).any(|window| window == b"\r\n\r\n")
}

fn judge(response: &str) -> Answer {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    let status = head.lines().next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match code {
        Some("200") => Answer::Healthy,
        Some(_) => {
            let reason = status.split_once(' ').map_or(status, |(_, reason)| reason);
            let body = body.lines().next().unwrap_or_default();
            let separator = if body.is_empty() { "" } else { ": " };
            Answer::Unhealthy(format!("it answered {reason}{separator}{body}"))
        }
        None if response.is_empty() => Answer::Unhealthy("it closed the connection without an answer".to_owned()),
        None => Answer::Unhealthy(format!("its answer is not HTTP: {status:?}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(answer: &'static str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(listener.local_addr().unwrap(), "/healthz");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let count = stream.read(&mut request).await.unwrap();
            assert!(request[..count].starts_with(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let answer = ask(&endpoint, Duration::from_millis(200)).await;
        server.abort();
        answer
    }

    fn unhealthy(text: &str) -> Answer {
        Answer::Unhealthy(text.to_owned())
    }

    #[tokio::test]
    async fn only_200_is_healthy() {
        assert_eq!(asked("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await, Answer::Healthy);
        assert_eq!(asked("HTTP/1.0 200\r\n\r\n").await, Answer::Healthy);
        assert_eq!(
            asked("HTTP/1.1 500 Internal Server Error\r\n\r\nsyncloop is stuck\nmore").await,
            unhealthy("it answered 500 Internal Server Error: syncloop is stuck")
        );
        assert_eq!(asked("HTTP/1.1 301 Moved\r\n\r\n").await, unhealthy("it answered 301 Moved"));
        assert_eq!(asked("SSH-2.0-x\r\n").await, unhealthy("its answer is not HTTP: \"SSH-2.0-x\""));
    }

    #[tokio::test]
    async fn silence_and_refusal_are_told_apart() {
        assert_eq!(asked("").await, unhealthy("it did not answer within 0.2 s"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let Answer::Unhealthy(reason) = ask(&Endpoint::new(address, "/healthz"), Duration::from_secs(1)).await else {
            panic!("nobody listens");
        };
        assert!(reason.contains("refused"), "{reason}");
    }
}
