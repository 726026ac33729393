//! What lies where hostlet wants something.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::{
    generation::manifest::Manifest,
    model::{PathState, UnitName},
};

/// What to look at: made by the plan from what is wanted, and from what the generation in force wanted.
#[derive(Debug, Clone, Default)]
pub struct Footprint {
    /// Paths outside of the generations.
    pub paths: BTreeSet<PathBuf>,
    /// Kernel parameters.
    pub sysctls: BTreeSet<String>,
    /// Units.
    pub units: BTreeSet<UnitName>,
    /// Entries of the store.
    pub store: BTreeSet<String>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// At each path of the footprint.
    pub paths: BTreeMap<PathBuf, PathState>,
    /// The values of the kernel parameters; `None` where the kernel has no such parameter.
    pub sysctls: BTreeMap<String, Option<String>>,
    /// The units.
    pub units: BTreeMap<UnitName, UnitFacts>,
    /// The generation in force.
    pub current: Option<Manifest>,
    /// How the generation in force and its files in the store differ from its manifest: path and difference.
    pub damage: Vec<(PathBuf, String)>,
    /// Entries of the store that are there and undamaged.
    pub intact: BTreeSet<String>,
    /// Why systemd could not be asked about units; preflight refuses then.
    pub systemd_unavailable: Option<String>,
    /// The highest number of a generation that is on the disk.
    pub highest_generation: u64,
}

/// What is known of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// Whether it runs.
    pub activity: Activity,
    /// systemd's SubState: `running`, `auto-restart`.
    pub sub_state: String,
    /// It starts at boot.
    pub enabled: bool,
    /// The process, if one runs.
    pub main_pid: Option<u32>,
    /// What the process executes.
    pub executable: Option<PathBuf>,
    /// The unit file in force.
    pub fragment: Option<PathBuf>,
    /// The drop-ins in force.
    pub drop_ins: Vec<PathBuf>,
    /// The files on disk are newer than what systemd read.
    pub needs_reload: bool,
}

/// Whether a unit runs; for a mount, whether it is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    /// It does not.
    #[default]
    Down,
    /// It is on its way up or down: also while systemd waits before it starts a crashed service again.
    Between,
    /// It does.
    Up,
}
