//! Settings and facts to an ordered list of changes. Pure: no I/O, no clock, no environment.

mod compare;
#[cfg(test)]
mod compare_tests;
mod earlier;
mod fetch;
#[cfg(test)]
mod flannel_tests;
mod identity;
mod render;
#[cfg(test)]
mod render_tests;
mod versions;
mod wanted;

use std::fmt;

use serde::Serialize;

pub use compare::{compare, compare_back};
pub use earlier::{NoCredential, departure, earlier};
pub use fetch::Fetch;
pub use identity::{architecture, identity};
pub use render::{KERNEL_DEFAULTS, PlanError, wanted};
pub use versions::{AllowedSteps, NotAskedFor, Skew, UnusualStep, skew, unusual_steps};
pub use wanted::Wanted;

use crate::{
    facts::Footprint,
    generation::manifest::{Contents, Manifest},
    model::{Artifact, layout},
    transaction::Change,
};

/// What has to be done, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What has to be fetched, verified and stored first.
    pub fetch: Vec<Fetch>,
    /// Why a new generation has to be staged; `None` when the one in force stays.
    pub generation: Option<String>,
    /// The changes of the host.
    pub steps: Vec<Step>,
}

/// One change with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done.
    #[serde(flatten)]
    pub change: Change,
    /// Why.
    pub reason: String,
}

impl Plan {
    /// The generation that is in force afterwards, where that is another one.
    #[must_use]
    pub fn switches_to(&self) -> Option<u64> {
        self.steps.iter().find_map(|step| match step.change {
            Change::SwitchGeneration { to, .. } => Some(to),
            _ => None,
        })
    }

    /// Nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fetch.is_empty() && self.generation.is_none() && self.steps.is_empty()
    }
}

/// What has to be looked at to compare: what is wanted, and what the generation in force wanted.
#[must_use]
pub fn footprint(wanted: &Wanted, current: Option<&Manifest>) -> Footprint {
    let mut footprint = Footprint::default();
    footprint.paths.extend(wanted.absent.keys().chain(wanted.transient.keys()).cloned());
    footprint.units.extend(wanted.replaces.iter().cloned());
    footprint.paths.insert(layout::PROGRAM.into());
    let mut add = |contents: &Contents| {
        footprint.paths.extend(contents.host.keys().cloned());
        footprint.sysctls.extend(contents.sysctls.keys().cloned());
        footprint.units.extend(contents.units.iter().map(|unit| unit.name.clone()));
        footprint.store.extend(contents.artifacts.iter().map(|record| Artifact::from(record).store_name()));
    };
    add(&wanted.contents);
    if let Some(manifest) = current {
        add(&manifest.contents);
    }
    footprint
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "Nothing to do: the host is as the configuration says.");
        }
        self.fetch.iter().try_for_each(|fetch| write!(f, "{fetch}"))?;
        if let Some(reason) = &self.generation {
            writeln!(f, "  stage a generation\n      {reason}")?;
        }
        for step in &self.steps {
            writeln!(f, "  {}\n      {}", step.change, step.reason)?;
        }
        let count = self.fetch.len() + usize::from(self.generation.is_some()) + self.steps.len();
        writeln!(f, "{count} steps.")
    }
}

impl Serialize for Plan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut plan = serializer.serialize_struct("Plan", 4)?;
        plan.serialize_field("empty", &self.is_empty())?;
        plan.serialize_field("fetch", &self.fetch)?;
        plan.serialize_field("generation", &self.generation)?;
        plan.serialize_field("steps", &self.steps)?;
        plan.end()
    }
}
