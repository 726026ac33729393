//! CertificateSigningRequests, their approver and their signer.
//!
//! Source: kubernetes 1.36, pkg/apis/certificates/validation, pkg/controller/certificates/{approver,signer}.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use serde_json::{Value, json};
use x509_cert::{
    der::{Decode, Encode},
    request::CertReq,
};

use super::{Answer, Controllers, Identity, Request, State, YEAR, rbac::Attributes};
use crate::host::api_server::{KUBELET_CLIENT, subject};

const RESOURCE: &str = "certificatesigningrequests";
const KIND: &str = "CertificateSigningRequest";
/// The signer dates back by so many seconds, for clocks that are behind.
const BACKDATE: u64 = 5 * 60;

pub(super) fn answer(state: &mut State, identity: &Identity, asked: &Attributes, request: &Request) -> Result<Answer, Answer> {
    match asked.verb.as_str() {
        "create" => create(state, identity, request),
        "get" => state.requests.get(&asked.name).map(Answer::ok).ok_or_else(|| Answer::not_found(RESOURCE, &asked.name)),
        _ => {
            let selector = request.parameter("fieldSelector").unwrap_or_default();
            let matches = |object: &&Value| match selector.split_once('=') {
                Some(("spec.signerName", signer)) => object["spec"]["signerName"] == signer,
                Some(("metadata.name", name)) => object["metadata"]["name"] == name,
                _ => selector.is_empty(),
            };
            let items: Vec<&Value> = state.requests.values().filter(matches).collect();
            Ok(Answer::ok(&json!({ "kind": "CertificateSigningRequestList", "apiVersion": "certificates.k8s.io/v1",
                "metadata": { "resourceVersion": state.made.to_string() }, "items": items })))
        }
    }
}

fn create(state: &mut State, identity: &Identity, request: &Request) -> Result<Answer, Answer> {
    let mut object = request.object()?;
    if object["kind"] != KIND || object["apiVersion"] != "certificates.k8s.io/v1" {
        return Err(Answer::bad_request("the object provided is unrecognized (must be of type CertificateSigningRequest)"));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut name = text(&object["metadata"]["name"]);
    if name.is_empty() {
        let prefix = text(&object["metadata"]["generateName"]);
        if prefix.is_empty() {
            return Err(Answer::invalid(KIND, "", "metadata.name: Required value: name or generateName is required"));
        }
        name = format!("{prefix}{:05}", state.made + 1);
    }
    let invalid = |why: &str| Answer::invalid(KIND, &name, why);
    parse(&object).map_err(|why| invalid(&format!("spec.request: Invalid value: {why}")))?;
    if !object["spec"]["signerName"].as_str().is_some_and(|signer| signer.contains('/')) {
        return Err(invalid("spec.signerName: Required value"));
    }
    if object["spec"]["usages"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("spec.usages: Required value"));
    }
    if state.requests.contains_key(&name) {
        return Err(Answer::already_exists(RESOURCE, &name));
    }
    state.stamp(&mut object);
    object["metadata"]["name"] = json!(name);
    object["spec"]["username"] = json!(identity.user);
    object["spec"]["groups"] = json!(identity.groups);
    object["status"] = json!({});
    state.requests.insert(name, object.clone());
    Ok(Answer::created(&object))
}

/// The request in an object: PEM, whose signature shows that whoever asks has the key.
fn parse(object: &Value) -> Result<CertReq, String> {
    let encoded = object["spec"]["request"].as_str().unwrap_or_default();
    let pem = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
    let pem = pem::parse(pem).map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    if pem.tag() != "CERTIFICATE REQUEST" {
        return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
    }
    let request = CertReq::from_der(pem.contents()).map_err(|error| error.to_string())?;
    let info = request.info.to_der().map_err(|error| error.to_string())?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, request.info.public_key.subject_public_key.raw_bytes());
    key.verify(&info, request.signature.raw_bytes()).map_err(|_| "x509: signature does not match".to_owned())?;
    Ok(request)
}

/// What a kubelet may ask for, and nothing else.
fn is_kubelets(object: &Value, request: &CertReq) -> Result<String, &'static str> {
    let name = subject(request).filter(|name| name.starts_with("system:node:"));
    let name = name.ok_or("subject common name does not begin with \"system:node:\"")?;
    let organizations = request.info.subject.0.iter().flat_map(|relative| relative.0.iter());
    let is_nodes = |attribute: &x509_cert::attr::AttributeTypeAndValue| {
        attribute.oid != x509_cert::der::oid::db::rfc4519::O || attribute.value.value() == b"system:nodes"
    };
    if request.info.subject.0.len() != 2 || !organizations.into_iter().all(is_nodes) {
        return Err("subject organization is not system:nodes");
    }
    // An extension would carry other names.
    if !request.info.attributes.is_empty() {
        return Err("URI/DNS/IP/email subjectAltNames are not allowed");
    }
    let mut usages: Vec<&str> = object["spec"]["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    usages.sort_unstable();
    if !matches!(
        usages.as_slice(),
        ["client auth", "digital signature"] | ["client auth", "digital signature", "key encipherment"]
    ) {
        return Err("usages did not match");
    }
    Ok(name)
}

fn set(object: &mut Value, now: &str, kind: &str, reason: &str, message: &str) {
    let condition = json!({ "type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now,
        "lastTransitionTime": now });
    match object["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => object["status"]["conditions"] = json!([condition]),
    }
}

fn has(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"].as_array().into_iter().flatten().any(|condition| condition["type"] == kind)
}

/// The csrapproving controller, and whoever denies by hand.
pub(super) fn approve(state: &mut State, controllers: &Controllers) {
    let now = state.time();
    for object in state.requests.values_mut() {
        if has(object, "Approved") || has(object, "Denied") {
            continue;
        }
        if let Some(message) = &controllers.deny {
            set(object, &now, "Denied", "KubectlDeny", message);
            continue;
        }
        let name = parse(object).ok().and_then(|request| is_kubelets(object, &request).ok());
        let (Some(name), true) = (name, object["spec"]["signerName"] == KUBELET_CLIENT) else { continue };
        let groups = object["spec"]["groups"].as_array().cloned().unwrap_or_default();
        let is_own = object["spec"]["username"] == name.as_str();
        if controllers.approve && (is_own || groups.iter().any(|group| group == "system:bootstrappers")) {
            let what = if is_own { "self kubelet client" } else { "kubelet client" };
            set(
                object,
                &now,
                "Approved",
                "AutoApproved",
                &format!("Auto approving {what} certificate after SubjectAccessReview."),
            );
        }
    }
}

/// The csrsigning controller.
pub(super) fn sign(state: &mut State, controllers: &Controllers, authority: &CertifiedIssuer<'static, KeyPair>) {
    let now = state.time();
    let waits =
        |object: &&mut Value| has(object, "Approved") && !has(object, "Failed") && object["status"]["certificate"].is_null();
    for object in state.requests.values_mut().filter(waits).filter(|_| controllers.sign) {
        let signed = match &controllers.fail {
            Some(message) => Err(message.clone()),
            None => parse(object).and_then(|request| {
                is_kubelets(object, &request).map_err(str::to_owned)?;
                certificate(object, &request, controllers, authority).map_err(|error| error.to_string())
            }),
        };
        match signed {
            Ok(pem) => object["status"]["certificate"] = json!(STANDARD.encode(pem)),
            Err(message) => set(object, &now, "Failed", "SignerValidationFailure", &message),
        }
    }
}

/// The public key of a request.
struct Key(Vec<u8>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn certificate(
    object: &Value,
    request: &CertReq,
    controllers: &Controllers,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, subject(request).unwrap_or_default());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let seconds = object["spec"]["expirationSeconds"].as_u64().unwrap_or(YEAR).min(controllers.cluster_signing_duration);
    let now = std::time::SystemTime::from(controllers.now());
    params.not_before = (now - std::time::Duration::from_secs(BACKDATE)).into();
    params.not_after = (now + std::time::Duration::from_secs(seconds)).into();
    let key = Key(request.info.public_key.subject_public_key.raw_bytes().to_vec());
    Ok(params.signed_by(&key, authority)?.pem())
}
