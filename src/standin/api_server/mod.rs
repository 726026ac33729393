//! An API server as far as a node joins through it: certificate signing requests with their approver and signer, Nodes with
//! the allocator of their networks, and leases. It is as strict as the real one about who asks, for what, and in which
//! content type, and refuses in its words.
//!
//! What its controllers do is told by `cluster.json` in the mirror's directory ([`Controllers`]), which is read for each
//! request. Gaps: no watches, no protobuf, no admission beyond what is said here; objects are gone when it ends.
//! Sources: kubernetes 1.36, plugin/pkg/auth/authorizer (node, rbac/bootstrappolicy), pkg/controller/certificates.

mod certificates;
mod identity;
mod leases;
mod nodes;
mod rbac;
mod status;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub(super) use identity::AnyClient;
use identity::Identity;
use jiff::{SignedDuration, Timestamp, Unit};
use rbac::Attributes;
use rcgen::{CertifiedIssuer, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
pub(super) use status::Answer;

use super::say;
use crate::host::files;

/// In the mirror's directory: what the control plane does, and does not do.
const CONTROLLERS: &str = "cluster.json";
/// The bootstrap token that is known unless told otherwise.
pub const TOKEN: &str = "abcdef.0123456789abcdef";
/// What is signed for where nothing else is asked for.
const YEAR: u64 = 365 * 24 * 60 * 60;
/// The token of flannel's ServiceAccount.
pub const FLANNEL_TOKEN: &str = "a-rehearsals-flannel";

/// What the control plane does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of another program of the control plane")]
struct Controllers {
    /// Bootstrap tokens that are known and have not expired.
    tokens: Vec<String>,
    /// kubeadm's role kubeadm:get-nodes is there.
    get_nodes: bool,
    /// The groups of bootstrap tokens are bound to system:node-bootstrapper.
    bootstrappers: bool,
    /// The csrapproving controller approves what kubelets ask for.
    approve: bool,
    /// The csrsigning controller signs what is approved.
    sign: bool,
    /// Somebody denies every request, with this message.
    deny: Option<String>,
    /// The signer fails, with this message.
    fail: Option<String>,
    /// `--allocate-node-cidrs` of kube-controller-manager.
    allocate_node_cidrs: bool,
    /// An admission webhook that refuses Nodes, with this message.
    refuse_nodes: Option<String>,
    /// flannel's ClusterRole is bound to its ServiceAccount.
    flannel: bool,
    /// `--cluster-signing-duration` of kube-controller-manager, in seconds.
    cluster_signing_duration: u64,
    /// By how many seconds the cluster's clocks are ahead of this host's; less than nothing where they are behind.
    clock_ahead: i64,
    /// Seconds after which a lease that is not renewed makes its Node's conditions unknown.
    node_monitor_grace_period: u64,
}

impl Default for Controllers {
    fn default() -> Self {
        Self {
            tokens: vec![TOKEN.to_owned()],
            get_nodes: true,
            bootstrappers: true,
            approve: true,
            sign: true,
            deny: None,
            fail: None,
            allocate_node_cidrs: true,
            refuse_nodes: None,
            flannel: true,
            cluster_signing_duration: YEAR,
            clock_ahead: 0,
            node_monitor_grace_period: 50,
        }
    }
}

impl Controllers {
    /// The cluster's clock.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(SignedDuration::from_secs(self.clock_ahead)).unwrap_or(now)
    }

    fn read(directory: &Path) -> Self {
        let text = files::if_present(files::read_text(&directory.join(CONTROLLERS))).unwrap_or_default();
        let parsed = text.as_deref().map(serde_json::from_str).transpose();
        parsed
            .unwrap_or_else(|error| {
                say(&format!("api server: {CONTROLLERS}: {error}"));
                None
            })
            .unwrap_or_default()
    }
}

/// A request, read whole.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) content_type: String,
    pub(super) authorization: String,
    pub(super) accept: String,
    pub(super) body: Vec<u8>,
    /// The client's certificate, as DER.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Request {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query.
    fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The body of a POST or PUT: JSON, and said to be.
    fn object(&self) -> Result<Value, Answer> {
        if !self.content_type.starts_with("application/json") {
            return Err(Answer::unsupported(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]));
        }
        serde_json::from_slice(&self.body).map_err(|error| Answer::bad_request(&error.to_string()))
    }

    /// The body of a PATCH.
    fn patch(&self) -> Result<Value, Answer> {
        const TYPES: [&str; 2] = ["application/strategic-merge-patch+json", "application/merge-patch+json"];
        if !TYPES.contains(&self.content_type.as_str()) {
            return Err(Answer::unsupported(&TYPES));
        }
        serde_json::from_slice(&self.body).map_err(|error| Answer::bad_request(&error.to_string()))
    }
}

/// What is stored.
#[derive(Debug, Default)]
struct State {
    requests: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    leases: BTreeMap<String, leases::Lease>,
    made: u64,
    /// The time of the request, by the cluster's clock.
    now: Timestamp,
}

impl State {
    /// The time, as the API writes it.
    fn time(&self) -> String {
        self.now.round(Unit::Second).unwrap_or(self.now).to_string()
    }

    /// Metadata as the server fills it in.
    fn stamp(&mut self, object: &mut Value) {
        self.made += 1;
        object["metadata"]["creationTimestamp"] = json!(self.time());
        object["metadata"]["resourceVersion"] = json!(self.made.to_string());
        object["metadata"]["uid"] = json!(format!("5ec7e700-0000-4000-9000-{:012}", self.made));
    }
}

/// A cluster's control plane.
pub(super) struct Cluster {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
    clients: identity::Clients,
    state: Mutex<State>,
}

impl Cluster {
    pub(super) fn new(directory: &Path, authority: CertifiedIssuer<'static, KeyPair>) -> Result<Self, String> {
        let clients = identity::Clients::of(&authority)?;
        Ok(Self { directory: directory.to_owned(), authority, clients, state: Mutex::default() })
    }

    /// Whether it answers for this path: the mirror has the rest.
    pub(super) fn has(target: &str) -> bool {
        target.starts_with("/api/") || target.starts_with("/apis/")
    }

    /// Answers, after its controllers have done what there was to do, and has them go on.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let controllers = Controllers::read(&self.directory);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = controllers.now();
        self.control(&mut state, &controllers);
        let answer = self.route(&mut state, &controllers, request).unwrap_or_else(|refused| refused);
        self.control(&mut state, &controllers);
        answer
    }

    fn control(&self, state: &mut State, controllers: &Controllers) {
        certificates::approve(state, controllers);
        certificates::sign(state, controllers, &self.authority);
        nodes::allocate(state, controllers);
        leases::monitor(state, controllers);
    }

    fn route(&self, state: &mut State, controllers: &Controllers, request: &Request) -> Result<Answer, Answer> {
        let identity = Identity::of(request, &self.clients, controllers).ok_or_else(Answer::unauthorized)?;
        if !(request.accept.is_empty() || request.accept.contains("json") || request.accept.contains("*/*")) {
            return Err(Answer::not_acceptable());
        }
        let path: Vec<&str> = request.path().trim_matches('/').split('/').collect();
        let attributes = Attributes::of(&request.method, &path).ok_or_else(Answer::no_such_path)?;
        // Anybody who is known may ask what he may.
        if attributes.resource == "selfsubjectaccessreviews" && identity.is_authenticated() {
            return rbac::review(&identity, controllers, request.object()?);
        }
        rbac::check(&identity, controllers, &attributes)?;
        match attributes.resource.as_str() {
            "certificatesigningrequests" => certificates::answer(state, &identity, &attributes, request),
            "nodes" => nodes::answer(state, controllers, &identity, &attributes, request),
            "leases" => leases::answer(state, &identity, &attributes, request),
            _ => Err(Answer::no_such_path()),
        }
    }
}

/// The cluster's clock, as the controllers in this directory have it.
pub(super) fn clock(directory: &Path) -> Timestamp {
    Controllers::read(directory).now()
}
