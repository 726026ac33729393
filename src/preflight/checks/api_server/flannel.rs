//! flannel's identity towards the API server: that it is known there and may do what flannel does.
//!
//! Asked as flannel, by SelfSubjectAccessReview: whoever is known may ask it (RBAC's system:basic-user), and nothing is kept.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    config::{Datastore, FlannelIdentity},
    host::api_server::{self, Call, Door, Unreachable},
    mesh::{self, Unusable},
    preflight::{
        Subject,
        check::{Again, Judgement, Looking},
    },
};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Verb, resource and subresource. Source: flannel's kube-flannel.yml, and config/flannel-rbac.yaml.
const NEEDED: [(&str, &str, &str); 4] =
    [("get", "nodes", ""), ("list", "nodes", ""), ("watch", "nodes", ""), ("patch", "nodes", "status")];
const APPLY: &str = "hostlet config flannel-rbac | kubectl apply -f -";
/// What is left of the deadline for saying what was seen.
const TO_ANSWER: Duration = Duration::from_millis(200);

/// What the API server says of one thing that flannel does.
enum Review {
    Allowed,
    Denied,
    /// It does not know who asks.
    Unauthorized,
    Unclear(StatusCode),
}

pub(super) fn may_do_its_work(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let settings = &subject.settings;
        let Some(cluster) = &settings.cluster else { return Ok(Judgement::pass(super::NO_CLUSTER)) };
        let Some(Datastore::Kube(identity)) = settings.flannel.as_ref().map(|flannel| &flannel.datastore) else {
            return Ok(Judgement::pass("flannel asks nothing of the API server"));
        };
        let left = || until.saturating_duration_since(Instant::now()).saturating_sub(TO_ANSWER);
        let (authority, credential) = match mesh::flannel_credential(cluster, identity, left()).await {
            Ok(known) => known,
            Err(Unusable::File(why)) => return Ok(cannot_be_read(identity, &why)),
            Err(Unusable::NotDiscovered(_)) => return Ok(not_known()),
        };
        let door = Door { server: &cluster.server, authority: &authority, credential: Some(&credential) };
        let limit = left();
        let reviews = join_all(NEEDED.map(|needed| review(door, needed, limit))).await;
        Ok(match reviews.into_iter().collect::<Result<Vec<_>, _>>() {
            Err(_) => not_known(),
            Ok(reviews) => judge(identity, &reviews),
        })
    })
}

/// Why the API server cannot be asked is apiserver's finding: said once is enough.
fn not_known() -> Judgement {
    Judgement::warning("not known: see apiserver").remedy("see apiserver").again(Again::Yes)
}

async fn review(
    door: Door<'_>,
    (verb, resource, subresource): (&str, &str, &str),
    limit: Duration,
) -> Result<Review, Unreachable> {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": verb, "group": "", "resource": resource, "subresource": subresource } },
    })
    .to_string();
    let call = Call { method: Method::POST, path: REVIEWS, body: Some(("application/json", body.as_bytes())) };
    let reply = api_server::call(door, &call, limit).await?;
    Ok(match (reply.status, reply.json()["status"]["allowed"].as_bool()) {
        (StatusCode::OK | StatusCode::CREATED, Some(true)) => Review::Allowed,
        (StatusCode::OK | StatusCode::CREATED, Some(false)) => Review::Denied,
        (StatusCode::UNAUTHORIZED, _) => Review::Unauthorized,
        (status, _) => Review::Unclear(status),
    })
}

fn path(identity: &FlannelIdentity) -> &Path {
    match identity {
        FlannelIdentity::Kubeconfig(path) | FlannelIdentity::TokenFile(path) => path,
    }
}

fn cannot_be_read(identity: &FlannelIdentity, why: &str) -> Judgement {
    let path = path(identity).display();
    Judgement::failure(format!("flannel's identity in {path} cannot be used: {why}"))
        .remedy(format!("{APPLY}; write the token that it makes into {path}, as its first lines say"))
        .again(Again::IfItBlocks)
}

fn judge(identity: &FlannelIdentity, reviews: &[Review]) -> Judgement {
    let path = path(identity).display();
    if reviews.iter().any(|review| matches!(review, Review::Unauthorized)) {
        return Judgement::failure(format!(
            "the API server does not take flannel's identity in {path} (401): it is wrong, has expired, or its ServiceAccount is gone"
        ))
        .remedy(format!("{APPLY}; write the token that it makes into {path}, as its first lines say"))
        .again(Again::IfItBlocks);
    }
    let shown = |(verb, resource, subresource): &(&str, &str, &str)| {
        if subresource.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {resource}/{subresource}") }
    };
    let those = |which: fn(&Review) -> bool| {
        let found = NEEDED.iter().zip(reviews).filter(|(_, review)| which(review)).map(|(needed, _)| shown(needed));
        found.collect::<Vec<_>>().join(", ")
    };
    let denied = those(|review| matches!(review, Review::Denied));
    if !denied.is_empty() {
        return Judgement::failure(format!("flannel's identity in {path} may not: {denied}"))
            .required(those(|_| true))
            .remedy(format!("{APPLY}; an identity of your own needs the rules of its ClusterRole"))
            .again(Again::IfItBlocks);
    }
    if let Some(Review::Unclear(status)) = reviews.iter().find(|review| matches!(review, Review::Unclear(_))) {
        return Judgement::warning(format!("not known: the API server answers {status} when it is asked what flannel may do"))
            .remedy("kubectl auth can-i list nodes --as system:serviceaccount:kube-flannel:flannel");
    }
    Judgement::pass(format!("{}, with {path}", those(|_| true)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The rules of flannel's own kube-flannel.yml, v0.25.0 to v0.28.9; a flanneld on the host needs no `get` for pods.
    const UPSTREAM: [(&str, &str); 5] =
        [("get", "pods"), ("get", "nodes"), ("list", "nodes"), ("watch", "nodes"), ("patch", "nodes/status")];

    #[test]
    fn the_manifest_grants_what_is_asked_for_here_and_no_more_and_all_of_it_to_the_same_account() {
        let text = include_str!("../../../../config/flannel-rbac.yaml");
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let find = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
        let list = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let mut granted = Vec::new();
        for rule in find("ClusterRole")["rules"].as_array().unwrap() {
            assert_eq!(list(&rule["apiGroups"]), [""]);
            for resource in list(&rule["resources"]) {
                granted.extend(list(&rule["verbs"]).into_iter().map(|verb| (verb, resource.clone())));
            }
        }
        let needed = NEEDED.map(|(verb, resource, subresource)| {
            let resource = [resource, subresource].join("/");
            (verb.to_owned(), resource.trim_end_matches('/').to_owned())
        });
        assert_eq!(granted, needed);
        let upstream = UPSTREAM.map(|(verb, resource)| (verb.to_owned(), resource.to_owned()));
        let beyond: Vec<_> = upstream.iter().filter(|rule| !granted.contains(rule)).collect();
        assert_eq!(beyond, [&("get".to_owned(), "pods".to_owned())]);
        assert!(granted.iter().all(|rule| upstream.contains(rule)));

        let account = &find("ServiceAccount")["metadata"];
        let binding = find("ClusterRoleBinding");
        assert_eq!(binding["roleRef"]["name"], find("ClusterRole")["metadata"]["name"]);
        let subject = &binding["subjects"][0];
        assert_eq!((&subject["name"], &subject["namespace"]), (&account["name"], &account["namespace"]));
        let secret = find("Secret");
        assert_eq!(secret["type"], "kubernetes.io/service-account-token");
        assert_eq!(secret["metadata"]["annotations"]["kubernetes.io/service-account.name"], account["name"]);
    }
}
