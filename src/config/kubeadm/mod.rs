//! From what kubeadm users have, a join command or a JoinConfiguration, to a configuration of hostlet's. Pure.
//!
//! Promise: nothing of it is dropped in silence: what hostlet has a place for goes there, what it does in its own way is
//! told, and what it does not know is refused. The token comes out apart from the text, since it belongs into a file of its
//! own. Gap: the values are judged by whoever parses the text that comes out.
//! Source: kubeadm 1.36, `kubeadm join --help` and kubeadm.k8s.io/v1beta4 (v1beta3 differs in kubeletExtraArgs alone).

mod command;
mod document;
mod render;

use std::collections::BTreeMap;

pub use command::is_command;

use super::{problem::nearest, settings::Role};
use crate::model::Secret;

/// What was read, in hostlet's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Join {
    /// Host and port of the API server.
    pub(super) endpoint: String,
    /// `sha256:` and 64 hexadecimal characters, each.
    pub(super) ca_hashes: Vec<String>,
    /// The bootstrap token.
    pub(super) token: Option<Secret<String>>,
    pub(super) node_name: Option<String>,
    pub(super) node_ips: Vec<String>,
    pub(super) role: Option<Role>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<String>,
    pub(super) cri_socket: Option<String>,
    pub(super) cloud_provider: Option<String>,
    pub(super) extra_args: Vec<String>,
    /// What hostlet does otherwise, or not at all, a sentence each.
    pub(super) notes: Vec<String>,
}

/// Why it is no join that hostlet can take part in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}\n  {help}")]
pub struct NotAJoin {
    /// What was found. No credential is in it.
    pub found: String,
    /// What to do.
    pub help: String,
}

impl NotAJoin {
    fn new(found: impl Into<String>, help: impl Into<String>) -> Self {
        let found = super::problem::hide_credentials(&found.into());
        Self { found, help: help.into() }
    }
}

const HASH_HELP: &str =
    "kubeadm token create --print-join-command, on a control-plane node, prints a join command with the hash";

impl Join {
    /// Reads a join command, as `kubeadm token create --print-join-command` prints it, or a YAML file with a
    /// JoinConfiguration.
    pub fn read(text: &str) -> Result<Self, NotAJoin> {
        let join = if command::is_command(text) { command::read(text)? } else { document::read(text)? };
        if join.endpoint.is_empty() {
            return Err(NotAJoin::new("it names no API server", "give its address and port: kubeadm join 10.0.1.1:6443 …"));
        }
        if join.token.is_none() {
            return Err(NotAJoin::new("it has no token", "a token is made on a control-plane node: kubeadm token create"));
        }
        Ok(join)
    }

    /// The bootstrap token, for a file of mode 0600.
    #[must_use]
    pub const fn token(&self) -> Option<&Secret<String>> {
        self.token.as_ref()
    }

    /// What hostlet does otherwise, or not at all, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn set_token(&mut self, token: String) {
        self.token = Some(Secret::new(token));
    }

    /// One of kubelet's own flags: where hostlet has a key for it, that is taken.
    fn kubelet_argument(&mut self, name: &str, value: &str) {
        let list = || value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
        match name {
            "node-ip" => self.node_ips = list().collect(),
            "hostname-override" => self.node_name = Some(value.to_owned()),
            "node-labels" => {
                let pairs = list().map(|pair| pair.split_once('=').map_or((pair.clone(), String::new()), own));
                self.labels.extend(pairs);
            }
            "register-with-taints" => self.taints.extend(list()),
            "cloud-provider" => self.cloud_provider = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "container-runtime-endpoint" => self.cri_socket = Some(value.to_owned()),
            _ => self.extra_args.push(format!("--{name}={value}")),
        }
    }

    fn control_plane(&mut self) {
        self.role = Some(Role::ControlPlane);
        self.note(
            "hostlet installs the kubelet and flannel; the control plane's own programs are not its business: put their \
             static pods into /etc/kubernetes/manifests",
        );
    }
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Something that kubeadm has and hostlet has in its own way: `None` where hostlet does not know it either.
fn left_out(key: &str) -> Option<&'static str> {
    Some(match key {
        "certificate-key" | "certificateKey" => "certificates of the control plane are kubeadm's",
        "apiserver-bind-port" | "bindPort" => "where an API server on this node listens is its static pod's business",
        "ignore-preflight-errors" | "ignorePreflightErrors" => {
            "hostlet's checks are waived one by one, by their own ids and with a reason: preflight.waive"
        }
        "skip-phases" | "skipPhases" => "hostlet has no phases",
        "patches" => "fields of KubeletConfiguration go under [kubelet.config]",
        "rootfs" => "hostlet installs on the host that it runs on",
        "dry-run" | "dryRun" => "hostlet plan shows what would be done",
        "v" => "hostlet says more with --verbose",
        "imagePullPolicy" | "imagePullSerial" => "hostlet pulls no images",
        "timeouts" | "timeout" => "kubelet.health-timeout says how long hostlet waits",
        "caCertPath" => "hostlet keeps the cluster's authority in its generations",
        _ => return None,
    })
}

fn unknown(what: &str, key: &str, known: &[&str]) -> NotAJoin {
    let meant = nearest(key, known.iter().copied());
    let hint = meant.map_or_else(String::new, |meant| format!("did you mean {meant:?}? "));
    NotAJoin::new(format!("{what} {key:?} is not known"), format!("{hint}known are: {}", known.join(", ")))
}

#[cfg(test)]
mod tests;
