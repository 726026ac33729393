//! Answers, and refusals as the real server words them: apimachinery's `Status`.

use serde_json::{Value, json};

/// Status line and body.
#[derive(Debug)]
pub(in crate::standin) struct Answer {
    pub(in crate::standin) status: &'static str,
    pub(in crate::standin) body: Vec<u8>,
}

impl Answer {
    pub(super) fn ok(object: &Value) -> Self {
        Self { status: "200 OK", body: object.to_string().into_bytes() }
    }

    pub(super) fn created(object: &Value) -> Self {
        Self { status: "201 Created", ..Self::ok(object) }
    }

    fn refused(status: &'static str, reason: &str, message: &str, details: &Value) -> Self {
        let code: u16 = status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
        let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "details": details, "code": code });
        Self { status, body: body.to_string().into_bytes() }
    }

    pub(super) fn unauthorized() -> Self {
        Self::refused("401 Unauthorized", "Unauthorized", "Unauthorized", &json!({}))
    }

    pub(super) fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        let subject = if name.is_empty() { resource.to_owned() } else { format!("{resource} \"{name}\"") };
        let message = format!("{subject} is forbidden: {why}");
        Self::refused("403 Forbidden", "Forbidden", &message, &json!({ "name": name, "kind": resource }))
    }

    pub(super) fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" not found");
        Self::refused("404 Not Found", "NotFound", &message, &json!({ "name": name, "kind": resource }))
    }

    pub(super) fn no_such_path() -> Self {
        Self::refused("404 Not Found", "NotFound", "the server could not find the requested resource", &json!({}))
    }

    pub(super) fn already_exists(resource: &str, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" already exists");
        Self::refused("409 Conflict", "AlreadyExists", &message, &json!({ "name": name, "kind": resource }))
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::refused("406 Not Acceptable", "NotAcceptable", message, &json!({}))
    }

    pub(super) fn unsupported(accepted: &[&str]) -> Self {
        let accepted = accepted.join(", ");
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::refused("415 Unsupported Media Type", "UnsupportedMediaType", &message, &json!({}))
    }

    pub(super) fn bad_request(why: &str) -> Self {
        Self::refused("400 Bad Request", "BadRequest", why, &json!({}))
    }

    pub(super) fn invalid(kind: &str, name: &str, why: &str) -> Self {
        let message = format!("{kind} \"{name}\" is invalid: {why}");
        Self::refused("422 Unprocessable Entity", "Invalid", &message, &json!({ "name": name, "kind": kind }))
    }
}
