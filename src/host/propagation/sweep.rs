//! Removes what killed runs left: canaries, and nothing else.

use std::{fs, io, path::Path};

use crate::host::{
    files::{self, FileError},
    mounts::{MountTable, Process, unmount},
};

use super::{
    PropagationError,
    canary::{DIRECTORY, SOURCE},
};

/// Under `root`, as the calling thread sees it: unmounts tmpfs that are canaries and removes their directories if empty.
/// A directory of that name with anything else in it, or on it, is somebody's and stays.
pub(super) fn sweep(root: &Path) -> Result<(), PropagationError> {
    for name in files::names(root)?.into_iter().filter(|name| name.starts_with(DIRECTORY)) {
        let path = root.join(name);
        while is_canary(&path)? {
            unmount(&path)?;
        }
        match fs::remove_dir(&path) {
            Ok(()) => tracing::info!("removed {}, which a killed run left", path.display()),
            Err(error) if is_somebodys(&error) => {}
            Err(error) => return Err(FileError::doing("removing", path)(error).into()),
        }
    }
    Ok(())
}

fn is_canary(path: &Path) -> Result<bool, PropagationError> {
    let table = MountTable::of(Process::Own)?;
    Ok(table.covering(path).is_some_and(|mount| {
        mount.mount_point == path && mount.fs_type == "tmpfs" && mount.source.as_encoded_bytes().starts_with(SOURCE.as_bytes())
    }))
}

fn is_somebodys(error: &io::Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound, ResourceBusy};
    matches!(error.kind(), DirectoryNotEmpty | NotADirectory | NotFound | ResourceBusy)
}
