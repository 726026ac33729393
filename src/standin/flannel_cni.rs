//! flannel's CNI plugin: what the real one does with subnet.env, and the rest by the plugin that it delegates to.
//!
//! Source: flannel-io/cni-plugin 1.9, flannel.go and flannel_linux.go; the protocol is the CNI specification's, 0.3.1 and 1.0.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::host::{
    files::{self, if_present},
    process::Invocation,
};

const SUBNET_FILE: &str = "/run/flannel/subnet.env";
const DATA: &str = "/var/lib/cni/flannel";
/// The versions of the specification that its library knows.
const VERSIONS: [&str; 8] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.2.0"];
/// The specification's code for what a plugin reports of itself.
const FAILED: u32 = 999;

/// One invocation, as the environment describes it. What is wrong is told as JSON on standard output.
pub(super) async fn run() -> Result<u8, String> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(|error| error.to_string())?;
    let outcome = match std::env::var("CNI_COMMAND").as_deref() {
        Ok("ADD") => add(&input).await,
        Ok("DEL") => delete(&input).await,
        Ok("CHECK") => Ok(String::new()),
        Ok("VERSION") => Ok(json!({ "cniVersion": "1.2.0", "supportedVersions": VERSIONS }).to_string()),
        _ => Err("required env variables [CNI_COMMAND] missing".to_owned()),
    };
    match outcome {
        Ok(text) => super::print(text.trim_end()),
        Err(message) => {
            super::print(&json!({ "cniVersion": "1.0.0", "code": FAILED, "msg": message }).to_string());
            return Ok(1);
        }
    }
    Ok(0)
}

async fn add(input: &str) -> Result<String, String> {
    let configuration: Map<String, Value> =
        serde_json::from_str(input).map_err(|error| format!("failed to load flannel netconf file: {error}"))?;
    let text = |key: &str, default: &str| configuration.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let path = text("subnetFile", SUBNET_FILE);
    let subnet = Subnet::read(Path::new(&path)).map_err(|error| {
        format!("failed to load flannel 'subnet.env' file: {error}. Check the flannel pod log for this node.")
    })?;
    let delegate = delegated(&configuration, &subnet)?;
    let kind = delegate["type"].as_str().unwrap_or_default().to_owned();
    let content = Value::Object(delegate).to_string();
    let directory = PathBuf::from(text("dataDir", DATA));
    files::create_directory(&directory, 0o700).map_err(|error| error.to_string())?;
    files::write(&directory.join(container()?), content.as_bytes(), 0o600).map_err(|error| error.to_string())?;
    call(&kind, content).await.map_err(|error| format!("failed to delegate add: {error}"))
}

/// What the delegate is told: the node's subnet to give addresses from, flannel's MTU, and who masquerades.
fn delegated(configuration: &Map<String, Value>, subnet: &Subnet) -> Result<Map<String, Value>, String> {
    let mut delegate = match configuration.get("delegate") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(delegate)) => delegate.clone(),
        Some(_) => return Err("failed to load flannel netconf file: delegate is no dictionary".to_owned()),
    };
    for key in ["name", "ipam"] {
        if delegate.contains_key(key) {
            return Err(format!("'delegate' dictionary must not have '{key}' field, it'll be set by flannel"));
        }
    }
    for key in ["runtimeConfig", "name", "cniVersion"] {
        if let Some(value) = configuration.get(key).filter(|value| !value.is_null()) {
            delegate.insert(key.to_owned(), value.clone());
        }
    }
    let kind = delegate.entry("type").or_insert_with(|| json!("bridge"));
    let bridge = kind.as_str().ok_or("'delegate' dictionary, if present, must have (string) 'type' field")? == "bridge";
    delegate.entry("ipMasq").or_insert(json!(!subnet.masquerades));
    delegate.entry("mtu").or_insert(json!(subnet.mtu));
    if bridge {
        delegate.entry("isGateway").or_insert(json!(true));
    }
    let mut ipam = configuration.get("ipam").and_then(Value::as_object).cloned().unwrap_or_default();
    ipam.entry("type").or_insert_with(|| json!("host-local"));
    let ranges: Vec<Value> = subnet.subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    let routes: Vec<Value> = subnet.networks.iter().map(|network| json!({ "dst": network })).collect();
    ipam.insert("ranges".to_owned(), Value::Array(ranges));
    ipam.insert("routes".to_owned(), Value::Array(routes));
    delegate.insert("ipam".to_owned(), Value::Object(ipam));
    Ok(delegate)
}

/// As it was added, whatever the configuration says by now; a container that nobody added is gone already.
async fn delete(input: &str) -> Result<String, String> {
    let configuration: Value = serde_json::from_str(input).map_err(|error| format!("failed to load netconf: {error}"))?;
    let path = Path::new(configuration["dataDir"].as_str().unwrap_or(DATA)).join(container()?);
    let Some(content) = if_present(files::read_text(&path)).map_err(|error| error.to_string())? else {
        return Ok(String::new());
    };
    let saved: Value = serde_json::from_str(&content).map_err(|error| format!("failed to parse netconf: {error}"))?;
    let kind = saved["type"].as_str().unwrap_or_default().to_owned();
    let answer = call(&kind, content).await?;
    files::remove_file(&path).map_err(|error| error.to_string())?;
    Ok(answer)
}

fn container() -> Result<String, String> {
    std::env::var("CNI_CONTAINERID").map_err(|_| "required env variables [CNI_CONTAINERID] missing".to_owned())
}

/// Runs another plugin with our environment, and returns its result.
async fn call(kind: &str, configuration: String) -> Result<String, String> {
    let path = std::env::var_os("CNI_PATH").unwrap_or_default();
    let plugin = std::env::split_paths(&path).map(|directory| directory.join(kind)).find(|plugin| plugin.is_file());
    let plugin = plugin.ok_or_else(|| format!("failed to find plugin {kind:?} in path [{}]", path.display()))?;
    let output = Invocation::new(&plugin).input(configuration).run().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    Err(told["msg"].as_str().map_or_else(|| output.to_string(), str::to_owned))
}

/// What subnet.env says.
#[derive(Debug, PartialEq, Eq)]
struct Subnet {
    networks: Vec<String>,
    /// The node's, with the host's part cleared.
    subnets: Vec<String>,
    mtu: u32,
    masquerades: bool,
}

impl Subnet {
    fn read(path: &Path) -> Result<Self, String> {
        // As Go says it.
        let text = if_present(files::read_text(path)).map_err(|error| error.to_string())?;
        let text = text.ok_or_else(|| format!("open {}: no such file or directory", path.display()))?;
        Self::parse(&text).map_err(|missing| format!("{} is missing {missing}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let values = |keys: [&str; 2]| {
            let found: Vec<&str> = keys.iter().filter_map(|key| value(key)).flat_map(|list| list.split(',')).collect();
            if found.is_empty() { Err(keys.join(", ")) } else { found.into_iter().map(masked).collect() }
        };
        Ok(Self {
            networks: values(["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"])?,
            subnets: values(["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"])?,
            mtu: value("FLANNEL_MTU").and_then(|mtu| mtu.parse().ok()).ok_or("FLANNEL_MTU")?,
            masquerades: value("FLANNEL_IPMASQ").ok_or("FLANNEL_IPMASQ")? == "true",
        })
    }
}

/// A network without the host's part of its address: 10.244.0.1/24 is 10.244.0.0/24.
fn masked(text: &str) -> Result<String, String> {
    let invalid = || format!("invalid CIDR address: {text}");
    let (address, length) = text.split_once('/').ok_or_else(invalid)?;
    let length: u32 = length.parse().map_err(|_| invalid())?;
    let address = match address.parse().map_err(|_| invalid())? {
        std::net::IpAddr::V4(address) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(address) & mask).to_string()
        }
        std::net::IpAddr::V6(address) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(address) & mask).to_string()
        }
        _ => return Err(invalid()),
    };
    Ok(format!("{address}/{length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_IPV6_NETWORK=fd00:244::/56\n\
        FLANNEL_IPV6_SUBNET=fd00:244:0:3::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn the_delegate_gets_the_nodes_subnets_flannels_mtu_and_what_the_conflist_says() {
        let subnet = Subnet::parse(ENVIRONMENT).unwrap();
        let conflist = json!({ "name": "cbr0", "cniVersion": "0.3.1", "type": "flannel",
            "delegate": { "hairpinMode": true, "isDefaultGateway": true } });
        let delegate = delegated(conflist.as_object().unwrap(), &subnet).unwrap();
        let expected = json!({
            "name": "cbr0", "cniVersion": "0.3.1", "type": "bridge", "hairpinMode": true, "isDefaultGateway": true,
            "isGateway": true, "ipMasq": false, "mtu": 1450,
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.244.3.0/24" }], [{ "subnet": "fd00:244:0:3::/64" }]],
                "routes": [{ "dst": "10.244.0.0/16" }, { "dst": "fd00:244::/56" }],
            },
        });
        assert_eq!(Value::Object(delegate), expected);
    }

    #[test]
    fn what_subnet_env_lacks_is_named() {
        let without = |key: &str| {
            let lines = ENVIRONMENT.lines().filter(|line| !line.starts_with(key) && !line.contains("IPV6"));
            Subnet::parse(&lines.collect::<Vec<_>>().join("\n")).unwrap_err()
        };
        assert_eq!(without("FLANNEL_SUBNET"), "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET");
        assert_eq!(without("FLANNEL_MTU"), "FLANNEL_MTU");
        assert_eq!(without("FLANNEL_IPMASQ"), "FLANNEL_IPMASQ");
    }

    #[test]
    fn a_delegate_that_names_itself_is_refused() {
        let subnet = Subnet::parse(ENVIRONMENT).unwrap();
        let conflist = json!({ "delegate": { "name": "mine" } });
        let refused = delegated(conflist.as_object().unwrap(), &subnet).unwrap_err();
        assert_eq!(refused, "'delegate' dictionary must not have 'name' field, it'll be set by flannel");
    }
}
