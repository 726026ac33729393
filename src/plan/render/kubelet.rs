//! The kubelet's files: configuration, flags, authority, credentials.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{PlanError, kubeconfig, kubelet_configuration};
use crate::{
    config::{CloudProvider, Settings},
    facts::HostFacts,
    host::kubeconfig::Identity,
    model::{NodeIdentity, Secret, layout},
    plan::wanted::Builder,
    transaction::Content,
};

pub(super) fn render(
    builder: &mut Builder,
    settings: &Settings,
    facts: &HostFacts,
    identity: &NodeIdentity,
) -> Result<(), PlanError> {
    builder.file("etc/kubelet.json", kubelet_configuration::render(settings, facts));
    builder.file("etc/kubelet.env", environment(settings, identity));
    builder.directory(&settings.kubelet.root_directory, 0o750, "the kubelet's root directory");
    builder.directory(format!("{}/manifests", layout::KUBERNETES), 0o755, "static pods");
    if let Some(authority) = kubelet_configuration::authority(settings, facts) {
        builder.file("etc/ca.crt", authority);
    }
    bootstrap(builder, settings, facts)
}

/// The kubeconfig with the token is wanted until the kubelet has its client certificate, and not a moment longer: the
/// kubelet ignores it from then on, and a token that lies about can be stolen.
fn bootstrap(builder: &mut Builder, settings: &Settings, facts: &HostFacts) -> Result<(), PlanError> {
    let Some(cluster) = &settings.cluster else {
        builder.absent(layout::BOOTSTRAP_KUBECONFIG, "the kubelet runs standalone");
        return Ok(());
    };
    if facts.client_certificate {
        builder.bootstrapped(layout::BOOTSTRAP_KUBECONFIG);
        cluster.own_credentials().for_each(|path| builder.bootstrapped(path));
        return Ok(());
    }
    let credential = match facts.credentials.bootstrap.as_ref().ok_or(PlanError::NoToken)? {
        Identity::Token(token) => json!({ "token": token.expose() }),
        Identity::Certificate { certificate, key } => json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key.expose()),
        }),
    };
    let text = kubeconfig::render(&cluster.server, kubelet_configuration::AUTHORITY, "kubelet-bootstrap", &credential);
    let content = Content::Secret(Secret::new(text.into_bytes()));
    builder.transient_file(layout::BOOTSTRAP_KUBECONFIG, content, "the kubelet asks for its client certificate with it");
    Ok(())
}

/// The flags that KubeletConfiguration has no field for. The file is read by systemd, which splits the value at blanks:
/// the configuration refuses arguments with blanks.
fn environment(settings: &Settings, identity: &NodeIdentity) -> String {
    let root = settings.kubelet.root_directory.display();
    let mut flags = vec![
        format!("--config={}/etc/kubelet.json", layout::CURRENT),
        format!("--hostname-override={}", identity.name),
        format!("--cert-dir={root}/pki"),
        format!("--root-dir={root}"),
    ];
    if settings.cluster.is_some() {
        flags.push(format!("--kubeconfig={}", layout::KUBELET_KUBECONFIG));
        flags.push(format!("--bootstrap-kubeconfig={}", layout::BOOTSTRAP_KUBECONFIG));
    }
    let addresses: Vec<String> = identity.addresses.iter().map(ToString::to_string).collect();
    flags.push(format!("--node-ip={}", addresses.join(",")));
    if let Some(CloudProvider::External) = settings.node.cloud_provider {
        flags.push("--cloud-provider=external".to_owned());
    }
    let labels: Vec<String> = settings.node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        flags.push(format!("--node-labels={}", labels.join(",")));
    }
    flags.extend(settings.kubelet.extra_args.iter().cloned());
    format!("# Written by hostlet.\nKUBELET_ARGS={}\n", flags.join(" "))
}
