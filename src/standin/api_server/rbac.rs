//! Who may do what: the roles that a cluster has from the beginning, those that kubeadm adds, flannel's, and the node
//! authorizer.

use serde_json::{Value, json};

use super::{Answer, Controllers, Identity};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) verb: String,
    group: String,
    namespace: String,
    pub(super) resource: String,
    subresource: String,
    pub(super) name: String,
}

impl Attributes {
    /// From method and path: `/api/v1/...` or `/apis/GROUP/VERSION/...`.
    pub(super) fn of(method: &str, path: &[&str]) -> Option<Self> {
        let (group, rest) = match path {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group @ ("certificates.k8s.io" | "coordination.k8s.io" | "authorization.k8s.io"), "v1", rest @ ..] => {
                (*group, rest)
            }
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", ""),
            [resource, name] => (*resource, *name, ""),
            [resource, name, subresource] => (*resource, *name, *subresource),
            _ => return None,
        };
        let verb = match (method, name) {
            ("GET", "") => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => return None,
        };
        let owned = str::to_owned;
        Some(Self {
            verb: owned(verb),
            group: owned(group),
            namespace: owned(namespace),
            resource: owned(resource),
            subresource: owned(subresource),
            name: owned(name),
        })
    }

    fn is(&self, verbs: &[&str], group: &str, resource: &str, subresource: &str) -> bool {
        verbs.contains(&self.verb.as_str())
            && (self.group.as_str(), self.resource.as_str(), self.subresource.as_str()) == (group, resource, subresource)
    }

    /// `nodes/status`
    fn shown(&self) -> String {
        if self.subresource.is_empty() { self.resource.clone() } else { format!("{}/{}", self.resource, self.subresource) }
    }
}

pub(super) fn check(identity: &Identity, controllers: &Controllers, attributes: &Attributes) -> Result<(), Answer> {
    decide(identity, controllers, attributes).map_err(|more| {
        let Attributes { verb, group, namespace, name, .. } = attributes;
        let (user, resource) = (&identity.user, attributes.shown());
        let scope =
            if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace \"{namespace}\"") };
        let why = format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}{more}");
        Answer::forbidden(&attributes.resource, name, &why)
    })
}

/// `Err` says what the node authorizer adds to the refusal.
fn decide(identity: &Identity, controllers: &Controllers, asked: &Attributes) -> Result<(), String> {
    const CSR: (&str, &str) = ("certificates.k8s.io", "certificatesigningrequests");
    let bootstrapper = asked.is(&["create", "get", "list", "watch"], CSR.0, CSR.1, "");
    if let Some(node) = identity.node() {
        let own = |what: &str| {
            let told = format!(": node '{node}' cannot {what} '{}', only its own", asked.name);
            if asked.name == node { Ok(()) } else { Err(told) }
        };
        return match () {
            // The role system:node.
            () if bootstrapper => Ok(()),
            () if asked.is(&["create"], "", "nodes", "") => Ok(()),
            () if asked.is(&["get"], "", "nodes", "") => own("read").map_err(|told| told + " Node object"),
            () if asked.is(&["update", "patch"], "", "nodes", "status") => own("update"),
            () if asked.is(&["create"], "coordination.k8s.io", "leases", "") => Ok(()),
            () if asked.is(&["get", "update", "patch", "delete"], "coordination.k8s.io", "leases", "") => own("access"),
            () => Err(String::new()),
        };
    }
    let is_bootstrap = identity.is_in("system:bootstrappers");
    let is_flannel = identity.user == "system:serviceaccount:kube-flannel:flannel";
    let allowed = match () {
        () if is_bootstrap && bootstrapper => controllers.bootstrappers,
        () if is_bootstrap && asked.is(&["get"], "", "nodes", "") => controllers.get_nodes,
        () if is_flannel && asked.is(&["get", "list", "watch"], "", "nodes", "") => controllers.flannel,
        () if is_flannel && asked.is(&["patch"], "", "nodes", "status") => controllers.flannel,
        () => false,
    };
    if allowed { Ok(()) } else { Err(String::new()) }
}

/// A SelfSubjectAccessReview.
pub(super) fn review(identity: &Identity, controllers: &Controllers, mut review: Value) -> Result<Answer, Answer> {
    let wanted = &review["spec"]["resourceAttributes"];
    if review["kind"] != "SelfSubjectAccessReview" || wanted.is_null() {
        return Err(Answer::invalid("SelfSubjectAccessReview", "", "spec.resourceAttributes: Required value"));
    }
    let text = |key: &str| wanted[key].as_str().unwrap_or_default().to_owned();
    let attributes = Attributes {
        verb: text("verb"),
        group: text("group"),
        namespace: text("namespace"),
        resource: text("resource"),
        subresource: text("subresource"),
        name: text("name"),
    };
    review["status"] = json!({ "allowed": decide(identity, controllers, &attributes).is_ok() });
    Ok(Answer::created(&review))
}
