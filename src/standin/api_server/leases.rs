//! Nodes' leases, and what becomes of a Node whose kubelet no longer renews its own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Controllers, Identity, Request, State, rbac::Attributes};

const RESOURCE: &str = "leases.coordination.k8s.io";

#[derive(Debug)]
pub(super) struct Lease {
    object: Value,
    renewed: Instant,
}

pub(super) fn answer(state: &mut State, identity: &Identity, asked: &Attributes, request: &Request) -> Result<Answer, Answer> {
    let absent = || Answer::not_found(RESOURCE, &asked.name);
    match asked.verb.as_str() {
        "get" => state.leases.get(&asked.name).map(|lease| Answer::ok(&lease.object)).ok_or_else(absent),
        "create" => {
            let mut object = checked(request)?;
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if identity.node().is_some_and(|own| own != name) {
                return Err(Answer::forbidden(
                    RESOURCE,
                    &name,
                    "can only access node lease with the same name as the requesting node",
                ));
            }
            if state.leases.contains_key(&name) {
                return Err(Answer::already_exists(RESOURCE, &name));
            }
            state.stamp(&mut object);
            state.leases.insert(name, Lease { object: object.clone(), renewed: Instant::now() });
            Ok(Answer::created(&object))
        }
        "update" => {
            let object = checked(request)?;
            let lease = state.leases.get_mut(&asked.name).ok_or_else(absent)?;
            *lease = Lease { object, renewed: Instant::now() };
            Ok(Answer::ok(&lease.object))
        }
        _ => Err(Answer::no_such_path()),
    }
}

fn checked(request: &Request) -> Result<Value, Answer> {
    let object = request.object()?;
    if object["kind"] == "Lease" && object["apiVersion"] == "coordination.k8s.io/v1" {
        Ok(object)
    } else {
        Err(Answer::bad_request("the object provided is unrecognized (must be of type Lease)"))
    }
}

/// The node lifecycle controller.
pub(super) fn monitor(state: &mut State, controllers: &Controllers) {
    let now = state.time();
    let grace = Duration::from_secs(controllers.node_monitor_grace_period);
    for (name, _) in state.leases.iter().filter(|(_, lease)| lease.renewed.elapsed() > grace) {
        let Some(conditions) = state.nodes.get_mut(name).and_then(|node| node["status"]["conditions"].as_array_mut()) else {
            continue;
        };
        for condition in conditions.iter_mut().filter(|condition| condition["status"] != "Unknown") {
            condition["status"] = json!("Unknown");
            condition["reason"] = json!("NodeStatusUnknown");
            condition["message"] = json!("Kubelet stopped posting node status.");
            condition["lastTransitionTime"] = json!(now);
        }
    }
}
