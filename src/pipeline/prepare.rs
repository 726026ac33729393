//! From settings to a plan that preflight has cleared. Reads only, apart from undoing an earlier run that was killed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Context, Failure, discovery, fetching};
use crate::{
    facts::{self, Observed},
    generation,
    host::{look, systemd::Systemd},
    model::NodeIdentity,
    output::Event,
    plan::{self, Plan, PlanError, Wanted},
    preflight::{self, Cleared, Report, Subject},
    transaction::{Ground, journal},
};

/// A plan, and what it was made from.
#[derive(Debug)]
pub struct Prepared {
    /// Who the node is.
    pub identity: NodeIdentity,
    /// What the host shall be.
    pub wanted: Wanted,
    /// What it is.
    pub observed: Observed,
    /// What has to be done.
    pub plan: Plan,
}

/// Makes the plan. The network is asked for a digest only where neither catalog, configuration nor the generation in force
/// knows it.
pub async fn prepare(context: &Context, anew: bool) -> Result<Prepared, Failure> {
    let settings = &context.settings;
    if look::exists(&journal::path(&context.state)) {
        let text = "a run was ended in the middle, or is under way: the next one undoes it first, and finds another host";
        context.events.emit(Event::Warning { text: text.to_owned() });
    }
    let identity = identity(context).await?;
    let facts = facts::host(settings)?;
    let current = generation::current(&context.opt)?;
    let artifacts = fetching::artifacts(context, identity.architecture, current.as_ref()).await?;
    let facts = facts.with_mount_unit_of(current.as_ref()).with_foreign(facts::foreign(current.as_ref(), context.adopt)?);
    let wanted = plan::wanted(settings, &facts, &identity, &artifacts)?;
    let footprint = plan::footprint(&wanted, current.as_ref());
    let observed = facts::observe(footprint, current, context.opt.clone()).await?;
    let plan = plan::compare(&wanted, &observed, anew);
    Ok(Prepared { identity, wanted, observed, plan })
}

/// Who the node is. Whoever waits for a machine that is booting waits for its address, too.
pub async fn identity(context: &Context) -> Result<NodeIdentity, Failure> {
    let begun = Instant::now();
    loop {
        match plan::identity(&context.settings, &facts::node()) {
            Err(PlanError::NodeAddress) if begun.elapsed() < context.wait => {}
            identity => return Ok(identity?),
        }
        tokio::select! {
            () = context.stop.cancelled() => return Err(Failure::Interrupted),
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
    }
}

/// The checks alone: what `hostlet preflight` runs.
pub async fn local_preflight(context: &Context) -> Result<Report, Failure> {
    let identity = identity(context).await?;
    // What keeps the authority from being discovered is a finding among the others.
    let settled = discovery::kept(context)?.unwrap_or_else(|| context.clone());
    check(&settled, identity).await
}

/// Refuses to go on unless the host is fit.
pub(super) async fn preflight(context: &Context, prepared: &Prepared) -> Result<Cleared, Failure> {
    let report = check(context, prepared.identity.clone()).await?;
    let cleared = report.gate()?;
    for finding in cleared.warnings() {
        context.events.emit(Event::Warning { text: format!("{}: {}", finding.id, finding.observed) });
    }
    Ok(cleared)
}

async fn check(context: &Context, identity: NodeIdentity) -> Result<Report, Failure> {
    let subject = Subject { adopt: context.adopt, wait: context.wait, ..Subject::new(context.settings.clone(), identity) };
    tokio::select! {
        () = context.stop.cancelled() => Err(Failure::Interrupted),
        report = preflight::run(Arc::new(subject), &context.events) => Ok(report),
    }
}

/// Where a transaction works.
pub(super) async fn ground(context: &Context) -> Result<Ground, Failure> {
    let systemd = Systemd::connect().await.map_err(|error| Failure::NoSystemd(error.to_string()))?;
    Ok(Ground {
        opt: context.opt.clone(),
        state: context.state.clone(),
        root_directory: context.settings.kubelet.root_directory.clone(),
        systemd: Some(systemd),
        // The unit's own TimeoutStartSec is 90 s; systemd's word on a start that hangs is better than ours.
        job_deadline: context.settings.kubelet.health_timeout.max(Duration::from_secs(90)) + Duration::from_secs(15),
    })
}
