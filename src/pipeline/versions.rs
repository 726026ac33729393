//! Whether the wanted kubelet may follow the installed one. Whether it may serve under the API server is preflight's
//! business.

use super::{Context, Failure, Prepared};
use crate::{
    model::Component,
    output::Event,
    plan::{self, AllowedSteps, NotAskedFor, UnusualStep},
};

fn unusual_steps(context: &Context, prepared: &Prepared) -> Vec<UnusualStep> {
    let installed = prepared.observed.current.as_ref().and_then(|manifest| manifest.contents.artifact(Component::Kubelet));
    plan::unusual_steps(installed.map(|record| &record.version), &context.settings.kubelet.version)
}

/// Tells which step install would refuse unless it is asked for.
pub fn foretell(context: &Context, prepared: &Prepared) {
    for step in unusual_steps(context, prepared) {
        let text = format!("install refuses this unless {} asks for it: {step}", step.flag());
        context.events.emit(Event::Warning { text });
    }
}

/// Refuses a version that must not follow.
pub(super) fn check(context: &Context, prepared: &Prepared, allowed: AllowedSteps) -> Result<(), Failure> {
    let steps = unusual_steps(context, prepared);
    let (asked_for, refused): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.is_allowed(allowed));
    if !refused.is_empty() {
        return Err(NotAskedFor(refused).into());
    }
    for step in asked_for {
        context.events.emit(Event::Warning { text: format!("{step}; {} asks for it", step.flag()) });
    }
    Ok(())
}
