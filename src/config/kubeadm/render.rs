//! What was read, as TOML.

use std::path::Path;

use toml::{Table, Value};

use super::{Join, Role};

impl Join {
    /// A configuration that names the file of the token. It is parsed by whoever wants to know whether its values are right.
    #[must_use]
    pub fn to_toml(&self, token_file: &Path) -> String {
        let mut configuration = Table::new();
        let mut section = |name: &str, keys: Vec<(&str, Option<Value>)>| {
            let keys: Table = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
            if !keys.is_empty() {
                configuration.insert(name.to_owned(), Value::Table(keys));
            }
        };
        let labels: Table = self.labels.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        let role = match self.role {
            Some(Role::ControlPlane) => Some(Value::from("control-plane")),
            Some(Role::Worker) | None => None,
        };
        section(
            "node",
            vec![
                ("name", self.node_name.clone().map(Value::String)),
                ("ip", one_or_many(&self.node_ips)),
                ("role", role),
                ("cloud-provider", self.cloud_provider.clone().map(Value::String)),
                ("taints", list(&self.taints)),
                ("labels", (!labels.is_empty()).then_some(Value::Table(labels))),
            ],
        );
        section(
            "cluster",
            vec![
                ("server", Some(Value::String(format!("https://{}", self.endpoint)))),
                ("ca-hash", one_or_many(&self.ca_hashes)),
                ("token-file", Some(Value::String(token_file.display().to_string()))),
            ],
        );
        section(
            "flannel",
            vec![("token-file", Some(Value::String(token_file.with_file_name("flannel-token").display().to_string())))],
        );
        section("kubelet", vec![("extra-args", list(&self.extra_args))]);
        section(
            "runtime",
            vec![("socket", self.cri_socket.clone().map(Value::String)), ("unit", self.unit().map(Value::from))],
        );
        // No catalog has this plugin's digest, and a configuration that needs a second look at once is none.
        let trusting = Table::from_iter([("trust-on-first-use".to_owned(), Value::Boolean(true))]);
        section("sources", vec![("flannel-cni", Some(Value::Table(trusting)))]);
        let mut text = "# Made by `hostlet config from`; `hostlet config example` explains every key.\n".to_owned();
        let network = "flannel's own token goes into the file that flannel.token-file names; where the cluster's network runs as \
                       pods, say enabled = false there instead";
        let trust = "the digest of flannel's CNI plugin is taken from the file beside it, once, and pinned from then on; \
                     pin it yourself with sources.flannel-cni.digest";
        for note in self.notes.iter().map(String::as_str).chain([network, trust]) {
            text.push_str(&format!("# {note}\n"));
        }
        text + "\n" + &configuration.to_string()
    }

    /// The usual unit of a runtime that is known by its socket.
    fn unit(&self) -> Option<&'static str> {
        let socket = self.cri_socket.as_deref()?;
        [("crio", "crio.service"), ("cri-dockerd", "cri-docker.service")]
            .into_iter()
            .find_map(|(name, unit)| socket.contains(name).then_some(unit))
    }
}

fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| Value::Array(texts.iter().cloned().map(Value::String).collect()))
}

fn one_or_many(texts: &[String]) -> Option<Value> {
    match texts {
        [one] => Some(Value::String(one.clone())),
        _ => list(texts),
    }
}
