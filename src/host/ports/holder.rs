//! Who holds a port: the process behind a socket, or the kernel itself.

use std::{
    collections::HashMap,
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::Path,
};

use procfs::{ProcError, net::TcpState};

use super::Scope;
use crate::{
    host::{
        files::FileError,
        links::{self, LinkKind},
        processes::{self, Process},
    },
    model::{Port, Protocol},
};

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process with a socket.
    Process(Process),
    /// A process's outgoing connection happens to use the port.
    Client(Process),
    /// A device of the kernel: `flannel.1`. It has no socket that /proc would show.
    Device {
        /// Its name.
        name: String,
        /// `VXLAN` or `WireGuard`
        kind: &'static str,
    },
    /// A socket of a process that this pid namespace does not show.
    Hidden,
    /// Neither a socket nor a device is to be seen.
    Nobody,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(process) => process.fmt(f),
            Self::Client(process) => write!(f, "an outgoing connection of {process}"),
            Self::Device { name, kind } => write!(f, "the kernel {kind} device {name}"),
            Self::Hidden => f.write_str("a process that cannot be seen from here (another pid namespace)"),
            Self::Nobody => f.write_str("somebody who cannot be seen: no socket and no device of this network namespace"),
        }
    }
}

/// The tables of sockets and devices could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// /proc/net
    #[error("reading the sockets of this network namespace: {0}")]
    Sockets(#[from] ProcError),
    /// netlink
    #[error("listing network devices: {0}")]
    Devices(#[source] io::Error),
    /// /proc
    #[error(transparent)]
    Processes(#[from] FileError),
}

struct Socket {
    protocol: Protocol,
    local: SocketAddr,
    is_client: bool,
    inode: u64,
}

/// All sockets of this network namespace, their processes, and the kernel's devices: read once, asked often.
pub struct Holders {
    sockets: Vec<Socket>,
    links: Vec<links::Link>,
    owners: HashMap<u64, Process>,
}

impl Holders {
    /// Reads the tables, and finds the processes behind the sockets on these ports.
    pub fn of(ports: &[(Protocol, Port)]) -> Result<Self, HolderError> {
        let mut sockets = sockets()?;
        sockets.retain(|socket| {
            ports.iter().any(|(protocol, port)| *protocol == socket.protocol && port.number() == socket.local.port())
        });
        let links = links::links().map_err(HolderError::Devices)?;
        let owners = if sockets.is_empty() { HashMap::new() } else { owners(&sockets)? };
        Ok(Self { sockets, links, owners })
    }

    /// The processes that listen on ports of this range, on whatever address.
    pub fn listening_in(range: &RangeInclusive<u16>) -> Result<Vec<(Protocol, u16, Process)>, HolderError> {
        let mut sockets = sockets()?;
        sockets.retain(|socket| !socket.is_client && range.contains(&socket.local.port()));
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let owners = owners(&sockets)?;
        let mut found: Vec<(Protocol, u16, Process)> = Vec::new();
        for socket in sockets {
            let port = socket.local.port();
            let Some(owner) = owners.get(&socket.inode) else { continue };
            if !found.iter().any(|(protocol, number, _)| *protocol == socket.protocol && *number == port) {
                found.push((socket.protocol, port, owner.clone()));
            }
        }
        Ok(found)
    }

    /// Who is in the way of this.
    #[must_use]
    pub fn holder(&self, protocol: Protocol, scope: Scope, port: Port) -> Holder {
        let matches = |socket: &&Socket| {
            socket.protocol == protocol && socket.local.port() == port.number() && scope.meets(address(socket.local))
        };
        // Listeners first: a client's socket is in the way only when nobody listens.
        let mut candidates: Vec<_> = self.sockets.iter().filter(matches).collect();
        candidates.sort_by_key(|socket| (socket.is_client, !self.owners.contains_key(&socket.inode)));
        match candidates.first() {
            Some(socket) => match self.owners.get(&socket.inode) {
                Some(process) if socket.is_client => Holder::Client(process.clone()),
                Some(process) => Holder::Process(process.clone()),
                None => self.device(protocol, port).unwrap_or(Holder::Hidden),
            },
            None => self.device(protocol, port).unwrap_or(Holder::Nobody),
        }
    }

    /// The kernel opens a VXLAN or WireGuard device's UDP socket for itself: it refuses every bind, and no table of sockets
    /// shows it (facts: preflight, Binding).
    fn device(&self, protocol: Protocol, port: Port) -> Option<Holder> {
        if protocol != Protocol::Udp {
            return None;
        }
        let vxlan = self.links.iter().find(|link| link.kind == LinkKind::Vxlan { port: port.number() });
        // Only WireGuard itself tells its port, so a device of that kind is the likely one, not the certain one.
        let link = vxlan.or_else(|| self.links.iter().find(|link| link.kind == LinkKind::Wireguard))?;
        let kind = if link.kind == LinkKind::Wireguard { "WireGuard" } else { "VXLAN" };
        Some(Holder::Device { name: link.name.clone(), kind })
    }
}

/// IPv4 connections on an IPv6 socket show as mapped addresses.
fn address(local: SocketAddr) -> IpAddr {
    local.ip().to_canonical()
}

fn sockets() -> Result<Vec<Socket>, ProcError> {
    let tcp = |entry: procfs::net::TcpNetEntry| Socket {
        protocol: Protocol::Tcp,
        local: entry.local_address,
        is_client: entry.state != TcpState::Listen,
        inode: entry.inode,
    };
    let udp = |entry: procfs::net::UdpNetEntry| Socket {
        protocol: Protocol::Udp,
        local: entry.local_address,
        is_client: false,
        inode: entry.inode,
    };
    let mut all: Vec<_> = procfs::net::tcp()?.into_iter().map(tcp).collect();
    all.extend(procfs::net::udp()?.into_iter().map(udp));
    all.extend(or_none(procfs::net::tcp6())?.into_iter().map(tcp));
    all.extend(or_none(procfs::net::udp6())?.into_iter().map(udp));
    Ok(all)
}

/// A kernel without IPv6 has no tables for it.
fn or_none<T>(table: Result<Vec<T>, ProcError>) -> Result<Vec<T>, ProcError> {
    match table {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        table => table,
    }
}

/// The processes that have these sockets open. Of several, the one that was started last: a service rather than the
/// manager that handed the socket to it.
fn owners(sockets: &[Socket]) -> Result<HashMap<u64, Process>, FileError> {
    let wanted: HashMap<String, u64> =
        sockets.iter().map(|socket| (format!("socket:[{}]", socket.inode), socket.inode)).collect();
    let mut owners = HashMap::new();
    for pid in processes::pids()? {
        // Ended meanwhile, or not ours to see.
        let Ok(descriptors) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            if let Some(inode) = target.to_str().and_then(|target| wanted.get(target))
                && let Some(process) = Process::look(pid)
            {
                owners.insert(*inode, process);
            }
        }
    }
    Ok(owners)
}
