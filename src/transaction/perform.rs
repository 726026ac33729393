//! Making one change, and finding beforehand what undoes it.

use std::path::{Path, PathBuf};

use super::{Change, ChangeError, Prior, Transaction, Undo};
use crate::{
    host::{
        checkpoint::checkpoint,
        files::{self, FileError},
        kernel, links, look, mounts, parameters,
        systemd::UnitFileChange,
    },
    model::{PathState, UnitName, layout},
};

impl Transaction {
    /// What undoes the change. Everything that is read here is read before anything is changed.
    pub(super) async fn inverse(&mut self, change: &Change) -> Result<Vec<Undo>, ChangeError> {
        let undo = match change {
            Change::CreateDirectory { path, .. } => self.created_directory(path),
            Change::WriteFile { path, .. } | Change::CopyFile { path, .. } | Change::CreateLink { path, .. } => {
                let mut undos = created_directories(path.parent().unwrap_or(path));
                undos.push(self.restore(path)?);
                undos
            }
            Change::RemoveFile { path } => vec![self.restore(path)?],
            Change::LoadModule { .. } => Vec::new(),
            Change::SetSysctl { name, .. } => match kernel::setting(name)? {
                Some(value) => vec![Undo::RestoreSysctl { name: name.clone(), value }],
                None => Vec::new(),
            },
            Change::MakeShared { path } => private_mounts(path)?,
            Change::SwitchGeneration { from: Some(from), .. } => vec![Undo::SwitchBack { to: Some(*from) }],
            // A link that leads to nothing usable is there all the same.
            Change::SwitchGeneration { from: None, .. } => vec![self.restore(&self.ground.opt.join("current"))?],
            Change::ReloadSystemd => vec![Undo::ReloadSystemd],
            Change::EnableUnit { unit } => vec![Undo::DisableUnit { unit: unit.clone() }],
            Change::DisableUnit { unit } => vec![Undo::EnableUnit { unit: unit.clone() }],
            Change::StartUnit { unit } => self.started(unit)?,
            Change::RestartUnit { unit } => self.restarted(unit).await?,
            Change::StopUnit { unit } => self.stopped(unit).await?,
        };
        Ok(undo)
    }

    /// A unit that was up comes up again; one that systemd was trying to start is tried again.
    async fn restarted(&self, unit: &UnitName) -> Result<Vec<Undo>, ChangeError> {
        let is_foreseen =
            |undo: &Undo| matches!(undo, Undo::RestartUnit { unit: of } | Undo::RetryUnit { unit: of } if of == unit);
        if self.undos.iter().any(is_foreseen) {
            return Ok(Vec::new());
        }
        let unit = unit.clone();
        let was_up = self.systemd()?.unit(&unit).await?.is_active();
        Ok(vec![if was_up { Undo::RestartUnit { unit } } else { Undo::RetryUnit { unit } }])
    }

    async fn stopped(&self, unit: &UnitName) -> Result<Vec<Undo>, ChangeError> {
        let state = self.systemd()?.unit(unit).await?;
        let unit = unit.clone();
        Ok(match state {
            state if state.is_active() => vec![Undo::StartUnit { unit }],
            state if state.is_inactive() => Vec::new(),
            _ => vec![Undo::RetryUnit { unit }],
        })
    }

    /// Makes the change.
    pub(super) async fn perform(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::CreateDirectory { path, mode } => files::create_directory(path, *mode)?,
            Change::WriteFile { path, content, mode } => {
                files::create_directory(path.parent().unwrap_or(path), 0o755)?;
                files::write(path, content.bytes(), *mode)?;
            }
            Change::CopyFile { path, source, digest, mode } => {
                files::create_directory(path.parent().unwrap_or(path), 0o755)?;
                files::copy_program(source, path, *mode)?;
                if files::digest(path)? != *digest {
                    return Err(ChangeError::Replaced { path: source.clone() });
                }
            }
            Change::CreateLink { path, target } => {
                files::create_directory(path.parent().unwrap_or(path), 0o755)?;
                files::link(path, target)?;
            }
            Change::RemoveFile { path } => {
                files::if_present(files::remove_file(path))?;
            }
            Change::LoadModule { name } => {
                parameters::load_module(name).map_err(|said| ChangeError::Module { name: name.clone(), said })?;
            }
            Change::SetSysctl { name, value } => parameters::set_sysctl(name, value)?,
            Change::MakeShared { path } => mounts::make_shared(path)?,
            Change::SwitchGeneration { to, .. } => switch(&self.ground.opt, Some(*to))?,
            Change::ReloadSystemd => self.systemd()?.reload().await?,
            Change::EnableUnit { unit } => sync(&self.systemd()?.enable(std::slice::from_ref(unit)).await?)?,
            Change::DisableUnit { unit } => sync(&self.systemd()?.disable(std::slice::from_ref(unit)).await?)?,
            Change::StartUnit { unit } => {
                let systemd = self.systemd()?;
                systemd.reset_failed(unit).await.ok();
                systemd.start(unit, self.ground.job_deadline).await??;
            }
            Change::RestartUnit { unit } => {
                let systemd = self.systemd()?;
                systemd.reset_failed(unit).await.ok();
                systemd.restart(unit, self.ground.job_deadline).await??;
            }
            Change::StopUnit { unit } => self.systemd()?.stop(unit, self.ground.job_deadline).await??,
        }
        Ok(())
    }

    /// How a path comes back to what it is now. A copy of a file is made beside the journal: with a large one the journal
    /// stays small, and a secret is in no line of it.
    pub(super) fn restore(&mut self, path: &Path) -> Result<Undo, ChangeError> {
        let prior = match look::at(path)? {
            PathState::Absent => Prior::Absent,
            PathState::Link { target } => Prior::Link { target },
            PathState::File { .. } => {
                let copy = self.backups.join(self.next_backup.to_string());
                self.next_backup += 1;
                files::copy_durably(path, &copy)?;
                checkpoint(format_args!("transaction: a copy of {}", path.display()));
                Prior::Saved { copy }
            }
            PathState::Directory { .. } | PathState::Other => return Err(ChangeError::InTheWay { path: path.to_owned() }),
        };
        Ok(Undo::RestorePath { path: path.to_owned(), prior })
    }

    /// The kubelet fills its root directory: one that this run made goes with all that is in it.
    fn created_directory(&self, path: &Path) -> Vec<Undo> {
        let mut undos = created_directories(path);
        if *path == self.ground.root_directory && !undos.is_empty() {
            undos.push(Undo::RemoveTree { path: path.to_owned() });
        }
        undos
    }

    /// What the kubelet writes and mounts once it runs must not outlive a first start that failed.
    fn started(&mut self, unit: &UnitName) -> Result<Vec<Undo>, ChangeError> {
        let mut undos = Vec::new();
        if unit.as_str() == "kubelet.service" {
            undos.push(self.restore(Path::new(layout::KUBELET_KUBECONFIG))?);
            let root = self.ground.root_directory.clone();
            // Those that are mounted already belong to pods that run.
            undos.push(Undo::UnmountVolumes { keep: mounts::pod_volumes(&root)?, root });
        }
        if unit.as_str() == "flanneld.service" {
            let links = links::flannels().map_err(FileError::doing("listing", "the network links"))?;
            undos.push(Undo::RemoveFlannelLinks { except: links.into_iter().map(|link| link.name).collect() });
        }
        undos.push(Undo::StopUnit { unit: unit.clone() });
        Ok(undos)
    }
}

/// The directories that are created with `path`, deepest first.
fn created_directories(path: &Path) -> Vec<Undo> {
    let missing: Vec<PathBuf> = path.ancestors().take_while(|path| !look::exists(path)).map(Path::to_owned).collect();
    if missing.is_empty() { Vec::new() } else { vec![Undo::RemoveDirectories { paths: missing }] }
}

/// The mounts at and below a path that are not shared, each of which becomes what it was. Gap: one that only received
/// (a slave) becomes private.
fn private_mounts(path: &Path) -> Result<Vec<Undo>, ChangeError> {
    let table = mounts::MountTable::of(mounts::Process::Own)?;
    let private = table.below(path).into_iter().filter(|mount| !mount.propagation.is_shared());
    Ok(private.map(|mount| Undo::MakePrivate { path: mount.mount_point.clone() }).collect())
}

/// Makes the links durable that systemd made or removed: it does not do so itself.
pub(super) fn sync(changes: &[UnitFileChange]) -> files::Result<()> {
    let directories = changes.iter().filter_map(|change| Path::new(&change.path).parent());
    directories.filter(|directory| look::exists(directory)).try_for_each(files::sync_directory)
}

/// Points `current` to a generation, in one rename; with none, removes it.
pub(super) fn switch(opt: &Path, to: Option<u64>) -> files::Result<()> {
    let current = opt.join("current");
    match to {
        Some(number) => files::link(&current, &Path::new("generations").join(number.to_string())),
        None => files::if_present(files::remove_file(&current)).map(drop),
    }
}

/// Units whose start or restart is checked for health.
#[must_use]
pub fn started_unit(change: &Change) -> Option<&UnitName> {
    match change {
        Change::StartUnit { unit } | Change::RestartUnit { unit } => Some(unit),
        _ => None,
    }
}
