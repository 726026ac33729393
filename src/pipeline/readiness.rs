//! From healthy units to a Node that is Ready: what is waited for, how long, and what becomes of a run that waits in vain.
//!
//! A Node that was Ready before the run has to be Ready after it, or the run is undone. Any other stays as installed: an
//! administrator who has not approved a certificate yet is no reason to tear a host down.

use std::{path::Path, time::Duration};

use super::{
    Context, Failure, Prepared,
    activate::{FLANNELD, begin},
    failure::Cause,
};
use crate::{
    config::Cluster,
    generation,
    health::chain::{self, Expectation, Flannel, Link, Patience, Readiness},
    host::api_server::Credential,
    host::{api_server::NodeAnswer, files, kubeconfig::credential, look, machine},
    model::{Component, UnitName, layout},
    output::Event,
    plan::Step,
    transaction::Change,
};

/// What a run waits for once its units are healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Waits {
    /// For a Node that is Ready.
    #[default]
    ForReady,
    /// For one that was Ready to be Ready again.
    ToStayReady,
    /// For nothing.
    Not,
}

/// What a run knows of its Node.
#[derive(Debug, Clone)]
pub enum Standing {
    /// There is no cluster.
    Standalone,
    /// It was not waited for.
    NotWaited,
    /// This was seen.
    Seen(Readiness),
}

impl Standing {
    /// What was seen.
    #[must_use]
    pub const fn readiness(&self) -> Option<&Readiness> {
        match self {
            Self::Seen(readiness) => Some(readiness),
            Self::Standalone | Self::NotWaited => None,
        }
    }
}

/// flanneld is started once its Node has a network, and after so long all the same.
const NETWORK: Duration = Duration::from_secs(10);

/// What the generation in force makes of the node; none where it runs standalone, or where nothing is installed.
pub(super) fn expectation(opt: &Path) -> Option<Expectation> {
    let contents = generation::current(opt).ok().flatten()?.contents;
    let text = |name: &str| files::read_text(&opt.join("current/etc").join(name)).ok();
    let json = |name: &str| text(name).and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    text("kubelet.env").filter(|flags| flags.contains("--kubeconfig="))?;
    let configuration = json("kubelet.json").unwrap_or_default();
    let endpoint = configuration["containerRuntimeEndpoint"].as_str().unwrap_or("unix:///run/containerd/containerd.sock");
    let flannel = contents.unit(&UnitName::known(FLANNELD)).map(|_| {
        let from_node = text("flanneld.env").is_some_and(|flags| flags.contains("--kube-subnet-mgr"));
        Flannel::of(from_node, json("net-conf.json").as_ref())
    });
    Some(Expectation {
        node: contents.node.clone(),
        kubelet: contents.artifact(Component::Kubelet)?.version.clone(),
        root_directory: contents.root_directory.clone(),
        runtime: endpoint.trim_start_matches("unix://").into(),
        flannel,
        outdated: None,
    })
}

/// A Node that is this machine, and Ready.
pub(super) struct ReadyBefore {
    /// When it was last said to be.
    heartbeat: String,
    /// The rest of the chain was there, too.
    pub(super) complete: bool,
}

/// The Node before the run changes anything; none where it is not Ready.
pub(super) async fn ready_before(context: &Context, prepared: &Prepared) -> Option<ReadyBefore> {
    if context.settings.cluster.is_none() || context.waits == Waits::Not {
        return None;
    }
    // Nobody could tell afterwards.
    let Ok(Credential::Certificate(certificate)) = credential(Path::new(layout::KUBELET_KUBECONFIG)) else { return None };
    match chain::node_of(prepared.identity.name.as_str(), certificate).await {
        Ok((NodeAnswer::Present(node), _)) if node.is_ready && machine::id().is_ok_and(|id| id == node.system.machine_id) => {
            let complete = match expectation(&context.opt) {
                Some(expectation) => chain::look(&expectation).await.complete,
                None => false,
            };
            node.ready.map(|ready| ReadyBefore { heartbeat: ready.heartbeat, complete })
        }
        _ => None,
    }
}

/// Sees that a Node that was Ready is so again: all of the chain where all of it was there, and otherwise as much as the Node
/// itself says. Gives the whole chain, or `None` where that is still to be seen.
pub(super) async fn stays_ready(
    context: &Context,
    before: Option<&ReadyBefore>,
    started: &[UnitName],
) -> Result<Option<Readiness>, Cause> {
    let (Some(before), Some(expectation)) = (before, expectation(&context.opt)) else { return Ok(None) };
    if started.is_empty() {
        return Ok(None);
    }
    let restarted = started.iter().any(|unit| unit.as_str() == "kubelet.service");
    let expectation = Expectation {
        outdated: restarted.then(|| before.heartbeat.clone()),
        flannel: expectation.flannel.filter(|_| before.complete),
        ..expectation
    };
    let readiness = wait(context, &expectation).await;
    match readiness {
        _ if context.stop.is_cancelled() => Err(Cause::Interrupted),
        readiness if readiness.complete => Ok(Some(readiness).filter(|_| before.complete)),
        readiness => Err(Cause::NotReady(Box::new(readiness))),
    }
}

/// Waits for the Node as long as the configuration has it, and ends the bootstrap as soon as the kubelet has its certificate.
pub(super) async fn conclude(context: &Context, seen: Option<Readiness>) -> Standing {
    let Some(expectation) = expectation(&context.opt) else { return Standing::Standalone };
    let readiness = match seen {
        Some(readiness) => readiness,
        None if context.waits == Waits::ForReady => wait(context, &expectation).await,
        None => return Standing::NotWaited,
    };
    if readiness.has(Link::Certificate)
        && let Err(error) = end_bootstrap(context).await
    {
        let text = format!("what the kubelet bootstrapped with could not be removed: {error}");
        context.events.emit(Event::Warning { text });
    }
    Standing::Seen(readiness)
}

async fn wait(context: &Context, expectation: &Expectation) -> Readiness {
    context.events.emit(Event::Stage { name: "readiness" });
    let timeout = context.settings.cluster.as_ref().map_or(Cluster::READY_TIMEOUT, |cluster| cluster.ready_timeout);
    let patience = Patience { timeout, until: Link::Ready, events: &context.events, stop: &context.stop };
    chain::wait(expectation, &patience).await
}

/// Whether flanneld has what it needs of its Node. With a start before it, that is waited for a little.
pub(super) async fn has_network(context: &Context, starts: bool) -> bool {
    let Some(expectation) = expectation(&context.opt) else { return true };
    let patience = Patience {
        timeout: if starts { NETWORK } else { Duration::ZERO },
        until: Link::PodCidr,
        events: &crate::output::silent(),
        stop: &context.stop,
    };
    chain::wait(&expectation, &patience).await.has(Link::PodCidr)
}

/// Whether flanneld has its lease.
pub(super) async fn has_lease(context: &Context) -> bool {
    match expectation(&context.opt) {
        Some(expectation) => chain::look(&expectation).await.has(Link::Flannel),
        None => true,
    }
}

/// Removes what nobody needs any more: the bootstrap kubeconfig, and the token's file where that is hostlet's.
async fn end_bootstrap(context: &Context) -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut remove = |path: &Path, reason: &str| {
        if look::exists(path) {
            steps.push(Step { change: Change::RemoveFile { path: path.to_owned() }, reason: reason.to_owned() });
        }
    };
    remove(Path::new(layout::BOOTSTRAP_KUBECONFIG), "the kubelet has its client certificate and needs the token no more");
    for path in context.settings.cluster.iter().flat_map(Cluster::own_credentials) {
        remove(path, "the kubelet has its client certificate and needs the token no more");
    }
    if steps.is_empty() {
        return Ok(());
    }
    for path in context.settings.cluster.iter().flat_map(Cluster::credentials) {
        if look::exists(path)
            && !context.settings.cluster.iter().any(|cluster| cluster.own_credentials().any(|own| own == path))
        {
            let text = format!(
                "{} still holds what the kubelet bootstrapped with: it is not in hostlet's own directory, so it stays; remove it, or let it expire",
                path.display()
            );
            context.events.emit(Event::Note { text });
        }
    }
    let mut transaction = begin(context, "install").await?;
    for step in &steps {
        if let Err(error) = transaction.apply(step).await {
            return Err(Failure::undone(error.into(), transaction.undo().await));
        }
    }
    transaction.commit(&[]).await.map_err(|(error, undone)| Failure::undone(error.into(), undone))
}
