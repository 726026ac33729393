//! What is installed, whether it is healthy, and how the host differs from it. Reads only, apart from the canary: a tiny
//! mount that is made under the kubelet's root directory and gone again when the answer is there.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Failure, readiness::expectation};
use crate::{
    facts::{self, Activity, Footprint, Observed},
    generation::{
        self,
        manifest::{ArtifactRecord, Manifest, Stored},
    },
    health::chain::{self, Readiness},
    host::{
        capabilities,
        propagation::{self, Observer},
        systemd::Systemd,
    },
    model::{Artifact, Digest, NodeName, ObtainedFrom, PathState, Signature, UnitName, layout},
    transaction::journal,
    uninstall::Intent,
};

/// A component that is installed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// Which, in which version, with the digest of the file as it was downloaded.
    #[serde(flatten)]
    pub record: ArtifactRecord,
    /// Who signed it; none where an earlier hostlet installed it.
    pub signature: Option<Signature>,
    /// Where it was taken from; none where an earlier hostlet installed it.
    pub obtained: Option<ObtainedFrom>,
}

/// What `hostlet status` tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Whether anything is installed.
    pub installed: bool,
    /// The generation in force.
    pub generation: Option<u64>,
    /// When it was staged.
    pub created: Option<String>,
    /// The node's name.
    pub node: Option<NodeName>,
    /// What is installed, with the digests of the files as they were downloaded.
    pub components: Vec<Installed>,
    /// The executables with their digests.
    pub executables: Vec<Executable>,
    /// The units.
    pub units: Vec<UnitStatus>,
    /// Whether what the kubelet mounts reaches the container runtime.
    pub propagation: Propagation,
    /// How far the Node is; none where the node runs standalone, or where that could not be asked.
    pub readiness: Option<Readiness>,
    /// How the host differs from what was installed, hand edits included.
    pub differences: Vec<Difference>,
    /// A run was killed, and the next one will undo it first.
    pub unfinished_run: bool,
}

/// An installed executable.
#[derive(Debug, Clone, Serialize)]
pub struct Executable {
    /// Its name.
    pub name: String,
    /// The digest of the file.
    pub sha256: Digest,
}

/// A unit's state.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitStatus {
    /// Its name.
    pub name: UnitName,
    /// Whether it runs.
    pub active: bool,
    /// systemd's SubState.
    pub sub_state: String,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Its process.
    pub main_pid: Option<u32>,
}

/// Whether what the kubelet mounts reaches the container runtime.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "detail")]
pub enum Propagation {
    /// A canary mount was seen by all of these, and gone for all of them afterwards.
    Proved(Vec<String>),
    /// It was not.
    Broken(String),
    /// It could not be tried.
    Unknown(String),
}

/// One way in which the host differs.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// What: a path, a unit, a kernel parameter.
    pub subject: String,
    /// How.
    pub difference: String,
}

impl Status {
    /// Everything is as it was installed, and runs.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let runs = self.units.iter().all(|unit| unit.active && unit.enabled);
        let propagated = matches!(self.propagation, Propagation::Proved(_));
        self.installed && runs && propagated && self.differences.is_empty() && !self.unfinished_run
    }
}

/// Looks at the host and compares it with the generation in force.
pub async fn status(opt: &Path, state: &Path) -> Result<Status, Failure> {
    let unfinished_run = journal::read(state)?.is_some() || Intent::read(state)?.is_some();
    let Some(manifest) = generation::current(opt)? else {
        return Ok(Status::nothing(unfinished_run));
    };
    let observed = facts::observe(footprint(&manifest), Some(manifest.clone()), opt.to_owned()).await?;
    let propagation = propagation(&manifest, &observed).await;
    let differences = differences(&manifest, &observed);
    let units = manifest.contents.units.iter().map(|unit| unit_status(&unit.name, &observed)).collect();
    let executables = manifest.stored.executables.values().flatten();
    let executables = executables.map(|(name, sha256)| Executable { name: name.clone(), sha256: *sha256 }).collect();
    Ok(Status {
        installed: true,
        generation: Some(manifest.number),
        created: Some(manifest.created),
        node: Some(manifest.contents.node),
        components: components(&manifest.contents.artifacts, &manifest.stored),
        executables,
        units,
        propagation,
        readiness: readiness(opt).await,
        differences,
        unfinished_run,
    })
}

/// Only root may read the kubelet's certificate.
async fn readiness(opt: &Path) -> Option<Readiness> {
    let expectation = expectation(opt).filter(|_| capabilities::is_root())?;
    Some(chain::look(&expectation).await)
}

fn components(records: &[ArtifactRecord], stored: &Stored) -> Vec<Installed> {
    let installed = |record: &ArtifactRecord| {
        let name = Artifact::from(record).store_name();
        let (signature, obtained) = (stored.signatures.get(&name).cloned(), stored.obtained.get(&name).cloned());
        Installed { record: record.clone(), signature, obtained }
    };
    records.iter().map(installed).collect()
}

impl Status {
    fn nothing(unfinished_run: bool) -> Self {
        Self {
            installed: false,
            generation: None,
            created: None,
            node: None,
            components: Vec::new(),
            executables: Vec::new(),
            units: Vec::new(),
            propagation: Propagation::Unknown("nothing is installed".to_owned()),
            readiness: None,
            differences: Vec::new(),
            unfinished_run,
        }
    }
}

fn footprint(manifest: &Manifest) -> Footprint {
    let contents = &manifest.contents;
    Footprint {
        paths: contents.host.keys().cloned().chain([layout::PROGRAM.into()]).collect(),
        sysctls: contents.sysctls.keys().cloned().collect(),
        units: contents.units.iter().map(|unit| unit.name.clone()).collect(),
        store: contents.artifacts.iter().map(|record| Artifact::from(record).store_name()).collect(),
    }
}

fn unit_status(name: &UnitName, observed: &Observed) -> UnitStatus {
    let facts = observed.units.get(name).cloned().unwrap_or_default();
    UnitStatus {
        name: name.clone(),
        active: facts.activity == Activity::Up,
        sub_state: facts.sub_state,
        enabled: facts.enabled,
        main_pid: facts.main_pid,
    }
}

fn differences(manifest: &Manifest, observed: &Observed) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut add = |subject: String, difference: String| differences.push(Difference { subject, difference });
    for (path, difference) in &observed.damage {
        add(path.display().to_string(), difference.clone());
    }
    for (path, expected) in &manifest.contents.host {
        if let Some(difference) = expected.difference(observed.paths.get(path).unwrap_or(&PathState::Absent)) {
            add(path.display().to_string(), difference);
        }
    }
    // Of another version it is as good.
    match observed.paths.get(Path::new(layout::PROGRAM)) {
        Some(PathState::File { mode: 0o755, .. }) => {}
        Some(PathState::File { mode, .. }) => add(layout::PROGRAM.to_owned(), format!("mode is {mode:04o}, not 0755")),
        found => add(layout::PROGRAM.to_owned(), found.unwrap_or(&PathState::Absent).to_string()),
    }
    for (name, value) in &manifest.contents.sysctls {
        match observed.sysctls.get(name).and_then(Option::as_ref) {
            Some(found) if found == value => {}
            Some(found) => add(name.clone(), format!("is {found}, not {value}")),
            None => add(name.clone(), "the kernel has no such parameter".to_owned()),
        }
    }
    if let Some(why) = &observed.systemd_unavailable {
        add("systemd".to_owned(), why.clone());
        return differences;
    }
    for unit in &manifest.contents.units {
        let facts = observed.units.get(&unit.name).cloned().unwrap_or_default();
        let name = unit.name.to_string();
        if facts.activity != Activity::Up {
            add(name.clone(), format!("does not run: {}", facts.sub_state));
        }
        if !facts.enabled {
            add(name.clone(), "does not start at boot".to_owned());
        }
        if facts.needs_reload {
            add(name.clone(), "its files changed since systemd read them".to_owned());
        }
        let foreign = |path: &&PathBuf| !unit.reads.contains(*path);
        if let Some(path) = facts.fragment.iter().find(|path| foreign(path)) {
            add(name.clone(), format!("systemd runs it from {}", path.display()));
        }
        for path in facts.drop_ins.iter().filter(|path| foreign(path)) {
            add(name.clone(), format!("has a drop-in that is not hostlet's: {}", path.display()));
        }
    }
    differences
}

/// Tries a canary, with the running kubelet and the container runtime as witnesses.
async fn propagation(manifest: &Manifest, observed: &Observed) -> Propagation {
    if !capabilities::is_root() {
        return Propagation::Unknown("proving it needs root".to_owned());
    }
    let Some(kubelet_pid) = observed.units.get(&UnitName::known("kubelet.service")).and_then(|facts| facts.main_pid) else {
        return Propagation::Unknown("the kubelet does not run".to_owned());
    };
    let runtime = &manifest.contents.runtime_unit;
    let runtime_pid = match Systemd::connect().await {
        Ok(systemd) => systemd.unit(runtime).await.ok().and_then(|state| state.main_pid),
        Err(_) => None,
    };
    let Some(runtime_pid) = runtime_pid else { return Propagation::Unknown(format!("{runtime} does not run")) };
    let kubelet = Observer { name: "kubelet".to_owned(), pid: kubelet_pid };
    let observers = [Observer { name: runtime.to_string(), pid: runtime_pid }];
    let root = manifest.contents.root_directory.clone();
    match tokio::task::spawn_blocking(move || propagation::prove_both_ways(&root, &kubelet, &observers)).await {
        Ok(Ok(Ok(proof))) => Propagation::Proved(proof.witnesses().to_vec()),
        Ok(Ok(Err(broken))) => Propagation::Broken(broken.to_string()),
        Ok(Err(error)) => Propagation::Unknown(error.to_string()),
        Err(error) => Propagation::Unknown(error.to_string()),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(generation), Some(node), Some(created)) = (self.generation, &self.node, &self.created) else {
            return writeln!(f, "Nothing is installed.");
        };
        writeln!(f, "Generation {generation} of node {node}, staged {created}")?;
        for Installed { record, signature, obtained } in &self.components {
            writeln!(f, "  {:<12} {:<16} sha256 {}", record.component, record.version.to_string(), record.digest)?;
            if let Some(obtained) = obtained {
                writeln!(f, "  {:<12} from {obtained}", "")?;
            }
            writeln!(f, "  {:<12} the digest is {}", "", record.origin.explained())?;
            match signature {
                Some(Signature::Verified(signed)) => writeln!(f, "  {:<12} {signed}", "")?,
                Some(Signature::Unverified { reason }) => writeln!(f, "  {:<12} who signed it is not verified: {reason}", "")?,
                Some(Signature::NotAsked) | None => {}
            }
        }
        writeln!(f, "Units")?;
        for unit in &self.units {
            let pid = unit.main_pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            let active = if unit.active { "active" } else { "NOT ACTIVE" };
            let enabled = if unit.enabled { "enabled" } else { "NOT ENABLED" };
            writeln!(f, "  {:<24} {active} ({}), {enabled}{pid}", unit.name, unit.sub_state)?;
        }
        match &self.propagation {
            Propagation::Proved(witnesses) => writeln!(f, "Mount propagation: proved; seen by {}", witnesses.join(", "))?,
            Propagation::Broken(why) => writeln!(f, "Mount propagation: BROKEN: {why}")?,
            Propagation::Unknown(why) => writeln!(f, "Mount propagation: not known: {why}")?,
        }
        match &self.readiness {
            Some(Readiness { missing: None, reached, .. }) => {
                writeln!(f, "Node: Ready")?;
                reached.iter().try_for_each(|reached| writeln!(f, "  {}: {}", reached.link, reached.seen))?;
            }
            Some(readiness) => {
                writeln!(f, "Node: NOT READY")?;
                readiness.reached.iter().try_for_each(|reached| writeln!(f, "  {}: {}", reached.link, reached.seen))?;
                if let Some(missing) = &readiness.missing {
                    writeln!(f, "  {}: MISSING: {}\n    {}", missing.link, missing.found, missing.remedy)?;
                }
            }
            None => {}
        }
        if let Some(skew) = self.readiness.as_ref().and_then(|readiness| readiness.clock_skew.as_ref()) {
            writeln!(f, "  {skew}")?;
        }
        if self.unfinished_run {
            writeln!(f, "A run was ended in the middle; the next `hostlet install` undoes it first.")?;
        }
        if self.differences.is_empty() {
            return writeln!(f, "The host is as it was installed.");
        }
        writeln!(f, "Differences from what was installed (`hostlet install` mends them)")?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "  {}: {}", difference.subject, difference.difference))
    }
}
