//! What the checks look at.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    config::{CertificateAuthority, Settings},
    host::api_server::{Answers, NotDiscovered},
    model::{NodeIdentity, UnitName},
};

/// What is looked at: immutable, and shared by all checks.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the user wants.
    pub settings: Settings,
    /// Who this node is.
    pub identity: NodeIdentity,
    /// Where things go.
    pub places: Places,
    /// A kubelet that somebody else installed is taken over: it and what belongs to it is no obstacle.
    pub adopt: bool,
    /// How much longer the checks may take that can become true by waiting (`--wait`): zero unless the host is still booting.
    pub wait: Duration,
    /// What several checks look at together, once; empty at first.
    pub looks: Looks,
}

/// Looks that checks share: the first that needs one makes it, and the others wait for it.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    pub(super) api_server: Arc<Mutex<Option<Seen>>>,
}

/// The last look at the API server.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) ended: Instant,
    pub(super) answers: Arc<Result<Answers, NotDiscovered>>,
    /// The cluster's authority that vouched for them, as PEM.
    pub(super) authority: Option<String>,
}

/// Directories and files of the host that checks look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// hostlet's own tree: store, generations and `current`.
    pub home: PathBuf,
    /// Downloads.
    pub cache: PathBuf,
    /// What is committed, and which digests were trusted on first use.
    pub state: PathBuf,
    /// Where the runtime looks for CNI plugins.
    pub cni_executables: PathBuf,
    /// Where the runtime looks for CNI configuration.
    pub cni_configuration: PathBuf,
    /// Where the runtime keeps images and containers.
    pub images: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            home: "/opt/hostlet".into(),
            cache: "/var/cache/hostlet".into(),
            state: "/var/lib/hostlet".into(),
            cni_executables: "/opt/cni/bin".into(),
            cni_configuration: "/etc/cni/net.d".into(),
            images: "/var/lib/containerd".into(),
        }
    }
}

impl Subject {
    /// The usual places, no waiting.
    #[must_use]
    pub fn new(settings: Settings, identity: NodeIdentity) -> Self {
        let places = Places { images: images_of(&settings.runtime.unit), ..Places::default() };
        Self { settings, identity, places, adopt: false, wait: Duration::ZERO, looks: Looks::default() }
    }

    /// The settings, with the authority that the look at the API server has discovered in the place of its hash.
    pub(super) async fn settled(&self) -> Box<Settings> {
        let authority = self.looks.api_server.lock().await.as_ref().and_then(|seen| seen.authority.clone());
        let mut settings = Box::new(self.settings.clone());
        if let Some(cluster) = &mut settings.cluster
            && let CertificateAuthority::Discovered(_) = cluster.certificate_authority
            && let Some(authority) = authority
        {
            cluster.certificate_authority = CertificateAuthority::Inline(authority);
        }
        settings
    }

    /// A field of KubeletConfiguration that the user set.
    pub(super) fn kubelet_field(&self, name: &str) -> Option<&Value> {
        self.settings.kubelet.config.get(name)
    }

    /// A field of KubeletConfiguration that is true or false, with the kubelet's default.
    pub(super) fn kubelet_flag(&self, name: &str, default: bool) -> bool {
        self.kubelet_field(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Whether the kubelet refuses cgroup v1: the default since 1.35 (facts: kubelet, failCgroupV1).
    pub(super) fn refuses_cgroup_v1(&self) -> bool {
        self.kubelet_flag("failCgroupV1", self.settings.kubelet.version.minor() >= 35)
    }
}

/// Where a runtime keeps its images unless its own configuration says otherwise, which is not read.
fn images_of(unit: &UnitName) -> PathBuf {
    match unit.as_str() {
        "crio.service" => "/var/lib/containers",
        "docker.service" | "cri-docker.service" => "/var/lib/docker",
        _ => "/var/lib/containerd",
    }
    .into()
}
