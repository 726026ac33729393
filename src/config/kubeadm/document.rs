//! A YAML file with a JoinConfiguration, among others perhaps.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{HASH_HELP, Join, NotAJoin, left_out, unknown};

const GROUP: &str = "kubeadm.k8s.io/";

/// What every document has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

pub(super) fn read(text: &str) -> Result<Join, NotAJoin> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let what = format!("it is neither a `kubeadm join` command nor YAML: {error}");
        NotAJoin::new(what, "give a join command in quotes, or the path of a file with a JoinConfiguration")
    })?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for document in documents {
        let kind: Kind =
            serde_json::from_value(document.clone()).unwrap_or(Kind { api_version: String::new(), kind: String::new() });
        if kind.kind == "JoinConfiguration" && kind.api_version.starts_with(GROUP) {
            found.push((kind.api_version, document));
        } else if kind.kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !kind.kind.is_empty() {
            others.push(kind.kind);
        }
    }
    let Ok([(version, document)]) = <[_; 1]>::try_from(found) else {
        let seen = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        let what = format!("it has not one JoinConfiguration of {GROUP} (other kinds: {seen})");
        return Err(NotAJoin::new(what, "kubeadm config print join-defaults prints one to start from"));
    };
    if !matches!(version.as_str(), "kubeadm.k8s.io/v1beta3" | "kubeadm.k8s.io/v1beta4") {
        let help = "kubeadm config migrate --old-config FILE brings it to a version that is known: v1beta3 or v1beta4";
        return Err(NotAJoin::new(format!("the JoinConfiguration is of {version}"), help));
    }
    let mut join = Join::default();
    for kind in others {
        join.note(format!("the {kind} in the file is left out: fields of KubeletConfiguration go under [kubelet.config]"));
    }
    configuration(&mut join, object(&document, "JoinConfiguration")?)?;
    Ok(join)
}

fn configuration(join: &mut Join, document: &Map<String, Value>) -> Result<(), NotAJoin> {
    const KNOWN: &[&str] = &[
        "apiVersion",
        "caCertPath",
        "controlPlane",
        "discovery",
        "dryRun",
        "kind",
        "nodeRegistration",
        "patches",
        "skipPhases",
        "timeouts",
    ];
    for (key, value) in document {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "discovery" => discovery(join, object(value, key)?)?,
            "nodeRegistration" => registration(join, object(value, key)?)?,
            "controlPlane" => control_plane(join, object(value, key)?)?,
            _ => other(join, "JoinConfiguration", key, KNOWN)?,
        }
    }
    Ok(())
}

fn discovery(join: &mut Join, discovery: &Map<String, Value>) -> Result<(), NotAJoin> {
    for (key, value) in discovery {
        match key.as_str() {
            "bootstrapToken" => bootstrap(join, object(value, key)?)?,
            "tlsBootstrapToken" => join.set_token(text(value, key)?),
            "file" => {
                let help = "write its certificate-authority-data, decoded, into a file and name it with cluster.ca-file";
                return Err(NotAJoin::new("hostlet discovers a cluster by token and hash, not by a file", help));
            }
            _ => other(join, "discovery", key, &["bootstrapToken", "file", "timeout", "tlsBootstrapToken"])?,
        }
    }
    if join.ca_hashes.is_empty() {
        let found = "it has no caCertHashes, so nothing would vouch for the API server";
        return Err(NotAJoin::new(found, HASH_HELP));
    }
    Ok(())
}

fn bootstrap(join: &mut Join, bootstrap: &Map<String, Value>) -> Result<(), NotAJoin> {
    for (key, value) in bootstrap {
        match key.as_str() {
            "apiServerEndpoint" => join.endpoint = text(value, key)?,
            // tlsBootstrapToken is the one that the kubelet gets.
            "token" if join.token.is_none() => join.set_token(text(value, key)?),
            "token" => {}
            "caCertHashes" => join.ca_hashes = texts(value, key)?,
            "unsafeSkipCAVerification" if value.as_bool() != Some(true) => {}
            "unsafeSkipCAVerification" => {
                return Err(NotAJoin::new("unsafeSkipCAVerification would take any server for the cluster's", HASH_HELP));
            }
            _ => {
                other(
                    join,
                    "bootstrapToken",
                    key,
                    &["apiServerEndpoint", "caCertHashes", "token", "unsafeSkipCAVerification"],
                )?;
            }
        }
    }
    Ok(())
}

fn registration(join: &mut Join, registration: &Map<String, Value>) -> Result<(), NotAJoin> {
    const KNOWN: &[&str] =
        &["criSocket", "ignorePreflightErrors", "imagePullPolicy", "imagePullSerial", "kubeletExtraArgs", "name", "taints"];
    for (key, value) in registration {
        match key.as_str() {
            "name" => join.node_name = Some(text(value, key)?),
            "criSocket" => join.cri_socket = Some(text(value, key)?),
            "kubeletExtraArgs" => arguments(join, value)?,
            "taints" => {
                for taint in value.as_array().into_iter().flatten() {
                    let part = |name: &str| taint[name].as_str().unwrap_or_default();
                    let value = if part("value").is_empty() { String::new() } else { format!("={}", part("value")) };
                    join.taints.push(format!("{}{value}:{}", part("key"), part("effect")));
                }
            }
            _ => other(join, "nodeRegistration", key, KNOWN)?,
        }
    }
    Ok(())
}

/// A list of name and value in v1beta4, a map in v1beta3.
fn arguments(join: &mut Join, value: &Value) -> Result<(), NotAJoin> {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let value = text(value, name)?;
                join.kubelet_argument(name, &value);
            }
        }
        Value::Array(list) => {
            for argument in list {
                let name = text(&argument["name"], "kubeletExtraArgs.name")?;
                let value = text(&argument["value"], &name)?;
                join.kubelet_argument(&name, &value);
            }
        }
        _ => return Err(wrong("kubeletExtraArgs", "a list of name and value")),
    }
    Ok(())
}

fn control_plane(join: &mut Join, control_plane: &Map<String, Value>) -> Result<(), NotAJoin> {
    join.control_plane();
    for (key, value) in control_plane {
        match key.as_str() {
            "localAPIEndpoint" => {
                let endpoint = object(value, key)?;
                if let Some(address) = endpoint.get("advertiseAddress") {
                    join.node_ips = vec![text(address, "advertiseAddress")?];
                }
                join.notes.extend(
                    endpoint
                        .contains_key("bindPort")
                        .then(|| format!("bindPort is left out: {}", left_out("bindPort").unwrap_or_default())),
                );
            }
            _ => other(join, "controlPlane", key, &["certificateKey", "localAPIEndpoint"])?,
        }
    }
    Ok(())
}

fn other(join: &mut Join, place: &str, key: &str, known: &[&str]) -> Result<(), NotAJoin> {
    match left_out(key).filter(|_| known.contains(&key)) {
        Some(why) => join.note(format!("{key} is left out: {why}")),
        None => return Err(unknown(&format!("in {place}, the field"), key, known)),
    }
    Ok(())
}

fn wrong(key: &str, expected: &str) -> NotAJoin {
    NotAJoin::new(format!("{key} is not {expected}"), "kubeadm config validate --config FILE tells more")
}

fn object<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>, NotAJoin> {
    value.as_object().ok_or_else(|| wrong(key, "an object"))
}

fn text(value: &Value, key: &str) -> Result<String, NotAJoin> {
    match value {
        Value::String(text) => Ok(text.clone()),
        // YAML reads an unquoted 110 or true as what it looks like; kubeadm's own reader refuses neither for a flag's value.
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(wrong(key, "text")),
    }
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>, NotAJoin> {
    value.as_array().ok_or_else(|| wrong(key, "a list"))?.iter().map(|item| text(item, key)).collect()
}
