//! kubeconfig files, as JSON (a part of the YAML that Kubernetes' clients read).

use serde_json::{Value, json};
use url::Url;

/// A kubeconfig with one cluster, one user and one context.
pub(super) fn render(server: &Url, authority: &str, user: &str, credential: &Value) -> String {
    let server = server.as_str().trim_end_matches('/');
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "default", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": user, "user": credential }],
        "contexts": [{ "name": "default", "context": { "cluster": "default", "user": user } }],
        "current-context": "default",
    });
    format!("{kubeconfig:#}\n")
}
