//! A client of the Container Runtime Interface, v1, over its unix socket: enough to know whether a runtime is there,
//! speaks v1, and is ready.
//!
//! Promise: asks only, and dialling never blocks the runtime's threads, whatever lies at the path. Gap: a call has no
//! deadline of its own; the caller has one.

mod messages;

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
};

use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tonic::{
    Code, Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

use self::messages::{
    RuntimeConfigRequest, RuntimeConfigResponse, StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};
use super::detached;

/// The runtime cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// Nothing at the path.
    #[error("{} does not exist", .0.display())]
    Absent(PathBuf),
    /// Something else at the path.
    #[error("{} is {kind}, not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A socket that nobody listens on.
    #[error("nothing listens on {}", .0.display())]
    Refused(PathBuf),
    /// The socket cannot be dialled.
    #[error("dialling {}: {source}", path.display())]
    Dial {
        /// The path.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// What listens does not speak HTTP/2.
    #[error("what listens on {} does not speak gRPC: {reason}", path.display())]
    Protocol {
        /// The path.
        path: PathBuf,
        /// How that was noticed.
        reason: String,
    },
    /// Only the API that the kubelet left behind in 1.26.
    #[error("{runtime} speaks CRI v1alpha2 only")]
    OnlyAlpha {
        /// Its name and version.
        runtime: String,
    },
    /// A call failed.
    #[error("{method} failed: {} ({:?})", status.message(), status.code())]
    Call {
        /// Which one.
        method: &'static str,
        /// What the runtime answered.
        status: Box<tonic::Status>,
    },
}

impl CriError {
    /// Whether it may be otherwise in a moment, because the runtime is starting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::NotASocket { .. } | Self::OnlyAlpha { .. })
    }
}

/// What a runtime says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// `containerd`
    pub name: String,
    /// `1.6.20`
    pub version: String,
    /// `v1`
    pub api: String,
}

/// One of a runtime's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// Why not, where the runtime says.
    pub explanation: String,
}

/// Whether the runtime is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// `RuntimeReady`: containers can be run.
    pub runtime: Option<Condition>,
    /// `NetworkReady`: there is a CNI configuration.
    pub network: Option<Condition>,
}

/// Who manages control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// systemd
    Systemd,
    /// The runtime itself
    Cgroupfs,
}

impl CgroupDriver {
    /// As KubeletConfiguration names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }
}

/// Where a runtime looks for networks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkPlaces {
    /// Directories with CNI plugins; the first that has one counts.
    #[serde(default)]
    pub plugin_dirs: Vec<PathBuf>,
    /// The directory with CNI configuration.
    #[serde(rename = "PluginConfDir", default)]
    pub configuration: PathBuf,
}

/// A connection to a runtime.
pub struct RuntimeService {
    path: PathBuf,
    /// The process that listens, as the kernel says; none where that cannot be told.
    pub listener: Option<u32>,
    grpc: Grpc<Channel>,
}

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const VERSION_ALPHA: &str = "/runtime.v1alpha2.RuntimeService/Version";
const STATUS: &str = "/runtime.v1.RuntimeService/Status";
const RUNTIME_CONFIG: &str = "/runtime.v1.RuntimeService/RuntimeConfig";

impl RuntimeService {
    /// Dials the socket.
    pub async fn dial(path: &Path) -> Result<Self, CriError> {
        let own_path = path.to_owned();
        let dial_error = |source| CriError::Dial { path: path.to_owned(), source };
        let stream = detached::run("cri", move || connect(&own_path)).await.map_err(dial_error)??;
        stream.set_nonblocking(true).map_err(dial_error)?;
        let stream = tokio::net::UnixStream::from_std(stream).map_err(dial_error)?;
        let listener = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
        // One connection is all there is: a second dial by the channel would come after it broke, and fails.
        let once = std::sync::Mutex::new(Some(stream));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = once.lock().ok().and_then(|mut stream| stream.take());
            async move { stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        // The authority is not used on a unix socket, but HTTP/2 wants one.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
        let channel = channel.map_err(|error| CriError::Protocol { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { path: path.to_owned(), listener, grpc: Grpc::new(channel) })
    }

    /// `Version`; tells a runtime that speaks only v1alpha2 from one that speaks no CRI.
    pub async fn version(&mut self) -> Result<RuntimeVersion, CriError> {
        let request = || VersionRequest { version: "0.1.0".to_owned() };
        match self.call::<_, VersionResponse>(VERSION, request()).await {
            Ok(answer) => Ok(named(answer)),
            Err(CriError::Call { method, status }) if status.code() == Code::Unimplemented => {
                match self.call::<_, VersionResponse>(VERSION_ALPHA, request()).await {
                    Ok(answer) => {
                        let RuntimeVersion { name, version, .. } = named(answer);
                        Err(CriError::OnlyAlpha { runtime: format!("{name} {version}") })
                    }
                    Err(_) => Err(CriError::Call { method, status }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// `Status`
    pub async fn readiness(&mut self) -> Result<Readiness, CriError> {
        let answer: StatusResponse = self.call(STATUS, StatusRequest { verbose: false }).await?;
        let conditions = answer.status.map(|status| status.conditions).unwrap_or_default();
        let find = |kind: &str| {
            conditions.iter().find(|condition| condition.kind == kind).map(|condition| Condition {
                holds: condition.status,
                explanation: [condition.reason.as_str(), condition.message.as_str()].map(str::trim).join(": "),
            })
        };
        Ok(Readiness { runtime: find("RuntimeReady"), network: find("NetworkReady") })
    }

    /// Where it looks for networks, as its verbose `Status` tells; none where it does not tell (only containerd does: its key
    /// `cniconfig`, which is go-cni's ConfigResult, in 1.6 to 2.x).
    pub async fn network_places(&mut self) -> Result<Option<NetworkPlaces>, CriError> {
        let answer: StatusResponse = self.call(STATUS, StatusRequest { verbose: true }).await?;
        Ok(answer.info.get("cniconfig").and_then(|text| serde_json::from_str(text).ok()))
    }

    /// `RuntimeConfig`; none where the runtime is too old to tell (containerd before 2.0).
    pub async fn cgroup_driver(&mut self) -> Result<Option<CgroupDriver>, CriError> {
        match self.call::<_, RuntimeConfigResponse>(RUNTIME_CONFIG, RuntimeConfigRequest {}).await {
            Ok(answer) => Ok(answer.linux.and_then(|linux| match linux.cgroup_driver {
                0 => Some(CgroupDriver::Systemd),
                1 => Some(CgroupDriver::Cgroupfs),
                _ => None,
            })),
            Err(CriError::Call { status, .. }) if status.code() == Code::Unimplemented => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn call<Q, A>(&mut self, method: &'static str, question: Q) -> Result<A, CriError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| CriError::Protocol { path: self.path.clone(), reason: error.to_string() })?;
        let path = PathAndQuery::from_static(method);
        let answer = self.grpc.unary(Request::new(question), path, ProstCodec::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| CriError::Call { method, status: Box::new(status) })
    }
}

fn named(answer: VersionResponse) -> RuntimeVersion {
    RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version, api: answer.runtime_api_version }
}

/// Blocks where the file system hangs or the listener's queue is full: for a thread of its own.
fn connect(path: &Path) -> Result<UnixStream, CriError> {
    let owned = || path.to_owned();
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CriError::Absent(owned())),
        Err(source) => return Err(CriError::Dial { path: owned(), source }),
    };
    if !kind.is_socket() {
        let kind = match () {
            () if kind.is_fifo() => "a named pipe",
            () if kind.is_dir() => "a directory",
            () if kind.is_file() => "a regular file",
            () => "a device",
        };
        return Err(CriError::NotASocket { path: owned(), kind });
    }
    UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::ConnectionRefused => CriError::Refused(owned()),
        _ => CriError::Dial { path: owned(), source },
    })
}
