//! Nodes, patches of their status, and the allocator of their networks.

use serde_json::{Map, Value, json};

use super::{Answer, Controllers, Identity, Request, State, rbac::Attributes};

const RESOURCE: &str = "nodes";

pub(super) fn answer(
    state: &mut State,
    controllers: &Controllers,
    identity: &Identity,
    asked: &Attributes,
    request: &Request,
) -> Result<Answer, Answer> {
    let absent = || Answer::not_found(RESOURCE, &asked.name);
    match asked.verb.as_str() {
        "list" => {
            let items: Vec<&Value> = state.nodes.values().collect();
            Ok(Answer::ok(&json!({ "kind": "NodeList", "apiVersion": "v1",
                "metadata": { "resourceVersion": state.made.to_string() }, "items": items })))
        }
        "get" => state.nodes.get(&asked.name).map(Answer::ok).ok_or_else(absent),
        "create" => match &controllers.refuse_nodes {
            Some(why) => {
                Err(Answer::bad_request(&format!("admission webhook \"nodes.example.com\" denied the request: {why}")))
            }
            None => create(state, identity, request),
        },
        _ => {
            let patch = request.patch()?;
            let node = state.nodes.get_mut(&asked.name).ok_or_else(absent)?;
            // What is not status is not changed through it, but for labels and annotations.
            let only = |patch: &Value, keys: &[&str]| {
                let pairs = patch.as_object().into_iter().flatten().filter(|(key, _)| keys.contains(&key.as_str()));
                Value::Object(pairs.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
            };
            merge(node, &only(&patch, &["status"]));
            merge(&mut node["metadata"], &only(&patch["metadata"], &["labels", "annotations"]));
            Ok(Answer::ok(node))
        }
    }
}

fn create(state: &mut State, identity: &Identity, request: &Request) -> Result<Answer, Answer> {
    let mut node = request.object()?;
    if node["kind"] != "Node" || node["apiVersion"] != "v1" {
        return Err(Answer::bad_request("the object provided is unrecognized (must be of type Node)"));
    }
    let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    // Admission plugin NodeRestriction.
    if let Some(own) = identity.node().filter(|own| *own != name) {
        return Err(Answer::forbidden(RESOURCE, &name, &format!("node \"{own}\" is not allowed to modify node \"{name}\"")));
    }
    if state.nodes.contains_key(&name) {
        return Err(Answer::already_exists(RESOURCE, &name));
    }
    state.stamp(&mut node);
    state.nodes.insert(name, node.clone());
    Ok(Answer::created(&node))
}

/// A strategic merge: lists of things with a type are merged by it.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(target), Value::Array(patch)) if patch.iter().all(|item| item["type"].is_string()) => {
            for item in patch {
                match target.iter_mut().find(|known| known["type"] == item["type"]) {
                    Some(known) => merge(known, item),
                    None => target.push(item.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// The node IPAM controller, with `--cluster-cidr=10.244.0.0/16`.
pub(super) fn allocate(state: &mut State, controllers: &Controllers) {
    if !controllers.allocate_node_cidrs {
        return;
    }
    let taken: Vec<Value> = state.nodes.values().map(|node| node["spec"]["podCIDR"].clone()).collect();
    let mut free = (0..=255).map(|third| format!("10.244.{third}.0/24")).filter(|cidr| !taken.iter().any(|one| one == cidr));
    for node in state.nodes.values_mut().filter(|node| node["spec"]["podCIDR"].is_null()) {
        if let Some(cidr) = free.next() {
            node["spec"]["podCIDR"] = json!(cidr);
            node["spec"]["podCIDRs"] = json!([cidr]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_merged_by_type_and_all_else_by_key() {
        let mut node = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "x" },
            { "type": "DiskPressure", "status": "False" }], "nodeInfo": { "machineID": "a" } } });
        merge(
            &mut node,
            &json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "bootID": "b" } } }),
        );
        assert_eq!(
            node,
            json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "x" },
                { "type": "DiskPressure", "status": "False" }], "nodeInfo": { "machineID": "a", "bootID": "b" } } })
        );
    }
}
