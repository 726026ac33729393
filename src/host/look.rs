//! What lies at a path, without following links; and where programs lie.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

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

/// Where systemd's services look for programs, unless their units say otherwise: systemd.exec(5), and what distributions
/// with a /bin of its own add.
const SEARCHED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program that a service would execute under this name.
pub fn program(name: &str) -> Result<Option<PathBuf>> {
    for path in SEARCHED.iter().map(|directory| Path::new(directory).join(name)) {
        let found = files::if_present(fs::metadata(&path).map_err(FileError::doing("looking at", &path)))?;
        if found.is_some_and(|found| found.is_file() && found.mode() & 0o111 != 0) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_services_find_them() {
        assert!(program("sh").unwrap().is_some_and(|path| path.ends_with("bin/sh")));
        assert_eq!(program("no-such-program").unwrap(), None);
    }
}
