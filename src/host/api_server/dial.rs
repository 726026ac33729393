//! From a host to a TCP connection: names by DNS and /etc/hosts, then every address, a moment apart.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::{
    TokioResolver,
    config::LookupIpStrategy,
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf::read_system_conf,
};
use tokio::{net::TcpStream, time::sleep};
use url::{Host, Url};

use super::{Progress, Stage, Unreachable, host};
use crate::host::detached;

/// The next address is tried after this. RFC 8305 says 250 ms, for a user who waits longer than a preflight may.
const STAGGER: Duration = Duration::from_millis(150);
/// One question to the name servers: one that was lost is asked again within a preflight's time.
const QUERY: Duration = Duration::from_millis(500);

/// Connects to the server's host and port.
pub(super) async fn dial(server: &Url, progress: &Progress) -> Result<(TcpStream, SocketAddr), Unreachable> {
    let port = server.port_or_known_default().unwrap_or(443);
    let ips = match host(server) {
        Host::Ipv4(ip) => vec![IpAddr::V4(ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(ip)],
        Host::Domain(name) => resolve(name, progress).await?,
    };
    let addresses: Vec<_> = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    progress.is(Stage::Connecting(addresses.clone()));
    connect(&addresses).await.map_err(Unreachable::NoConnection)
}

async fn resolve(name: &str, progress: &Progress) -> Result<Vec<IpAddr>, Unreachable> {
    let unusable = |why: String| Unreachable::NoResolver { name: name.to_owned(), why };
    let handle = tokio::runtime::Handle::current();
    // Reading the files blocks.
    let built = detached::run("resolver", move || {
        let _runtime = handle.enter();
        resolver()
    });
    let built = built.await.map_err(|error| unusable(error.to_string()))?;
    let (resolver, servers) = built.map_err(|error| unusable(format!("/etc/resolv.conf: {error}")))?;
    progress.is(Stage::Resolving { name: name.to_owned(), servers: servers.clone() });
    match resolver.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        // Their silence has a time of its own here, which is told as what it is.
        Err(NetError::Timeout) => Err(Unreachable::ResolversSilent { name: name.to_owned(), servers, limit: QUERY * 2 }),
        Err(error) => {
            let why = if error.is_no_records_found() { "there is no such name".to_owned() } else { error.to_string() };
            Err(Unreachable::NoAddress { name: name.to_owned(), why, servers })
        }
    }
}

/// By the host's configuration alone: without one there is no public resolver to fall back to.
fn resolver() -> Result<(TokioResolver, Vec<IpAddr>), NetError> {
    let (configuration, mut options) = read_system_conf()?;
    let servers = configuration.name_servers().iter().map(|server| server.ip).collect();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = QUERY;
    options.attempts = 1;
    let mut builder = TokioResolver::builder_with_config(configuration, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    Ok((builder.build()?, servers))
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
