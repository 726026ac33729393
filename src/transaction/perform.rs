//! Making one change, and finding beforehand what undoes it.

use std::path::{Path, PathBuf};

use super::{Change, ChangeError, Prior, Transaction, Undo};
use crate::{
    host::{
        files::{self, FileError},
        kernel, links, look, mounts, parameters,
    },
    model::{PathState, UnitName, layout},
};

impl Transaction {
    /// What undoes the change. Everything that is read here is read before anything is changed.
    pub(super) fn inverse(&mut self, change: &Change) -> Result<Vec<Undo>, ChangeError> {
        let undo = match change {
            Change::CreateDirectory { path, .. } => self.created_directory(path),
            Change::WriteFile { path, .. } | Change::CreateLink { path, .. } => {
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
            Change::MakeShared { path } => vec![Undo::MakePrivate { path: path.clone() }],
            Change::SwitchGeneration { from, .. } => vec![Undo::SwitchBack { to: *from }],
            Change::ReloadSystemd => vec![Undo::ReloadSystemd],
            Change::EnableUnit { unit } => vec![Undo::DisableUnit { unit: unit.clone() }],
            Change::DisableUnit { unit } => vec![Undo::EnableUnit { unit: unit.clone() }],
            Change::StartUnit { unit } => self.started(unit)?,
            Change::RestartUnit { unit } => vec![Undo::RestartUnit { unit: unit.clone() }],
            Change::StopUnit { unit } => vec![Undo::StartUnit { unit: unit.clone() }],
        };
        Ok(undo)
    }

    /// Makes the change.
    pub(super) async fn perform(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::CreateDirectory { path, mode } => files::create_directory(path, *mode)?,
            Change::WriteFile { path, content, mode } => {
                files::create_directory(path.parent().unwrap_or(path), 0o755)?;
                files::write(path, content.bytes(), *mode)?;
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
            Change::EnableUnit { unit } => self.systemd()?.enable(std::slice::from_ref(unit)).await.map(drop)?,
            Change::DisableUnit { unit } => self.systemd()?.disable(std::slice::from_ref(unit)).await.map(drop)?,
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
    fn restore(&mut self, path: &Path) -> Result<Undo, ChangeError> {
        let prior = match look::at(path)? {
            PathState::Absent => Prior::Absent,
            PathState::Link { target } => Prior::Link { target },
            PathState::File { .. } => {
                let copy = self.backups.join(self.next_backup.to_string());
                self.next_backup += 1;
                files::copy_durably(path, &copy)?;
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
            // Those that are mounted already belong to pods that run.
            if !mounts::has_pod_volumes(&self.ground.root_directory)? {
                undos.push(Undo::UnmountVolumes { root: self.ground.root_directory.clone() });
            }
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
