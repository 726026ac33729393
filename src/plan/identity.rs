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
