//! Who must reach whom, as people read it. Pure.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    requirement::{Node, Requirement, Rules},
    sample::{self, Draw, Sampled},
};
use crate::{
    config::{Group, Role, Sample},
    model::NodeName,
};

/// The requirements as people read them: one line for each rule rather than for each pair.
#[must_use]
pub fn matrix(rules: &Rules, nodes: &[Node]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for from in nodes {
        for to in nodes {
            for requirement in rules.between(from, to) {
                let pair = Pair { from: from.name.clone(), to: to.name.clone() };
                match rows.iter_mut().find(|row| row.requirement == requirement) {
                    Some(row) => row.pairs.push(pair),
                    None => rows.push(Row { requirement, groups: None, of: None, pairs: vec![pair] }),
                }
            }
        }
    }
    rows.sort_by_key(|row| row.requirement);
    let role_of: HashMap<&NodeName, Role> = nodes.iter().map(|node| (&node.name, node.role)).collect();
    for row in &mut rows {
        row.groups = groups(&row.pairs, nodes, &role_of);
    }
    rows
}

/// Where the cluster is sampled, leaves the pairs that are probed, and tells how many of all there are.
pub fn keep_drawn(rows: &mut [Row], nodes: &[Node], sample: Sample) -> Option<Sampled> {
    if !sample::is_sampled(nodes.len(), sample) {
        return None;
    }
    let draw = Draw::new(nodes.iter(), sample);
    let places: HashMap<&NodeName, usize> = nodes.iter().enumerate().map(|(at, node)| (&node.name, at)).collect();
    let drawn = |pair: &Pair| match (places.get(&pair.from), places.get(&pair.to)) {
        (Some(from), Some(to)) => draw.contains(*from, *to),
        _ => true,
    };
    for row in rows {
        row.of = Some(row.pairs.len());
        row.pairs.retain(drawn);
    }
    let all = (0..nodes.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    let probed = all.filter(|(one, other)| draw.contains(*one, *other)).count();
    let Sample { threshold, size } = sample;
    Some(Sampled { nodes: nodes.len(), threshold, size, probed })
}

/// A port, and everyone who must reach everyone on it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// What must be reached.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// "all to all" and the like, where it is one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// Where the pairs are a sample: of how many.
    #[serde(rename = "sampled-of", skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// Who must reach whom.
    pub pairs: Vec<Pair>,
}

/// A direction between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Who connects or sends.
    pub from: NodeName,
    /// Who listens.
    pub to: NodeName,
}

/// "all to all", "all to control-plane" and the like, where it is one of them.
fn groups(pairs: &[Pair], nodes: &[Node], roles: &HashMap<&NodeName, Role>) -> Option<String> {
    const GROUPS: [(Group, &str); 3] =
        [(Group::All, "all"), (Group::Only(Role::ControlPlane), "control-plane"), (Group::Only(Role::Worker), "worker")];
    let within = |name: &NodeName, group: Group| roles.get(name).is_some_and(|role| group.contains(*role));
    let count = |group: Group| nodes.iter().filter(|node| group.contains(node.role)).count();
    let both = |from: Group, to: Group| nodes.iter().filter(|node| from.contains(node.role) && to.contains(node.role)).count();
    for (from, from_name) in GROUPS {
        for (to, to_name) in GROUPS {
            let possible = count(from) * count(to) - both(from, to);
            if possible == pairs.len() && pairs.iter().all(|pair| within(&pair.from, from) && within(&pair.to, to)) {
                return Some(format!("{from_name} to {to_name}"));
            }
        }
    }
    None
}
