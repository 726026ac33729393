//! The health gate: a unit counts as healthy when it has been, not when systemd says that it was started.
//!
//! A kubelet says READY before it has met what may be fatal to it, and with Restart=always a crash loop never becomes
//! `failed`. So: active and running, the same main process without a restart over a window, its healthz, and what it
//! mounts seen on the host and by the container runtime.
//!
//! None of this tells that the node registered and became Ready: that is the [`chain`], which takes the API server.

pub mod chain;
mod gate;
mod propagation;
mod verdict;

use std::{path::PathBuf, time::Duration};

use crate::{host::healthz::Endpoint, model::UnitName};

pub use gate::wait;
pub use verdict::{Cause, HealthError, Healthy, Unhealthy};

/// What is asked of a unit.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Which unit: a service.
    pub unit: UnitName,
    /// How long it may take to become healthy.
    pub timeout: Duration,
    /// How long it must have been stable.
    pub window: Duration,
    /// NRestarts from which restarts are counted: 0 for a unit that this run started or restarted (systemd begins anew
    /// then), `None` for what it is at the first look.
    pub since_restarts: Option<u32>,
    /// So many restarts are a loop, in which nothing is gained by waiting on; `None` for a unit that is expected to exit until
    /// something else has happened.
    pub loop_after: Option<u32>,
    /// Its health endpoint.
    pub healthz: Option<Endpoint>,
    /// Whose mounts must arrive where; for the kubelet.
    pub propagation: Option<PropagationGate>,
}

/// What the unit mounts under a directory must be seen by the host and by these.
#[derive(Debug, Clone)]
pub struct PropagationGate {
    /// The kubelet's root directory.
    pub root: PathBuf,
    /// The units that must see it: the container runtime's.
    pub receivers: Vec<UnitName>,
}
