//! The system and service manager: whether it is systemd, and whether it answers over D-Bus.

use std::path::Path;

use zbus::{Connection, connection, proxy};

use super::files::{self, FileError, if_present};

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
}

/// systemd answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `252.39-1~deb12u1`
    pub version: String,
    /// Over which socket.
    pub over: &'static str,
}

/// The manager did not answer, on either way.
#[derive(Debug, thiserror::Error)]
#[error("the system bus: {bus}; {PRIVATE}: {private}")]
pub struct Silent {
    /// Why the bus did not work.
    bus: Box<zbus::Error>,
    /// Why the private socket did not work.
    private: Box<zbus::Error>,
}

/// systemd's own socket, which root may use when the bus is down.
const PRIVATE: &str = "/run/systemd/private";

/// The name of process 1.
pub fn first_process() -> Result<String, FileError> {
    Ok(files::read_text(Path::new("/proc/1/comm"))?.trim_end().to_owned())
}

/// Whether the host was booted with systemd: sd_booted(3).
pub fn is_systemd() -> Result<bool, FileError> {
    let path = Path::new("/run/systemd/system");
    let metadata = if_present(std::fs::symlink_metadata(path).map_err(FileError::doing("looking at", path)))?;
    Ok(metadata.is_some_and(|metadata| metadata.is_dir()))
}

/// Asks systemd for its version: over the system bus, else over its private socket.
pub async fn ask() -> Result<Answer, Silent> {
    let bus = match over_bus().await {
        Ok(version) => return Ok(Answer { version, over: "the system bus" }),
        Err(error) => Box::new(error),
    };
    match over_private_socket().await {
        Ok(version) => Ok(Answer { version, over: PRIVATE }),
        Err(private) => Err(Silent { bus, private: Box::new(private) }),
    }
}

async fn over_bus() -> zbus::Result<String> {
    version(&Connection::system().await?).await
}

async fn over_private_socket() -> zbus::Result<String> {
    let stream = tokio::net::UnixStream::connect(PRIVATE).await.and_then(tokio::net::UnixStream::into_std);
    let stream = stream.map_err(|error| zbus::Error::InputOutput(error.into()))?;
    // Peer to peer: no bus daemon, and so no Hello.
    version(&connection::Builder::unix_stream(stream).p2p().build().await?).await
}

async fn version(connection: &Connection) -> zbus::Result<String> {
    ManagerProxy::builder(connection).cache_properties(zbus::proxy::CacheProperties::No).build().await?.version().await
}
