//! Pods' volumes that a kubelet left mounted when it stopped.

use std::path::{Path, PathBuf};

use super::{Mount, MountError, MountTable, MountTableError, Process, detach, unmount};
use crate::host::checkpoint::checkpoint;

/// Unmounting failed, or could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum VolumesError {
    /// The mounts could not be read.
    #[error(transparent)]
    Table(#[from] MountTableError),
    /// One could not be unmounted.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// Unmounts the tmpfs of pods' secrets, projected volumes and the like under the kubelet's root directory, the last mounted
/// first. They hold copies of what the API server has; any other mount may hold the only copy of something, and stays.
///
/// The table is read again after each: where the root directory is bound on itself, one volume is several mounts, and
/// they go together. What lies hidden below another mount stays: by its path one would unmount what hides it.
pub fn unmount_pod_volumes(root: &Path) -> Result<(), VolumesError> {
    unmount_pod_volumes_but(root, &[])
}

/// The volumes that [`unmount_pod_volumes`] would unmount.
pub fn pod_volumes(root: &Path) -> Result<Vec<PathBuf>, VolumesError> {
    let table = MountTable::of(Process::Own)?;
    let volumes = table.below(&root.join("pods")).into_iter().filter(|mount| is_volume(mount));
    Ok(volumes.map(|mount| mount.mount_point.clone()).collect())
}

/// [`unmount_pod_volumes`], but for these: pods that ran before still use them.
pub fn unmount_pod_volumes_but(root: &Path, keep: &[PathBuf]) -> Result<(), VolumesError> {
    let pods = root.join("pods");
    loop {
        let table = MountTable::of(Process::Own)?;
        let goes = |mount: &Mount| is_volume(mount) && is_on_top(&table, mount) && !keep.contains(&mount.mount_point);
        let volume = table.below(&pods).into_iter().rev().find(|mount| goes(mount));
        let Some(volume) = volume else { return Ok(()) };
        // A container that still has a file of it open keeps it busy: then it goes with the last user.
        unmount(&volume.mount_point).or_else(|_| detach(&volume.mount_point))?;
        checkpoint(format_args!("mounts: unmounted {}", volume.mount_point.display()));
    }
}

/// A whole tmpfs, not a directory of one that was bound there: that would be somebody else's.
pub(super) fn is_volume(mount: &Mount) -> bool {
    let is_whole = mount.fs_type == "tmpfs" && mount.root == Path::new("/");
    is_whole && mount.mount_point.to_string_lossy().contains("/volumes/kubernetes.io~")
}

fn is_on_top(table: &MountTable, mount: &Mount) -> bool {
    table.covering(&mount.mount_point).is_some_and(|top| top.id == mount.id)
}
