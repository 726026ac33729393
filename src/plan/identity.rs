//! Who the node is: the configuration's word, or else the host's.

use super::PlanError;
use crate::{
    config::Settings,
    facts::NodeFacts,
    model::{Architecture, NodeAddress, NodeIdentity, NodeName},
};

/// Finds the node's name, addresses and architecture.
pub fn identity(settings: &Settings, facts: &NodeFacts) -> Result<NodeIdentity, PlanError> {
    let architecture = architecture(facts)?;
    Ok(NodeIdentity { name: name(settings, facts)?, addresses: addresses(settings, facts)?, architecture })
}

/// What the host's processor is.
pub fn architecture(facts: &NodeFacts) -> Result<Architecture, PlanError> {
    Architecture::from_machine(&facts.machine).ok_or_else(|| PlanError::Architecture(facts.machine.clone()))
}

/// The kubelet too takes the host's name in lower case (kubernetes: pkg/util/node GetHostname).
fn name(settings: &Settings, facts: &NodeFacts) -> Result<NodeName, PlanError> {
    match &settings.node.name {
        Some(name) => Ok(name.clone()),
        None => facts.hostname.trim().to_lowercase().parse().map_err(|_| PlanError::NodeName(facts.hostname.clone())),
    }
}

fn addresses(settings: &Settings, facts: &NodeFacts) -> Result<Vec<NodeAddress>, PlanError> {
    if !settings.node.addresses.is_empty() {
        return Ok(settings.node.addresses.clone());
    }
    let usable: Vec<NodeAddress> = facts.default_sources.iter().filter_map(|ip| NodeAddress::try_from(*ip).ok()).collect();
    // Dual stack is asked for, not assumed: the cluster may have one family only.
    usable.into_iter().next().map(|address| vec![address]).ok_or(PlanError::NodeAddress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fragment, parse};

    #[test]
    fn the_name_is_the_configurations_or_else_the_hosts_in_lower_case() {
        let named = |configured: &str, hostname: &str| {
            let text = format!("{configured}\n[flannel]\nenabled = false\n");
            let settings = parse(&[Fragment { name: "hostlet.toml".to_owned(), text }], &[]).unwrap();
            let facts = NodeFacts { hostname: hostname.to_owned(), machine: "x86_64".to_owned(), default_sources: Vec::new() };
            name(&settings, &facts).map(|name| name.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(named("", "Node-07.Example.com\n").unwrap(), "node-07.example.com");
        assert_eq!(named("node.name = \"worker-1\"", "node_07").unwrap(), "worker-1");
        assert!(named("", "node_07").unwrap_err().contains("node_07"));
        assert!(named("", "").is_err());
    }
}
