//! CertificateSigningRequests, as far as they tell why a kubelet has no certificate yet.
//!
//! Whoever bootstraps may list them: RBAC's system:node-bootstrapper grants create, get, list and watch (kubernetes,
//! plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use serde::Deserialize;
use x509_cert::{
    der::{Decode, asn1::Utf8StringRef, oid::db::rfc4519::CN},
    name::Name,
    request::CertReq,
};

use super::{Call, Clocks, Door, Unreachable, call};

/// Who signs what kubelets show to the API server.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Those of one signer; a cluster keeps them for an hour after they are signed, and for a day where nobody approves.
const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests?limit=500&fieldSelector=spec.signerName%3D";

/// A CertificateSigningRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// Its name.
    pub name: String,
    /// When it was made, as the API server writes it: text order is time's order.
    pub created: String,
    /// Whom it is for: `system:node:node-07`.
    pub common_name: String,
    /// What became of it.
    pub state: State,
}

/// What became of a CertificateSigningRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody approved or denied it.
    Pending,
    /// It is approved, and no certificate is there.
    Approved,
    /// It has its certificate.
    Signed,
    /// Somebody refused it, with reason and message.
    Denied(String),
    /// The signer could not sign it, with reason and message.
    Failed(String),
}

/// What the API server said of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// These there are.
    Requests(Vec<SigningRequest>),
    /// 401: it does not know who asks.
    Unauthorized,
    /// 403: who asks may not list them.
    Forbidden,
    /// Neither.
    Unclear(String),
}

/// Lists what kubelets have asked for; with the API server's clock, where it told.
pub async fn signing_requests(door: Door<'_>, limit: Duration) -> Result<(Listed, Option<Clocks>), Unreachable> {
    let path = format!("{PATH}{}", KUBELET_CLIENT.replace('/', "%2F"));
    let reply = call(door, &Call { method: Method::GET, path: &path, body: None }, limit).await?;
    let listed = match reply.status {
        StatusCode::UNAUTHORIZED => Listed::Unauthorized,
        StatusCode::FORBIDDEN => Listed::Forbidden,
        StatusCode::OK => match parse(&reply.body) {
            Some(requests) => Listed::Requests(requests),
            None => Listed::Unclear("what it answers is no list of CertificateSigningRequests".to_owned()),
        },
        status => Listed::Unclear(format!("it answers {status} for the list of CertificateSigningRequests")),
    };
    Ok((listed, reply.clocks))
}

#[derive(Deserialize)]
struct List {
    kind: String,
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    creation_timestamp: String,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    request: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    certificate: Option<String>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

fn parse(body: &[u8]) -> Option<Vec<SigningRequest>> {
    let list: List = serde_json::from_slice(body).ok()?;
    if list.kind != "CertificateSigningRequestList" {
        return None;
    }
    let request = |item: Item| SigningRequest {
        common_name: common_name(&item.spec.request).unwrap_or_default(),
        name: item.metadata.name,
        created: item.metadata.creation_timestamp,
        state: item.status.state(),
    };
    Some(list.items.unwrap_or_default().into_iter().map(request).collect())
}

impl Status {
    fn state(&self) -> State {
        let of = |kind: &str| self.conditions.iter().find(|condition| condition.kind == kind);
        let said = |condition: &Condition| {
            [condition.reason.as_str(), condition.message.as_str()]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join(": ")
        };
        if let Some(denied) = of("Denied") {
            State::Denied(said(denied))
        } else if let Some(failed) = of("Failed") {
            State::Failed(said(failed))
        } else if self.certificate.as_ref().is_some_and(|certificate| !certificate.is_empty()) {
            State::Signed
        } else if of("Approved").is_some() {
            State::Approved
        } else {
            State::Pending
        }
    }
}

/// The common name that a request in base64 of PEM asks for.
fn common_name(request: &str) -> Option<String> {
    let pem = pem::parse(STANDARD.decode(request).ok()?).ok()?;
    subject(&CertReq::from_der(pem.contents()).ok()?)
}

/// The common name that a request asks for.
pub(crate) fn subject(request: &CertReq) -> Option<String> {
    name_of(&request.info.subject)
}

/// The common name in a subject.
pub(super) fn name_of(subject: &Name) -> Option<String> {
    let attributes = subject.0.iter().flat_map(|relative| relative.0.iter());
    let name = attributes.into_iter().find(|attribute| attribute.oid == CN)?;
    let text = name.value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    // Go writes a PrintableString where the characters allow it; a colon does.
    text.ok().or_else(|| std::str::from_utf8(name.value.value()).ok().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};
    use serde_json::json;

    use super::*;

    fn request(value: DnValue) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, value);
        STANDARD.encode(params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap())
    }

    #[test]
    fn each_state_is_told_from_the_conditions_and_the_certificate() {
        let utf8 = request(DnValue::Utf8String("system:node:node-07".to_owned()));
        let item = |name: &str, conditions: serde_json::Value, certificate: Option<&str>| {
            json!({ "metadata": { "name": name, "creationTimestamp": "2026-11-25T09:00:00Z" }, "spec": { "request": utf8 },
                "status": { "conditions": conditions, "certificate": certificate } })
        };
        let condition = |kind: &str| json!([{ "type": kind, "status": "True", "reason": "Why", "message": "because" }]);
        let body = json!({ "kind": "CertificateSigningRequestList", "apiVersion": "certificates.k8s.io/v1", "metadata": {},
            "items": [item("a", json!([]), None), item("b", condition("Approved"), None), item("c", condition("Approved"), Some("LS0=")),
                item("d", condition("Denied"), None), item("e", condition("Failed"), None),
                { "metadata": { "name": "f" }, "spec": { "request": "!" } }] });
        let found = parse(body.to_string().as_bytes()).unwrap();
        let states: Vec<&State> = found.iter().map(|request| &request.state).collect();
        let because = || "Why: because".to_owned();
        let expected = [
            State::Pending,
            State::Approved,
            State::Signed,
            State::Denied(because()),
            State::Failed(because()),
            State::Pending,
        ];
        assert_eq!(states, expected.iter().collect::<Vec<_>>());
        assert_eq!((found[0].common_name.as_str(), found[5].common_name.as_str()), ("system:node:node-07", ""));
        assert_eq!(parse(b"{\"kind\":\"Status\"}"), None);
    }

    #[test]
    fn names_are_read_whichever_way_they_are_encoded() {
        let printable = DnValue::PrintableString("system:node:n".try_into().unwrap());
        assert_eq!(common_name(&request(printable)).as_deref(), Some("system:node:n"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(body in ".{0,200}") {
            let _ = parse(body.as_bytes());
            let _ = common_name(&STANDARD.encode(&body));
        }
    }
}
