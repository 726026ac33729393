//! `hostlet preflight`

use super::Done;
use crate::{
    host::terminal,
    mesh::{self, Node, Pair, Row, Rules},
    pipeline::{self, Context, Failure},
    preflight,
};

pub(super) async fn run(context: &Context, table: bool) -> Result<Done, Failure> {
    let report = pipeline::local_preflight(context).await?;
    let (mut text, json) = (report.to_string(), report.clone());
    if let Some(mesh) = report.mesh.as_ref().filter(|_| table) {
        text = format!("{}\n{text}", mesh.table(terminal::stdout_columns().unwrap_or(100)));
    }
    let code = if report.is_clear() { 0 } else { 3 };
    Ok(Done::new(&text, &json)?.exit_code(code))
}

pub(super) fn list(markdown: bool) -> Result<Done, Failure> {
    let checks = preflight::list();
    if markdown {
        return Done::new(&preflight::page(), &checks);
    }
    let line = |check: &preflight::CheckDescription| {
        format!("{:<20} {:<8} {}\n{:30}{}\n", check.id, check.severity, check.tests, "", check.remedy)
    };
    Done::new(&checks.iter().map(line).collect::<String>(), &checks)
}

/// Who must reach whom.
pub(super) async fn matrix(context: &Context) -> Result<Done, Failure> {
    let settings = &context.settings;
    let identity = pipeline::identity(context).await?;
    let this = Node::this(settings, &identity);
    let mut nodes: Vec<Node> = settings.mesh.iter().flat_map(|mesh| mesh.peers.iter().map(Node::from)).collect();
    let mut text = String::new();
    if settings.mesh.as_ref().is_some_and(|mesh| mesh.peers_from.is_some()) {
        let (found, roster) = mesh::ask(settings, context.wait).await.beside(&this, &nodes);
        nodes.extend(found);
        text = roster.to_string();
    }
    if !nodes.iter().any(|node| node.name == this.name) {
        nodes.insert(0, this);
    }
    let mut rows = mesh::matrix(&Rules::of(settings), &nodes);
    let sampled = settings.mesh.as_ref().and_then(|mesh| mesh::keep_drawn(&mut rows, &nodes, mesh.sample));
    let list = |row: &Row| {
        let pairs: Vec<_> = row.pairs.iter().map(|Pair { from, to }| format!("{from} -> {to}")).collect();
        pairs.join(", ")
    };
    let line = |row: &Row| {
        let who = row.groups.clone().unwrap_or_else(|| list(row));
        let family = if row.requirement.family == mesh::Family::Ipv4 { "IPv4" } else { "IPv6" };
        let (requirement, service) = (row.requirement.to_string(), row.requirement.service.to_string());
        let pairs = match row.of {
            Some(of) => format!("{} pairs, sampled of {of}", row.pairs.len()),
            None => format!("{} pairs", row.pairs.len()),
        };
        format!("{requirement:<12} {family}  {service:<16} {who} ({pairs})\n")
    };
    text.extend(rows.iter().map(line));
    if let Some(mesh::Sampled { nodes, threshold, .. }) = sampled {
        text.push_str(&format!("Sampled: {nodes} nodes are more than mesh.sample.threshold ({threshold}).\n"));
    }
    if settings.mesh.is_none() {
        text.push_str("There is no [mesh], so no other node is known: name the nodes under mesh.peers.\n");
    }
    Done::new(&text, &rows)
}
