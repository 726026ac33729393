//! Whether the wanted kubelet may follow the installed one. Whether it may serve under the API server is preflight's
//! business.

use super::{Context, Failure, Prepared};
use crate::{
    model::Component,
    output::Event,
    plan::{self, AllowedSteps, NotAskedFor},
};

/// Refuses a version that must not follow.
pub(super) fn check(context: &Context, prepared: &Prepared, allowed: AllowedSteps) -> Result<(), Failure> {
    let installed = prepared.observed.current.as_ref().and_then(|manifest| manifest.contents.artifact(Component::Kubelet));
    let wanted = &context.settings.kubelet.version;
    let steps = plan::unusual_steps(installed.map(|record| &record.version), wanted);
    let (asked_for, refused): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.is_allowed(allowed));
    if !refused.is_empty() {
        return Err(NotAskedFor(refused).into());
    }
    for step in asked_for {
        context.events.emit(Event::Warning { text: format!("{step}; {} asks for it", step.flag()) });
    }
    Ok(())
}
