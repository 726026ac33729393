//! What the API server's answers say, as far as it matters here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::Version;

/// A Node: whether it is Ready, and which machine it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its condition `Ready` is true.
    pub is_ready: bool,
    /// That condition, where it has one.
    pub ready: Option<Condition>,
    /// The networks of its pods, one of each family.
    pub pod_cidrs: Vec<String>,
    /// What the kubelet says its version is: `v1.36.4`.
    pub kubelet_version: String,
    /// The machine behind it.
    pub system: SystemInfo,
    /// Its addresses in the cluster (`InternalIP`).
    pub addresses: Vec<String>,
}

/// One of a Node's conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the kubelet last said so, as it wrote it.
    pub heartbeat: String,
}

/// NodeSystemInfo, as far as it tells machines apart. What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SystemInfo {
    /// /etc/machine-id
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// The firmware's UUID.
    #[serde(rename = "systemUUID")]
    pub system_uuid: String,
    /// The kernel's random id of this boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
}

/// apimachinery's version.Info.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    major: String,
    minor: String,
    git_version: String,
}

/// `gitVersion` is `v1.36.4`, with a distribution's `+k3s1` or `-gke.100`; `minor` may be `36+`.
pub(super) fn version(body: &[u8]) -> Option<Version> {
    let info: Info = serde_json::from_slice(body).ok()?;
    let bare = info.git_version.split('+').next().unwrap_or_default();
    if let Ok(version) = bare.parse() {
        return Some(version);
    }
    let number = |text: &str| text.trim_end_matches('+').parse::<u16>().ok();
    Some(Version::new(number(&info.major)?, number(&info.minor)?, 0))
}

/// A Node of a list: what makes it a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNode {
    /// Its name.
    pub name: String,
    /// Its condition `Ready` is true.
    pub is_ready: bool,
    /// It has the label node-role.kubernetes.io/control-plane, or that of older clusters.
    pub is_control_plane: bool,
    /// Its addresses in the cluster (`InternalIP`).
    pub addresses: Vec<String>,
}

/// A page of the list of Nodes.
pub(super) struct Page {
    pub(super) nodes: Vec<ListedNode>,
    /// Asks for the next page; empty where this is the last.
    pub(super) next: String,
}

#[derive(Deserialize)]
struct List {
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    // null where Go has an empty list.
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct ObjectMeta {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    conditions: Vec<Typed>,
    addresses: Vec<Typed>,
    node_info: NodeInfo,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    #[serde(flatten)]
    system: SystemInfo,
    kubelet_version: String,
}

/// A condition or an address.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    address: String,
    reason: String,
    message: String,
    last_heartbeat_time: Option<String>,
}

/// A Node, as JSON.
#[must_use]
pub fn node(body: &[u8]) -> Option<Node> {
    let Object { spec, status, .. } = serde_json::from_slice(body).ok().filter(|object: &Object| object.kind == "Node")?;
    let pod_cidrs = if spec.pod_cidrs.is_empty() { vec![spec.pod_cidr] } else { spec.pod_cidrs };
    Some(Node {
        is_ready: status.is_ready(),
        ready: status.ready().map(|ready| Condition {
            status: ready.status.clone(),
            reason: ready.reason.clone(),
            message: ready.message.clone(),
            heartbeat: ready.last_heartbeat_time.clone().unwrap_or_default(),
        }),
        pod_cidrs: pod_cidrs.into_iter().filter(|cidr| !cidr.is_empty()).collect(),
        addresses: status.internal_ips(),
        kubelet_version: status.node_info.kubelet_version,
        system: status.node_info.system,
    })
}

impl Status {
    fn ready(&self) -> Option<&Typed> {
        self.conditions.iter().find(|condition| condition.kind == "Ready")
    }

    fn is_ready(&self) -> bool {
        self.ready().is_some_and(|ready| ready.status == "True")
    }

    fn internal_ips(&self) -> Vec<String> {
        self.addresses.iter().filter(|at| at.kind == "InternalIP").map(|at| at.address.clone()).collect()
    }
}

pub(super) fn nodes(body: &[u8]) -> Option<Page> {
    // Source: kubernetes' well-known labels; "master" is what clusters before 1.24 have.
    const ROLES: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
    let list: List = serde_json::from_slice(body).ok().filter(|list: &List| list.kind == "NodeList")?;
    let node = |Item { metadata, status }| ListedNode {
        is_control_plane: ROLES.iter().any(|role| metadata.labels.contains_key(*role)),
        is_ready: status.is_ready(),
        addresses: status.internal_ips(),
        name: metadata.name,
    };
    Some(Page { nodes: list.items.unwrap_or_default().into_iter().map(node).collect(), next: list.metadata.next })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distributions_write_their_versions_in_their_own_ways() {
        for (body, expected) in [
            (r#"{"major":"1","minor":"36","gitVersion":"v1.36.4","goVersion":"go1.26"}"#, "1.36.4"),
            (r#"{"major":"1","minor":"36","gitVersion":"v1.36.4+k3s1"}"#, "1.36.4"),
            (r#"{"major":"1","minor":"36+","gitVersion":"v1.36.4-gke.100"}"#, "1.36.4-gke.100"),
            (r#"{"major":"1","minor":"36+","gitVersion":"of our own"}"#, "1.36.0"),
        ] {
            assert_eq!(version(body.as_bytes()).unwrap().to_string(), expected, "{body}");
        }
        assert_eq!(version(b"<html>"), None);
        assert_eq!(version(b"{}"), None);
    }

    #[test]
    fn a_node_is_ready_by_its_condition_and_known_by_its_machine() {
        let found = node(
            br#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-07"},
                "spec":{"podCIDR":"10.244.7.0/24","podCIDRs":["10.244.7.0/24"]},"status":{
                "addresses":[{"type":"InternalIP","address":"10.0.1.7"},{"type":"Hostname","address":"node-07"}],
                "conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True","reason":"KubeletReady",
                    "message":"kubelet is posting ready status","lastHeartbeatTime":"2026-11-25T09:00:00Z"}],
                "nodeInfo":{"machineID":"ab","systemUUID":"CD","bootID":"ef","kubeletVersion":"v1.36.4"}}}"#,
        );
        let system = SystemInfo { machine_id: "ab".into(), system_uuid: "CD".into(), boot_id: "ef".into() };
        let ready = Condition {
            status: "True".into(),
            reason: "KubeletReady".into(),
            message: "kubelet is posting ready status".into(),
            heartbeat: "2026-11-25T09:00:00Z".into(),
        };
        let expected = Node {
            is_ready: true,
            ready: Some(ready),
            pod_cidrs: vec!["10.244.7.0/24".into()],
            kubelet_version: "v1.36.4".into(),
            system,
            addresses: vec!["10.0.1.7".into()],
        };
        assert_eq!(found, Some(expected));
        assert_eq!(node(br#"{"kind":"Status","code":404}"#), None);
        assert!(!node(br#"{"kind":"Node"}"#).unwrap().is_ready);
    }

    #[test]
    fn a_page_of_nodes_tells_names_roles_addresses_and_where_the_next_begins() {
        let page = nodes(
            br#"{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc=="},"items":[
                {"metadata":{"name":"cp-1","labels":{"node-role.kubernetes.io/control-plane":""}},"status":{
                    "addresses":[{"type":"InternalIP","address":"10.0.1.1"},{"type":"InternalIP","address":"fd00::1"}],
                    "conditions":[{"type":"Ready","status":"True"}]}},
                {"metadata":{"name":"w-1"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}]}"#,
        )
        .unwrap();
        assert_eq!(page.next, "abc==");
        assert_eq!(page.nodes[0].addresses, ["10.0.1.1", "fd00::1"]);
        let roles: Vec<_> = page.nodes.iter().map(|node| (node.name.as_str(), node.is_control_plane, node.is_ready)).collect();
        assert_eq!(roles, [("cp-1", true, true), ("w-1", false, false)]);
        let empty = nodes(br#"{"kind":"NodeList","metadata":{},"items":null}"#).unwrap();
        assert!(empty.nodes.is_empty() && empty.next.is_empty());
        assert!(nodes(br#"{"kind":"Status","items":[]}"#).is_none());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(body in ".{0,200}") {
            let _ = version(body.as_bytes());
            let _ = node(body.as_bytes());
            let _ = nodes(body.as_bytes());
        }
    }
}
