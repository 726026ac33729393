//! The links that the Node tells: that it is there and this machine, its pods' network, and its condition Ready.

use super::{
    Expectation, Link, Obstacle,
    certificate::{ANSWER, unreachable},
};
use crate::{
    host::{
        api_server::{self, ClientCertificate, Clocks, Credential, Door, Node, NodeAnswer, Question},
        kubeconfig, machine,
    },
    model::layout,
};

const KUBELET: &str = "kubelet.service";

/// The Node of a name, asked for with a kubelet's certificate and where its kubeconfig leads; and what time it was.
pub async fn node_of(name: &str, certificate: ClientCertificate) -> Result<(NodeAnswer, Option<Clocks>), Obstacle> {
    let server = kubeconfig::server(layout::KUBELET_KUBECONFIG.as_ref())
        .map_err(|error| Obstacle::new(Link::Registered, error.to_string(), "journalctl -u kubelet").of_unit(KUBELET))?;
    let credential = Credential::Certificate(certificate);
    let door = Door { server: &server.url, authority: &server.authority, credential: Some(&credential) };
    let answers = api_server::ask(&Question { door, node: name }, ANSWER).await;
    answers.map(|answers| (answers.node, answers.clocks)).map_err(|error| unreachable(Link::Registered, &error))
}

/// The Node, if it is there and this machine.
pub(super) fn registered(expectation: &Expectation, answer: NodeAnswer) -> Result<(Node, String), Obstacle> {
    let name = &expectation.node;
    let obstacle = |found: String, remedy: &str| Err(Obstacle::new(Link::Registered, found, remedy));
    let node = match answer {
        NodeAnswer::Present(node) => *node,
        NodeAnswer::Absent | NodeAnswer::NotAsked => {
            let found = format!("the kubelet has not registered the Node {name}");
            return obstacle(found, "look at why: journalctl -u kubelet").map_err(|obstacle| obstacle.of_unit(KUBELET));
        }
        NodeAnswer::Unauthorized => {
            let found = "the API server does not take the kubelet's client certificate (401)".to_owned();
            return obstacle(
                found,
                "is the authority that signed it the API server's --client-ca-file? Is the certificate another cluster's? Then \
                 remove it, and run hostlet install with a bootstrap token",
            )
            .map_err(Obstacle::settled);
        }
        NodeAnswer::Forbidden => {
            let found = format!("the API server does not let system:node:{name} read its own Node (403)");
            return obstacle(found, "start kube-apiserver with --authorization-mode=Node,RBAC").map_err(Obstacle::settled);
        }
        NodeAnswer::Unclear(found) => return obstacle(found, "look at the API server's log"),
    };
    let this = machine::id().unwrap_or_default();
    if !this.is_empty() && !node.system.machine_id.eq_ignore_ascii_case(&this) {
        let found =
            format!("the Node {name} is another machine: its machine id is {}, this one's {this}", node.system.machine_id);
        let remedy = format!("set node.name to a name of its own, or kubectl delete node {name} where that machine is gone");
        return obstacle(found, &remedy).map_err(Obstacle::settled);
    }
    Ok((node, format!("Node {name}, machine id {this}")))
}

/// The networks of its pods.
pub(super) fn pod_cidr(node: &Node) -> Result<String, Obstacle> {
    if node.pod_cidrs.is_empty() {
        return Err(Obstacle::new(
            Link::PodCidr,
            "the Node has no podCIDR, so that flannel has no network for its pods",
            "is --allocate-node-cidrs on for kube-controller-manager, and has the range of its --cluster-cidr networks left?",
        ));
    }
    Ok(node.pod_cidrs.join(", "))
}

/// Whether it is Ready with the kubelet that is installed, and says so since it was started.
pub(super) fn ready(expectation: &Expectation, node: &Node) -> Result<String, Obstacle> {
    let obstacle = |found: String, remedy: &str| Err(Obstacle::new(Link::Ready, found, remedy).of_unit(KUBELET));
    let wanted = format!("v{}", expectation.kubelet);
    if node.kubelet_version != wanted {
        let found = format!("the Node tells of kubelet {}, and {wanted} is installed", node.kubelet_version);
        return obstacle(found, "the kubelet has not reported since it was started: journalctl -u kubelet");
    }
    let Some(ready) = &node.ready else {
        return obstacle("the Node has no condition Ready yet".to_owned(), "journalctl -u kubelet");
    };
    if ready.status != "True" {
        let found = format!("{}: {}", ready.reason, ready.message);
        return obstacle(found, remedy(&ready.reason, &ready.message));
    }
    if expectation.outdated.as_ref().is_some_and(|before| *before == ready.heartbeat) {
        let found = format!("the Node was last reported Ready at {}, before the kubelet was started anew", ready.heartbeat);
        return obstacle(found, "journalctl -u kubelet");
    }
    Ok(format!("kubelet {wanted}"))
}

/// What helps against what the kubelet says of itself. Source: kubernetes, pkg/kubelet/nodestatus/setters.go.
fn remedy(reason: &str, message: &str) -> &'static str {
    if message.contains("NetworkPluginNotReady") || message.contains("cni plugin not initialized") {
        "the container runtime has no CNI configuration that it can use: look into /etc/cni/net.d and /opt/cni/bin"
    } else if reason == "NodeStatusUnknown" {
        "the control plane hears nothing from the kubelet: journalctl -u kubelet"
    } else if message.contains("container runtime") {
        "look at the container runtime: crictl info"
    } else {
        "mend what the kubelet says; kubectl describe node shows all conditions"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::api_server::{Condition, SystemInfo};

    fn expectation() -> Expectation {
        Expectation {
            node: "node-07".parse().unwrap(),
            kubelet: "1.36.4".parse().unwrap(),
            root_directory: "/var/lib/kubelet".into(),
            runtime: "/run/containerd/containerd.sock".into(),
            flannel: None,
            outdated: None,
        }
    }

    fn node(status: &str, reason: &str, message: &str) -> Node {
        let ready = Condition {
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            heartbeat: "2026-11-25T09:00:00Z".to_owned(),
        };
        let system = SystemInfo { machine_id: machine::id().unwrap_or_default(), ..SystemInfo::default() };
        let kubelet_version = "v1.36.4".to_owned();
        Node { is_ready: status == "True", ready: Some(ready), system, kubelet_version, ..Node::default() }
    }

    #[test]
    fn a_node_that_is_not_there_not_ours_or_not_to_be_read_is_told_apart() {
        let other = Node { system: SystemInfo { machine_id: "other".into(), ..SystemInfo::default() }, ..Node::default() };
        for (answer, found, remedy) in [
            (NodeAnswer::Absent, "has not registered the Node node-07", "journalctl -u kubelet"),
            (NodeAnswer::Unauthorized, "(401)", "--client-ca-file"),
            (NodeAnswer::Forbidden, "read its own Node (403)", "--authorization-mode=Node,RBAC"),
            (NodeAnswer::Unclear("it answers 500".into()), "it answers 500", "log"),
            (NodeAnswer::Present(Box::new(other)), "another machine: its machine id is other", "kubectl delete node node-07"),
        ] {
            let obstacle = registered(&expectation(), answer).unwrap_err();
            assert!(obstacle.found.contains(found) && obstacle.remedy.contains(remedy), "{obstacle:?}");
        }
        let own = NodeAnswer::Present(Box::new(node("True", "KubeletReady", "")));
        assert!(registered(&expectation(), own).is_ok());
    }

    #[test]
    fn a_node_without_a_network_names_the_flag_that_gives_one() {
        let mut found = node("True", "", "");
        assert!(pod_cidr(&found).unwrap_err().remedy.contains("--allocate-node-cidrs"));
        found.pod_cidrs = vec!["10.244.7.0/24".into(), "fd00:7::/64".into()];
        assert_eq!(pod_cidr(&found).unwrap(), "10.244.7.0/24, fd00:7::/64");
    }

    #[test]
    fn ready_counts_from_the_installed_kubelet_and_since_it_was_started() {
        assert_eq!(ready(&expectation(), &node("True", "KubeletReady", "")).unwrap(), "kubelet v1.36.4");
        let other = Expectation { kubelet: "1.36.5".parse().unwrap(), ..expectation() };
        let found = ready(&other, &node("True", "", "")).unwrap_err().found;
        assert!(found.contains("kubelet v1.36.4, and v1.36.5 is installed"), "{found}");
        let outdated = Expectation { outdated: Some("2026-11-25T09:00:00Z".into()), ..expectation() };
        assert!(ready(&outdated, &node("True", "", "")).unwrap_err().found.contains("before the kubelet was started anew"));
        let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network \
                       plugin returns error: cni plugin not initialized";
        let found = ready(&expectation(), &node("False", "KubeletNotReady", message)).unwrap_err();
        assert!(found.found.contains(message) && found.remedy.contains("/etc/cni/net.d"), "{found:?}");
        let silent = ready(&expectation(), &node("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."));
        assert!(silent.unwrap_err().remedy.contains("hears nothing"));
    }
}
