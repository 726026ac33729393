//! From verified artifacts to a committed generation: stage, change the host, commit.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;

use super::{Context, Failure, Prepared, Standing, failure::Cause, prepare, readiness};
use crate::{
    config::{Datastore, Settings},
    fetch::Verified,
    generation::{self, Committed, Staged, committed, manifest::Stored},
    health::Healthy,
    host::look,
    model::{Artifact, Component, Digest, ObtainedFrom, Signature, UnitName, layout},
    output::Event,
    plan::Step,
    transaction::{Change, ChangeError, Transaction, Undo, journal::Header, started_unit},
    uninstall,
};

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// Whether anything was done.
    pub changed: bool,
    /// The generation in force.
    pub generation: Option<u64>,
    /// The changes made.
    pub changes: Vec<Step>,
    /// What each unit that was started showed.
    pub health: Vec<UnitHealth>,
    /// Who signed what is installed, by component.
    pub signatures: BTreeMap<Component, Signature>,
    /// What is known of the Node.
    #[serde(skip)]
    pub standing: Standing,
}

/// What a unit showed at the health gate.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitHealth {
    /// Which.
    pub unit: UnitName,
    /// Its main process.
    pub pid: u32,
    /// How long it took to be stable, in milliseconds.
    pub milliseconds: u128,
    /// Who saw what it mounts.
    pub propagation: Vec<String>,
}

impl Installed {
    pub(super) fn unchanged(prepared: &Prepared, standing: Standing) -> Self {
        let generation = prepared.observed.current.as_ref().map(|manifest| manifest.number);
        let signatures = by_component(prepared, signatures(prepared, &[]));
        Self { changed: false, generation, changes: Vec::new(), health: Vec::new(), signatures, standing }
    }
}

/// The same by component.
pub(super) fn by_component(prepared: &Prepared, mut signatures: BTreeMap<String, Signature>) -> BTreeMap<Component, Signature> {
    let artifacts = prepared.wanted.artifacts.iter();
    artifacts.filter_map(|artifact| Some((artifact.component, signatures.remove(&artifact.store_name())?))).collect()
}

/// What runs by now.
pub(super) struct Active {
    /// The units that this run started or restarted.
    pub(super) started: Vec<UnitName>,
    /// Whether flanneld has what it needs of its Node: one that waits for it is no failure of this run.
    pub(super) has_network: bool,
}

/// Begins the transaction: nothing before it changed anything.
pub(super) async fn begin(context: &Context, command: &str) -> Result<Transaction, Failure> {
    let header = Header::new(command, jiff::Timestamp::now().to_string());
    let ground = prepare::ground(context).await?;
    Transaction::begin(ground, &header, context.events.clone()).map_err(|error| Failure::Undone(error.into()))
}

/// Lays store entries and the new generation. `None` where the generation in force stays.
pub(super) async fn stage(
    context: &Context,
    transaction: &mut Transaction,
    prepared: &Prepared,
    verified: Vec<Verified>,
) -> Result<Option<Staged>, Cause> {
    if prepared.plan.generation.is_none() {
        return Ok(None);
    }
    context.events.emit(Event::Stage { name: "stage" });
    register_staging(transaction, prepared)?;
    let opt = transaction.opt().to_owned();
    let wanted = prepared.wanted.clone();
    let known = prepared.observed.current.as_ref().map(|manifest| manifest.stored.executables.clone()).unwrap_or_default();
    let signatures = signatures(prepared, &verified);
    let obtained = obtained(prepared, &verified);
    let number = prepared.observed.highest_generation + 1;
    let created = jiff::Timestamp::now().to_string();
    let staged = tokio::task::spawn_blocking(move || {
        let mut executables: BTreeMap<String, BTreeMap<String, Digest>> = BTreeMap::new();
        for artifact in &wanted.artifacts {
            executables.extend(known.get_key_value(&artifact.store_name()).map(|(name, files)| (name.clone(), files.clone())));
        }
        for verified in &verified {
            executables.insert(verified.artifact().store_name(), generation::admit(&opt, verified)?);
        }
        generation::stage(
            &opt,
            number,
            created,
            wanted.contents,
            &wanted.files,
            &wanted.host_files,
            Stored { executables, signatures, obtained },
        )
    });
    Ok(Some(staged.await??))
}

/// What is known of the signatures, by the names of the entries in the store.
pub(super) fn signatures(prepared: &Prepared, verified: &[Verified]) -> BTreeMap<String, Signature> {
    known(prepared, verified, |stored| &stored.signatures, Verified::signature)
}

/// Where what is in the store came from, by the names of the entries.
fn obtained(prepared: &Prepared, verified: &[Verified]) -> BTreeMap<String, ObtainedFrom> {
    known(prepared, verified, |stored| &stored.obtained, Verified::from)
}

/// Of what was fetched, and of what is there.
fn known<T: Clone>(
    prepared: &Prepared,
    verified: &[Verified],
    there: impl Fn(&Stored) -> &BTreeMap<String, T>,
    fetched: impl Fn(&Verified) -> &T,
) -> BTreeMap<String, T> {
    let known = prepared.observed.current.as_ref().map(|manifest| there(&manifest.stored).clone()).unwrap_or_default();
    let names: Vec<String> = prepared.wanted.artifacts.iter().map(Artifact::store_name).collect();
    let fetched = verified.iter().map(|verified| (verified.artifact().store_name(), fetched(verified).clone()));
    known.into_iter().filter(|(name, _)| names.contains(name)).chain(fetched).collect()
}

/// What is staged goes again when the run fails: directories that were not there before, entries of the store that are new.
fn register_staging(transaction: &mut Transaction, prepared: &Prepared) -> Result<(), ChangeError> {
    let opt = transaction.opt().to_owned();
    for below in ["store", "generations"] {
        let missing: Vec<_> = opt.join(below).ancestors().take_while(|path| !look::exists(path)).map(Path::to_owned).collect();
        if !missing.is_empty() {
            transaction.register(Undo::RemoveDirectories { paths: missing })?;
        }
    }
    for name in prepared.plan.fetch.iter().map(|fetch| fetch.artifact.store_name()) {
        let entry = layout::store_entry(&opt, &name);
        transaction.register(Undo::RemoveTree { path: layout::store_entry(&opt, &format!(".staging-{name}")) })?;
        // A damaged entry that was exchanged for a good one stays good.
        if !look::exists(&entry) {
            transaction.register(Undo::RemoveTree { path: entry })?;
        }
    }
    let number = prepared.observed.highest_generation + 1;
    transaction.register(Undo::RemoveTree { path: opt.join("generations").join(format!(".staging-{number}")) })?;
    transaction.register(Undo::RemoveTree { path: layout::generation(&opt, number) })
}

/// Makes the changes of the plan, one after another.
pub(super) async fn activate(context: &Context, transaction: &mut Transaction, prepared: &Prepared) -> Result<Active, Cause> {
    context.events.emit(Event::Stage { name: "activate" });
    let (mut started, mut has_network) = (Vec::new(), true);
    transaction.foresee(&prepared.plan.steps).await?;
    for step in &prepared.plan.steps {
        if context.stop.is_cancelled() {
            return Err(Cause::Interrupted);
        }
        if waits_for_node(&context.settings) && started_unit(&step.change).is_some_and(|unit| unit.as_str() == FLANNELD) {
            has_network = readiness::has_network(context, matches!(step.change, Change::StartUnit { .. })).await;
        }
        let applied = tokio::select! {
            applied = transaction.apply(step) => applied,
            () = context.stop.cancelled(), if started_unit(&step.change).is_some() => return Err(Cause::Interrupted),
        };
        match applied {
            Err(ChangeError::Job { failed })
                if waits_for_node(&context.settings)
                    && started_unit(&step.change).is_some_and(|unit| unit.as_str() == FLANNELD) =>
            {
                let text = format!("{failed}\nit waits for its Node, and is started again: the health gate decides");
                context.events.emit(Event::Warning { text });
            }
            applied => applied?,
        }
        started.extend(started_unit(&step.change).filter(|unit| unit.is_service()).cloned());
    }
    Ok(Active { started, has_network })
}

/// flanneld's unit.
pub(super) const FLANNELD: &str = "flanneld.service";

/// With the API server as its datastore flanneld exits until the controller manager has given its Node a network, which
/// happens after the kubelet has registered.
pub(super) fn waits_for_node(settings: &Settings) -> bool {
    settings.flannel.as_ref().is_some_and(|flannel| matches!(flannel.datastore, Datastore::Kube(_)))
}

/// Remembers what is committed now: the last change of a run, and undone with the rest when the run is killed before its
/// end.
pub(super) fn remember(context: &Context, transaction: &mut Transaction, prepared: &Prepared) -> Result<Committed, Cause> {
    let before = committed::read(&context.state).map_err(ChangeError::from)?;
    let committed = committed_after(prepared, before);
    remember_directories(context, transaction)?;
    transaction.remember(&committed::path(&context.state), committed.text().as_bytes())?;
    Ok(committed)
}

/// The generation that was left is the previous one, unless the new one only repairs it: nobody goes back to damage.
fn committed_after(prepared: &Prepared, before: Committed) -> Committed {
    let left = prepared.observed.current.as_ref();
    let Some(to) = prepared.plan.switches_to() else {
        return Committed::new(left.map(|manifest| manifest.number), before.previous);
    };
    let is_repair = prepared.plan.generation.is_some() && left.is_some_and(|left| left.contents == prepared.wanted.contents);
    let left = left.map(|manifest| manifest.number).filter(|_| !is_repair);
    Committed::new(Some(to), left.or(before.previous))
}

/// Makes the run permanent: the journal ends.
pub(super) async fn commit(
    transaction: Transaction,
    prepared: &Prepared,
    committed: Committed,
    healthy: &[Healthy],
) -> Result<Installed, Failure> {
    let ended = transaction.commit(healthy).await;
    ended.map_err(|(error, undone)| Failure::undone(error.into(), undone))?;
    let health = healthy.iter().map(|healthy| UnitHealth {
        unit: healthy.unit().clone(),
        pid: healthy.pid(),
        milliseconds: healthy.waited().max(Duration::ZERO).as_millis(),
        propagation: healthy.witnesses().to_vec(),
    });
    let changes = prepared.plan.steps.clone();
    Ok(Installed {
        changed: true,
        generation: committed.committed,
        changes,
        health: health.collect(),
        signatures: BTreeMap::new(),
        standing: Standing::NotWaited,
    })
}

/// The directories that were made, for uninstalling.
fn remember_directories(context: &Context, transaction: &mut Transaction) -> Result<(), ChangeError> {
    let made = transaction.directories_made();
    match uninstall::directories_with(&context.state, made)? {
        Some((path, text)) => transaction.remember(&path, &text),
        None => Ok(()),
    }
}
