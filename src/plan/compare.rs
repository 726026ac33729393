//! What is wanted against what was found: the changes that lead from one to the other, each with its reason.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Fetch, Plan, Step, Wanted};
use crate::{
    facts::{Activity, Observed, UnitFacts},
    generation::manifest::{Contents, UnitRecord},
    model::{Artifact, Expected, PathState, UnitName, layout},
    transaction::Change,
};

/// Finds what has to change. With `anew` everything is fetched and laid again, whatever its state.
#[must_use]
pub fn compare(wanted: &Wanted, observed: &Observed, anew: bool) -> Plan {
    let mut comparison = Comparison { wanted, observed, anew, back_to: None, touched: BTreeSet::new(), steps: Vec::new() };
    let generation = comparison.run();
    let missing = |artifact: &&Artifact| {
        let stays = !anew && observed.intact.contains(&artifact.store_name()) && comparison.is_signed(artifact);
        generation.is_some() && !stays
    };
    let fetch = wanted.artifacts.iter().filter(missing).map(|artifact| Fetch::of(wanted, artifact)).collect();
    Plan { fetch, generation, steps: comparison.steps }
}

/// Finds what has to change so that an earlier generation, which is on the disk whole, is in force again.
#[must_use]
pub fn compare_back(wanted: &Wanted, observed: &Observed, to: u64) -> Plan {
    let back_to = Some(to);
    let mut comparison = Comparison { wanted, observed, anew: false, back_to, touched: BTreeSet::new(), steps: Vec::new() };
    comparison.run();
    Plan { steps: comparison.steps, ..Plan::default() }
}

struct Comparison<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    anew: bool,
    /// The generation to go back to; otherwise a new one is staged where one is needed.
    back_to: Option<u64>,
    /// Paths outside the generation that are changed: units that read them restart.
    touched: BTreeSet<PathBuf>,
    steps: Vec<Step>,
}

impl Comparison<'_> {
    fn run(&mut self) -> Option<String> {
        self.leave_units_behind();
        self.program();
        self.host_paths();
        self.kernel();
        let generation = self.generation();
        self.paths_left_behind();
        self.units(generation.is_some());
        generation
    }

    fn old(&self) -> Option<&Contents> {
        self.observed.current.as_ref().map(|manifest| &manifest.contents)
    }

    fn add(&mut self, change: Change, reason: impl Into<String>) {
        self.steps.push(Step { change, reason: reason.into() });
    }

    fn state(&self, path: &Path) -> &PathState {
        self.observed.paths.get(path).unwrap_or(&PathState::Absent)
    }

    fn program(&mut self) {
        let (path, digest, mode) = (PathBuf::from(layout::PROGRAM), self.wanted.program, 0o755);
        let Some(difference) = (Expected::File { digest, mode }).difference(self.state(&path)) else { return };
        let purpose = "hostlet's units start it";
        let reason =
            if difference == "missing" { purpose.to_owned() } else { format!("{purpose}; what is there now: {difference}") };
        self.add(Change::CopyFile { path, source: "/proc/self/exe".into(), digest, mode }, reason);
    }

    fn host_paths(&mut self) {
        let wanted = self.wanted;
        for (path, expected) in &wanted.contents.host {
            let Some(difference) = expected.difference(self.state(path)) else { continue };
            let purpose = wanted.purposes.get(path).copied().unwrap_or_default();
            let reason = match self.old().and_then(|old| old.host.get(path)) {
                None if difference == "missing" => purpose.to_owned(),
                None => format!("{purpose}; what is there now: {difference}"),
                Some(before) if before == expected => format!("{purpose}; changed since hostlet wrote it: {difference}"),
                Some(_) => format!("{purpose}; the configuration changed"),
            };
            self.touched.insert(path.clone());
            let path = path.clone();
            match expected {
                Expected::Directory { mode } => self.add(Change::CreateDirectory { path, mode: *mode }, reason),
                Expected::Link { target } => self.add(Change::CreateLink { path, target: target.clone() }, reason),
                Expected::File { mode, .. } => {
                    if let Some(content) = wanted.host_files.get(&path) {
                        self.add(Change::WriteFile { path, content: content.clone(), mode: *mode }, reason);
                    }
                }
            }
        }
        for (path, content) in &wanted.transient {
            let expected = Expected::File { digest: content.digest(), mode: 0o600 };
            if expected.difference(self.state(path)).is_some() {
                let purpose = wanted.purposes.get(path).copied().unwrap_or_default();
                self.touched.insert(path.clone());
                self.add(Change::WriteFile { path: path.clone(), content: content.clone(), mode: 0o600 }, purpose);
            }
        }
        for (path, reason) in &wanted.absent {
            if *self.state(path) != PathState::Absent {
                self.add(Change::RemoveFile { path: path.clone() }, *reason);
            }
        }
    }

    fn kernel(&mut self) {
        let wanted = self.wanted;
        for (name, purpose) in &wanted.modules {
            self.add(Change::LoadModule { name: (*name).to_owned() }, *purpose);
        }
        for (name, value) in &wanted.contents.sysctls {
            let found = self.observed.sysctls.get(name).cloned().flatten();
            if found.as_deref() != Some(value) {
                let now = found.map_or_else(|| "not there yet".to_owned(), |found| format!("now {found}"));
                self.add(Change::SetSysctl { name: name.clone(), value: value.clone() }, now);
            }
        }
        if let Some(path) = &wanted.make_shared {
            let reason = "what the kubelet mounts under it must reach the container runtime";
            self.add(Change::MakeShared { path: path.clone() }, reason);
        }
    }

    fn generation(&mut self) -> Option<String> {
        let current = self.observed.current.as_ref();
        let reason = match current {
            _ if self.back_to.is_some() => "as asked for".to_owned(),
            None => "nothing is installed".to_owned(),
            Some(_) if self.anew => "everything is laid anew, as asked for".to_owned(),
            Some(manifest) if manifest.contents != self.wanted.contents => {
                differences(&manifest.contents, &self.wanted.contents)
            }
            Some(_) => match self.observed.damage.first() {
                Some((path, difference)) => format!("damaged: {} {difference}", path.display()),
                None => format!("a signature of {} is required, and none was verified", self.unsigned()?),
            },
        };
        let to = self.back_to.unwrap_or(self.observed.highest_generation + 1);
        self.add(Change::SwitchGeneration { from: current.map(|manifest| manifest.number), to }, reason.clone());
        Some(reason)
    }

    /// An artifact that is there and whose signature is required now, and was not verified then.
    fn unsigned(&self) -> Option<&Artifact> {
        self.wanted.artifacts.iter().find(|artifact| !self.is_signed(artifact))
    }

    fn is_signed(&self, artifact: &Artifact) -> bool {
        let signatures = self.observed.current.as_ref().map(|manifest| &manifest.stored.signatures);
        let signature = signatures.and_then(|signatures| signatures.get(&artifact.store_name()));
        self.wanted.signatures.get(&artifact.component).is_none_or(|policy| policy.is_satisfied_by(signature))
    }

    fn leave_units_behind(&mut self) {
        let Some(old) = self.old() else { return };
        let gone: Vec<UnitName> = old
            .units
            .iter()
            .filter(|unit| self.wanted.contents.unit(&unit.name).is_none())
            .map(|unit| unit.name.clone())
            .rev()
            .collect();
        for unit in gone {
            let facts = self.observed.units.get(&unit).cloned().unwrap_or_default();
            if facts.activity != Activity::Down {
                self.add(Change::StopUnit { unit: unit.clone() }, "the configuration no longer wants it");
            }
            if facts.enabled {
                self.add(Change::DisableUnit { unit }, "the configuration no longer wants it");
            }
        }
    }

    fn paths_left_behind(&mut self) {
        let Some(old) = self.old() else { return };
        let gone: Vec<PathBuf> = old
            .host
            .iter()
            .filter(|(path, expected)| {
                !matches!(expected, Expected::Directory { .. })
                    && !self.wanted.contents.host.contains_key(*path)
                    && !self.wanted.absent.contains_key(*path)
                    && !self.wanted.transient.contains_key(*path)
                    && *self.state(path) != PathState::Absent
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.touched.insert(path.clone());
            self.add(Change::RemoveFile { path }, "the configuration no longer wants it");
        }
    }

    fn units(&mut self, switched: bool) {
        let wanted = self.wanted;
        let units_touched = self.touched.iter().any(|path| path.starts_with(layout::UNITS));
        let stale = wanted.contents.units.iter().any(|unit| self.facts(&unit.name).needs_reload);
        if units_touched || stale {
            self.add(Change::ReloadSystemd, if units_touched { "unit files change" } else { "unit files changed on disk" });
        }
        for unit in &wanted.contents.units {
            if !self.facts(&unit.name).enabled {
                self.add(Change::EnableUnit { unit: unit.name.clone() }, "it has to start at boot");
            }
        }
        self.replace_units();
        for unit in &wanted.contents.units {
            let facts = self.facts(&unit.name);
            let name = unit.name.clone();
            match facts.activity {
                Activity::Up => {
                    if let Some(reason) = self.restart_reason(unit, &facts, switched) {
                        self.add(Change::RestartUnit { unit: name }, reason);
                    }
                }
                Activity::Down => self.add(Change::StartUnit { unit: name }, "it is not running"),
                Activity::Between => {
                    let reason = format!("it is not running: {}", facts.sub_state);
                    self.add(Change::RestartUnit { unit: name }, reason);
                }
            }
        }
    }

    /// As late as possible: until here the other kubelet ran.
    fn replace_units(&mut self) {
        for unit in &self.wanted.replaces {
            let facts = self.facts(unit);
            if facts.activity != Activity::Down {
                self.add(Change::StopUnit { unit: unit.clone() }, "it runs the kubelet that hostlet replaces");
            }
            if facts.enabled {
                self.add(Change::DisableUnit { unit: unit.clone() }, "hostlet's kubelet starts at boot in its place");
            }
        }
    }

    fn facts(&self, unit: &UnitName) -> UnitFacts {
        self.observed.units.get(unit).cloned().unwrap_or_default()
    }

    /// Why a running unit has to be restarted. A mount is never restarted: pods' volumes hang below it.
    fn restart_reason(&self, unit: &UnitRecord, facts: &UnitFacts, switched: bool) -> Option<String> {
        if unit.name.is_mount() {
            return None;
        }
        if let Some(path) = unit.reads.iter().find(|path| self.touched.contains(*path)) {
            return Some(format!("{} changes", path.display()));
        }
        if facts.needs_reload {
            return Some("its unit file changed on disk since it was started".to_owned());
        }
        let before = self.old().and_then(|old| old.unit(&unit.name));
        if before.is_none_or(|before| before.inputs != unit.inputs) {
            return Some("its executable or configuration changes".to_owned());
        }
        let damaged = |executable: &Path| self.observed.damage.iter().any(|(path, _)| path == executable);
        match &facts.executable {
            Some(executable) if executable.to_string_lossy().ends_with(" (deleted)") => {
                Some("its executable was replaced since it was started".to_owned())
            }
            Some(executable) if switched && (self.anew || damaged(executable)) => {
                Some("its executable is laid anew".to_owned())
            }
            _ => None,
        }
    }
}

/// What differs between two contents, for people.
pub(super) fn differences(old: &Contents, new: &Contents) -> String {
    let mut parts = Vec::new();
    for artifact in &new.artifacts {
        match old.artifact(artifact.component) {
            None => parts.push(format!("{} {} is new", artifact.component, artifact.version)),
            Some(before) if before.version != artifact.version => {
                parts.push(format!("{} {} -> {}", artifact.component, before.version, artifact.version));
            }
            Some(before) if before.digest != artifact.digest => {
                parts.push(format!("{} has another digest", artifact.component));
            }
            Some(_) => {}
        }
    }
    let gone = old.artifacts.iter().filter(|artifact| new.artifact(artifact.component).is_none());
    parts.extend(gone.map(|artifact| format!("{} is no longer wanted", artifact.component)));
    let changed = |path: &&String| old.entries.get(*path) != new.entries.get(*path) && path.starts_with("etc/");
    parts.extend(new.entries.keys().filter(changed).map(|path| format!("{path} changes")));
    if parts.is_empty() { "what it puts on the host changes".to_owned() } else { parts.join(", ") }
}
