//! How the kubelet that is played joins its cluster: a key, a request for a certificate, the Node, its status, its lease. All
//! of it goes on beside the kubelet, which is ready meanwhile, as the real one with rotateCertificates.
//!
//! Source: kubernetes 1.36, cmd/kubelet/app/server.go, pkg/kubelet/certificate/bootstrap, pkg/kubelet/kubelet_node_status.go.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::say;
use crate::host::{
    api_server::{self, Call, ClientCertificate, Credential, Door, KUBELET_CLIENT, Reply},
    cri::RuntimeService,
    files,
    kubeconfig::{self, Server},
    machine,
};

const LIMIT: Duration = Duration::from_secs(5);
/// The real one looks for its certificate by a watch.
const POLL: Duration = Duration::from_millis(100);
/// Between two tries of what failed.
const BACKOFF: Duration = Duration::from_secs(2);
/// How often a lease is renewed, and the status is told where nothing changed.
const RENEW: Duration = Duration::from_secs(10);

/// Who joins, and with what.
pub(super) struct Join {
    pub(super) node: String,
    pub(super) address: String,
    pub(super) version: String,
    pub(super) kubeconfig: PathBuf,
    pub(super) bootstrap: PathBuf,
    pub(super) certificates: PathBuf,
    pub(super) runtime: PathBuf,
    /// It never says that it is Ready.
    pub(super) never_ready: bool,
}

impl Join {
    fn certificate(&self) -> PathBuf {
        self.certificates.join("kubelet-client-current.pem")
    }

    /// The kubeconfig's certificate, where it is one that has not expired.
    pub(super) fn is_valid(&self) -> bool {
        let Ok(Credential::Certificate(certificate)) = kubeconfig::credential(&self.kubeconfig) else { return false };
        certificate.validity().is_some_and(|validity| Timestamp::now() <= validity.not_after)
    }

    /// Goes on for ever; what fails is told and tried again.
    pub(super) async fn run(self) {
        // What it bootstraps with is read once: it goes when there is a certificate.
        if !self.is_valid() {
            match self.door() {
                Ok((server, credential)) => {
                    while let Err(error) = self.bootstrap(&server, &credential).await {
                        say(&format!("Failed while requesting a signed certificate from the control plane: {error}"));
                        sleep(BACKOFF).await;
                    }
                }
                Err(error) => return say(&format!("unable to load bootstrap kubeconfig: {error}")),
            }
        }
        while let Err(error) = self.live().await {
            say(&format!("Unable to register node with API server: {error}"));
            sleep(BACKOFF).await;
        }
    }

    fn door(&self) -> Result<(Server, Credential), String> {
        let server = kubeconfig::server(&self.bootstrap).map_err(|error| error.to_string())?;
        Ok((server, kubeconfig::credential(&self.bootstrap).map_err(|error| error.to_string())?))
    }

    async fn bootstrap(&self, server: &Server, credential: &Credential) -> Result<(), String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| error.to_string())?;
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", self.node));
        let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(|error| error.to_string())?;
        let object = json!({ "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1",
            "metadata": { "generateName": "csr-" }, "spec": { "request": STANDARD.encode(request),
            "signerName": KUBELET_CLIENT, "usages": ["digital signature", "client auth"] } });
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let api = Api { server, credential };
        let created = api.post(path, &object).await?;
        let name = created["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        loop {
            let object = api.get(&format!("{path}/{name}")).await?;
            let is =
                |kind: &str| object["status"]["conditions"].as_array().into_iter().flatten().any(|one| one["type"] == kind);
            if is("Denied") || is("Failed") {
                return Err(format!("certificate signing request {name} is denied or failed"));
            }
            if let Some(certificate) = object["status"]["certificate"].as_str() {
                let pem = STANDARD.decode(certificate).map_err(|error| error.to_string())?;
                return self.store(&pem, &key);
            }
            sleep(POLL).await;
        }
    }

    /// A dated file, and the link to it.
    fn store(&self, certificate: &[u8], key: &KeyPair) -> Result<(), String> {
        let now = Timestamp::now().strftime("%Y-%m-%d-%H-%M-%S").to_string();
        let path = self.certificates.join(format!("kubelet-client-{now}.pem"));
        let pem = [certificate, key.serialize_pem().as_bytes()].concat();
        files::create_directory(&self.certificates, 0o750).map_err(|error| error.to_string())?;
        files::write(&path, &pem, 0o600).map_err(|error| error.to_string())?;
        files::link(&self.certificate(), &path).map_err(|error| error.to_string())
    }

    /// Registers, and tells its state from then on.
    async fn live(&self) -> Result<(), String> {
        // One that has expired is not shown to anybody.
        if !self.is_valid() {
            return Err("Unauthorized: there is no client certificate that has not expired".to_owned());
        }
        let server = kubeconfig::server(&self.kubeconfig).map_err(|error| error.to_string())?;
        let certificate = ClientCertificate::read(&self.certificate()).map_err(|error| error.to_string())?;
        let api = Api { server: &server, credential: &Credential::Certificate(certificate) };
        let node = json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": self.node },
            "status": self.status(self.readiness().await.as_deref())? });
        match api.post("/api/v1/nodes", &node).await {
            Ok(_) => {}
            Err(error) if error.contains("already exists") => {}
            Err(error) => return Err(error),
        }
        let (mut told, mut at) = (None, Instant::now());
        loop {
            let readiness = self.readiness().await;
            if told.as_ref() != Some(&readiness) || at.elapsed() >= RENEW {
                let change = json!({ "status": self.status(readiness.as_deref())? });
                let path = format!("/api/v1/nodes/{}/status", self.node);
                if let Err(error) = async {
                    api.patch(&path, &change).await?;
                    self.renew(&api).await
                }
                .await
                {
                    say(&format!("Error updating node status, will retry: {error}"));
                    // A Node that somebody deleted is registered again by the next start only, as by the real one.
                    sleep(BACKOFF).await;
                    continue;
                }
                (told, at) = (Some(readiness), Instant::now());
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn renew(&self, api: &Api<'_>) -> Result<(), String> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let lease = json!({ "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": { "name": self.node, "namespace": "kube-node-lease" },
            "spec": { "holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": now } });
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        match api.put(&format!("{path}/{}", self.node), &lease).await {
            Err(error) if error.contains("not found") => api.post(path, &lease).await.map(drop),
            other => other.map(drop),
        }
    }

    /// Nothing where it is Ready; otherwise why not, as the container runtime says it.
    async fn readiness(&self) -> Option<String> {
        if self.never_ready {
            return Some("PLEG is not healthy: pleg was last seen active 3m0s ago; threshold is 3m0s".to_owned());
        }
        let asked = async { RuntimeService::dial(&self.runtime).await?.readiness().await };
        match asked.await {
            Err(error) => Some(format!("container runtime is down: {error}")),
            Ok(readiness) => match readiness.network {
                Some(network) if network.holds => None,
                Some(network) => {
                    let (reason, message) = network.explanation.split_once(": ").unwrap_or(("", &network.explanation));
                    Some(format!("container runtime network not ready: NetworkReady=false reason:{reason} message:{message}"))
                }
                None => Some("container runtime status check may not have completed yet".to_owned()),
            },
        }
    }

    fn status(&self, not_ready: Option<&str>) -> Result<Value, String> {
        let now = Timestamp::now();
        let now = now.round(jiff::Unit::Second).unwrap_or(now).to_string();
        let (status, reason, message) = match not_ready {
            None => ("True", "KubeletReady", "kubelet is posting ready status"),
            Some(why) => ("False", "KubeletNotReady", why),
        };
        let boot = files::read_text(Path::new("/proc/sys/kernel/random/boot_id")).map_err(|error| error.to_string())?;
        Ok(json!({
            "addresses": [{ "type": "InternalIP", "address": self.address }, { "type": "Hostname", "address": self.node }],
            "conditions": [{ "type": "Ready", "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": now }],
            "nodeInfo": { "machineID": machine::id().map_err(|error| error.to_string())?, "systemUUID": "", "bootID": boot.trim(),
                "kubeletVersion": format!("v{}", self.version), "operatingSystem": "linux" },
        }))
    }
}

/// An API server, and who one is towards it.
pub(super) struct Api<'a> {
    pub(super) server: &'a Server,
    pub(super) credential: &'a Credential,
}

impl Api<'_> {
    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.call(Method::POST, path, Some(("application/json", object))).await
    }

    async fn put(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.call(Method::PUT, path, Some(("application/json", object))).await
    }

    pub(super) async fn patch(&self, path: &str, change: &Value) -> Result<Value, String> {
        self.call(Method::PATCH, path, Some(("application/strategic-merge-patch+json", change))).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<(&'static str, &Value)>) -> Result<Value, String> {
        let bytes = body.map(|(_, body)| body.to_string().into_bytes()).unwrap_or_default();
        let body = body.map(|(kind, _)| (kind, bytes.as_slice()));
        let door = Door { server: &self.server.url, authority: &self.server.authority, credential: Some(self.credential) };
        let reply: Reply =
            api_server::call(door, &Call { method, path, body }, LIMIT).await.map_err(|error| error.to_string())?;
        match reply.status {
            StatusCode::OK | StatusCode::CREATED => Ok(reply.json()),
            _ => Err(reply.json()["message"].as_str().unwrap_or("an answer that is none").to_owned()),
        }
    }
}
