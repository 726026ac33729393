//! `[node]`

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    config::{
        given::Field,
        nouns::{not_one_of, read_from_text},
        problems::Problems,
        raw::RawNode,
        settings::{Node, Role, Taint},
        text::Span,
    },
    model::{Invalid, NodeAddress, NodeName},
};

pub(super) fn node(raw: RawNode, problems: &mut Problems<'_>) -> Node {
    let name = problems.value(raw.name);
    let addresses = problems.list(raw.ip.0);
    let role = problems.value(raw.role).unwrap_or(Role::Worker);
    Node {
        name,
        addresses: one_of_each_family(addresses, "node.ip", problems),
        role,
        cloud_provider: problems.value(raw.cloud_provider),
        labels: labels(raw.labels, problems),
        taints: taints(raw.taints, problems),
    }
}

/// `key` is the one that has them, for the message.
pub(super) fn one_of_each_family(
    addresses: Vec<(NodeAddress, Span)>,
    key: &str,
    problems: &mut Problems<'_>,
) -> Vec<NodeAddress> {
    let mut kept: Vec<NodeAddress> = Vec::new();
    for (address, at) in addresses {
        match kept.iter().find(|other| other.ip().is_ipv4() == address.ip().is_ipv4()) {
            Some(other) => {
                let problem = problems.add(&at, format!("{address} is of the same family as {other}"));
                problem.help.push(format!("{key} takes at most one IPv4 and one IPv6 address"));
            }
            None => kept.push(address),
        }
    }
    kept
}

fn labels(raw: BTreeMap<String, Field<String>>, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, field) in raw {
        let Some((value, at)) = problems.located(field) else { continue };
        if let Err(invalid) = qualified_name(&key).and_then(|()| allowed_for_kubelets(&key)) {
            problems.add_at_key(&[&format!("node.labels.{key}")], invalid);
        } else if let Err(invalid) = label_value(&value) {
            problems.add(&at, invalid);
        } else {
            labels.insert(key, value);
        }
    }
    labels
}

fn taints(raw: Vec<Field<Taint>>, problems: &mut Problems<'_>) -> Vec<Taint> {
    let mut taints: Vec<Taint> = Vec::new();
    for (taint, at) in problems.list(raw) {
        if taints.iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
            problems.add(&at, format!("the taint {}:{} is given twice", taint.key, taint.effect));
        } else {
            taints.push(taint);
        }
    }
    if !taints.is_empty() && problems.mentioned("kubelet.config.registerWithTaints") {
        let message = "taints are given here and in node.taints";
        problems.add_at_key(&["kubelet.config.registerWithTaints"], message).help.push("give them in one place".to_owned());
    }
    taints
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl std::str::FromStr for Taint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(text, "a taint such as dedicated=gpu:NoSchedule or maintenance:NoExecute");
        let (pair, effect) = text.rsplit_once(':').ok_or_else(invalid)?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !EFFECTS.contains(&effect) {
            return Err(not_one_of(effect, "the effect of a taint", &EFFECTS));
        }
        qualified_name(key)?;
        label_value(value)?;
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }
}

read_from_text!(Taint, "A taint as key=value:Effect or key:Effect.");

/// A label's or taint's key. Source: Kubernetes' IsQualifiedName.
fn qualified_name(text: &str) -> Result<(), Invalid> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let prefix_is_domain = prefix.is_none_or(|prefix| prefix.parse::<NodeName>().is_ok());
    if prefix_is_domain && !name.is_empty() && is_label_text(name) {
        return Ok(());
    }
    let expected = "a label's key: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends, optionally \
                    after a domain and '/'";
    Err(Invalid::new(text, expected))
}

/// A label's value. Source: Kubernetes' IsValidLabelValue.
fn label_value(text: &str) -> Result<(), Invalid> {
    let expected = "a label's value: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends";
    if is_label_text(text) { Ok(()) } else { Err(Invalid::new(text, expected)) }
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && (text.is_empty() || (text.starts_with(edge) && text.ends_with(edge)))
}

/// The kubelet exits when it is told to give itself a label of Kubernetes' own domains that is not meant for it.
/// Source: kubelet, ValidateKubeletFlags and IsKubeletLabel.
fn allowed_for_kubelets(key: &str) -> Result<(), Invalid> {
    const ALLOWED: [&str; 11] = [
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
    ];
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|child| child.ends_with('.'));
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    if !kubernetes || ALLOWED.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io") {
        return Ok(());
    }
    let expected = format!(
        "a label that a kubelet may give itself, and it would exit; after it joined, run: kubectl label node NAME {key}=VALUE"
    );
    Err(Invalid::new(key, expected))
}
