//! Pods' volumes that a kubelet left mounted when it stopped.

use std::path::Path;

use super::{MountError, MountTable, MountTableError, Process, detach, unmount};

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
pub fn unmount_pod_volumes(root: &Path) -> Result<(), VolumesError> {
    let table = MountTable::of(Process::Own)?;
    let pods = root.join("pods");
    for mount in table.below(root).into_iter().rev() {
        let in_memory = mount.fs_type == "tmpfs" && mount.mount_point.starts_with(&pods);
        if in_memory && mount.mount_point.to_string_lossy().contains("/volumes/kubernetes.io~") {
            // A container that still has a file of it open keeps it busy: then it goes with the last user.
            unmount(&mount.mount_point).or_else(|_| detach(&mount.mount_point))?;
        }
    }
    Ok(())
}
