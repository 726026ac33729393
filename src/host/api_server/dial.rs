//! From a host to a TCP connection: names by DNS and /etc/hosts, then every address, a moment apart.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};
use url::{Host, Url};

use super::{Progress, Stage, Unreachable, host};
use crate::host::resolver::{self, Resolved};

/// The next address is tried after this. RFC 8305 says 250 ms, for a user who waits longer than a preflight may.
const STAGGER: Duration = Duration::from_millis(150);
/// Names that take longer have name servers that do not answer.
const RESOLVE: Duration = Duration::from_secs(1);

/// Connects to the server's host and port.
pub(super) async fn dial(server: &Url, progress: &Progress) -> Result<(TcpStream, SocketAddr), Unreachable> {
    let port = server.port_or_known_default().unwrap_or(443);
    let ips = match host(server) {
        Host::Ipv4(ip) => vec![IpAddr::V4(ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(ip)],
        Host::Domain(name) => resolve(name).await?,
    };
    let addresses: Vec<_> = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    progress.is(Stage::Connecting(addresses.clone()));
    connect(&addresses).await.map_err(Unreachable::NoConnection)
}

async fn resolve(name: &str) -> Result<Vec<IpAddr>, Unreachable> {
    // The host's own name is none that nss-myhostname should answer for here: other hosts have to find it, too.
    match resolver::resolve(name, "", RESOLVE).await {
        Ok(Resolved::Hosts(addresses) | Resolved::Dns(addresses)) => Ok(addresses),
        Ok(Resolved::MyHostName) => Ok(Vec::new()),
        Err(why) => Err(Unreachable::NoAddress { name: name.to_owned(), why }),
    }
}

/// The first connection that comes about, or why none did.
async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Vec<(SocketAddr, io::Error)>> {
    let attempt = async |position: usize, address: SocketAddr| {
        sleep(STAGGER * u32::try_from(position).unwrap_or(u32::MAX)).await;
        match TcpStream::connect(address).await {
            Ok(stream) => Ok((stream, address)),
            Err(error) => Err((address, error)),
        }
    };
    let mut attempts: FuturesUnordered<_> =
        addresses.iter().enumerate().map(|(position, address)| attempt(position, *address)).collect();
    let mut failed = Vec::new();
    while let Some(outcome) = attempts.next().await {
        match outcome {
            Ok(connected) => return Ok(connected),
            Err(failure) => failed.push(failure),
        }
    }
    Err(failed)
}
