//! Whether the wanted kubelet may follow the installed one, and may serve under the cluster's API server.

use std::time::Duration;

use super::{Context, Failure, Prepared};
use crate::{
    host::api_server,
    model::{Component, Version},
    output::Event,
    plan::{self, AllowedSteps, NotAskedFor},
};

/// The API server is not waited for any longer: without its answer the run goes on.
const LIMIT: Duration = Duration::from_secs(2);

fn installed(prepared: &Prepared) -> Option<&Version> {
    let current = prepared.observed.current.as_ref()?;
    current.contents.artifact(Component::Kubelet).map(|record| &record.version)
}

/// Tells which step install would refuse unless it is asked for.
pub fn foretell(context: &Context, prepared: &Prepared) {
    for step in plan::unusual_steps(installed(prepared), &context.settings.kubelet.version) {
        let text = format!("install refuses this unless {} asks for it: {step}", step.flag());
        context.events.emit(Event::Warning { text });
    }
}

/// Refuses a version that must not follow. Where the kubelet stays what it is there is nothing to ask.
pub(super) async fn check(context: &Context, prepared: &Prepared, allowed: AllowedSteps) -> Result<(), Failure> {
    let wanted = &context.settings.kubelet.version;
    let installed = installed(prepared);
    if installed == Some(wanted) {
        return Ok(());
    }
    let (asked_for, refused): (Vec<_>, Vec<_>) =
        plan::unusual_steps(installed, wanted).into_iter().partition(|step| step.is_allowed(allowed));
    if !refused.is_empty() {
        return Err(NotAskedFor(refused).into());
    }
    for step in asked_for {
        context.events.emit(Event::Warning { text: format!("{step}; {} asks for it", step.flag()) });
    }
    check_skew(context, prepared, wanted).await
}

async fn check_skew(context: &Context, prepared: &Prepared, wanted: &Version) -> Result<(), Failure> {
    let (Some(cluster), Some(authority)) = (&context.settings.cluster, prepared.wanted.files.get("etc/ca.crt")) else {
        return Ok(());
    };
    match api_server::version(&cluster.server, authority.bytes(), LIMIT).await {
        Ok(server) => Ok(plan::skew(wanted, &server)?),
        Err(why) => {
            let text = format!(
                "the version of the API server {} is not known, so whether kubelet {wanted} may serve under it is not checked: \
                 {why}",
                cluster.server
            );
            context.events.emit(Event::Warning { text });
            Ok(())
        }
    }
}
