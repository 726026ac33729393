//! What lies at a path, without following links.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use super::files::{self, FileError, Result};
use crate::model::PathState;

/// What is at the path. A file's content is hashed.
pub fn at(path: &Path) -> Result<PathState> {
    let Some(metadata) = files::if_present(fs::symlink_metadata(path).map_err(FileError::doing("looking at", path)))? else {
        return Ok(PathState::Absent);
    };
    let kind = metadata.file_type();
    let mode = metadata.mode() & 0o7777;
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(FileError::doing("reading the link", path))?;
        Ok(PathState::Link { target })
    } else if kind.is_dir() {
        Ok(PathState::Directory { mode })
    } else if kind.is_file() {
        let digest = files::digest(path)?;
        Ok(PathState::File { digest, mode, owner: (metadata.uid(), metadata.gid()) })
    } else {
        Ok(PathState::Other)
    }
}

/// What a link points to; `None` where there is no link.
pub fn link_target(path: &Path) -> Result<Option<std::path::PathBuf>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => files::if_present(Err(FileError::doing("reading the link", path)(error))),
    }
}

/// Whether something other than a directory's absence is there, links included.
#[must_use]
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
