//! KubeletConfiguration: hostlet's defaults, and over them any field that the user sets.
//!
//! Written as JSON, which the kubelet reads as the YAML it is a part of: no quoting can go wrong.
//! Source of the fields: kubernetes 1.36, kubelet.config.k8s.io/v1beta1.

use serde_json::{Map, Value, json};

use crate::{
    config::{CertificateAuthority, Settings},
    facts::HostFacts,
    model::layout,
};

/// Where the authority of the kubelet's clients lies: in the generation, behind a path that stays.
pub(super) const AUTHORITY: &str = "/opt/hostlet/current/etc/ca.crt";

/// The configuration as JSON text.
pub(super) fn render(settings: &Settings, facts: &HostFacts) -> String {
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": format!("unix://{}", settings.runtime.socket.display()),
        "readOnlyPort": 0,
        "rotateCertificates": true,
        "staticPodPath": format!("{}/manifests", layout::KUBERNETES),
    });
    if facts.resolved_stub {
        configuration["resolvConf"] = json!("/run/systemd/resolve/resolv.conf");
    }
    merge(&mut configuration, &access(settings));
    if let Some(cluster) = &settings.cluster {
        merge(&mut configuration, &json!({ "clusterDNS": cluster.dns, "clusterDomain": cluster.domain }));
    }
    let taints: Vec<Value> = settings
        .node
        .taints
        .iter()
        .map(|taint| json!({ "key": taint.key, "value": taint.value, "effect": taint.effect }))
        .collect();
    if !taints.is_empty() {
        configuration["registerWithTaints"] = Value::Array(taints);
    }
    merge(&mut configuration, &Value::Object(settings.kubelet.config.clone()));
    format!("{configuration:#}\n")
}

/// Who may ask the kubelet for what. Without a cluster there is nobody to ask, so it listens on the loopback only.
fn access(settings: &Settings) -> Value {
    match &settings.cluster {
        Some(_) => json!({
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": AUTHORITY },
            },
            "authorization": { "mode": "Webhook" },
        }),
        None => json!({
            "address": "127.0.0.1",
            "authentication": { "anonymous": { "enabled": false }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
        }),
    }
}

/// The cluster's authority, from the file or the configuration.
pub(super) fn authority<'a>(settings: &'a Settings, facts: &'a HostFacts) -> Option<&'a str> {
    match &settings.cluster.as_ref()?.certificate_authority {
        CertificateAuthority::Inline(pem) => Some(pem),
        CertificateAuthority::File(_) | CertificateAuthority::Discovered(_) => {
            facts.credentials.certificate_authority.as_deref()
        }
    }
}

/// Objects are merged, everything else is replaced, as the kubelet's own `--config-dir` does (RFC 7386, without nulls).
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => merge_objects(into, from),
        (into, from) => *into = from.clone(),
    }
}

fn merge_objects(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        merge(into.entry(key.clone()).or_insert(Value::Null), value);
    }
}
