//! Removing a directory tree without ever crossing a mount.
//!
//! Promise: each directory is entered with `RESOLVE_NO_XDEV`, which the kernel refuses at any mount point, a bind mount of
//! the same file system included (openat2(2)); comparing st_dev would miss those, and `rm -rf` has deleted a host's /etc
//! through one (eks-hybrid#664). Links are removed, never followed. What is a mount point stays, and is reported.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    checkpoint::checkpoint,
    files::{FileError, sync_directory},
};

/// Something that was not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub path: PathBuf,
    /// Why: "is a mount point".
    pub why: String,
}

/// Removes a tree, and says what of it had to stay. A path that does not exist is no error.
pub fn remove(path: &Path) -> Result<Vec<Kept>, FileError> {
    let error = |source: Errno| FileError::doing("removing", path)(source.into());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error(Errno::EINVAL)) };
    let parent_directory = match open_plain(parent) {
        Ok(directory) => directory,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| error(Errno::EINVAL))?;
    let mut kept = Vec::new();
    remove_entry(&parent_directory, &name, path, &mut kept);
    sync_directory(parent)?;
    Ok(kept)
}

fn open_plain(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty())
}

fn remove_entry(parent: &OwnedFd, name: &CStr, path: &Path, kept: &mut Vec<Kept>) {
    let mut keep = |why: String| kept.push(Kept { path: path.to_owned(), why });
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => return removed(path),
        Err(Errno::ENOENT) => return,
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(Errno::EBUSY) => return keep("is a mount point".to_owned()),
        Err(other) => return keep(other.desc().to_owned()),
    }
    let how = OpenHow::new()
        .flags(OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    let directory = match openat2(parent.as_fd(), name, how) {
        Ok(directory) => directory,
        Err(Errno::EXDEV) => return keep("is a mount point".to_owned()),
        Err(other) => return keep(other.desc().to_owned()),
    };
    let before = kept.len();
    remove_entries(&directory, path, kept);
    if kept.len() > before {
        return;
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => removed(path),
        Err(Errno::ENOENT) => {}
        Err(Errno::EBUSY) => kept.push(Kept { path: path.to_owned(), why: "is a mount point".to_owned() }),
        Err(other) => kept.push(Kept { path: path.to_owned(), why: other.desc().to_owned() }),
    }
}

fn removed(path: &Path) {
    checkpoint(format_args!("tree: removed {}", path.display()));
}

fn remove_entries(directory: &OwnedFd, path: &Path, kept: &mut Vec<Kept>) {
    let mut failed = |why: Errno| kept.push(Kept { path: path.to_owned(), why: why.desc().to_owned() });
    let same = match directory.try_clone() {
        Ok(same) => same,
        Err(error) => return failed(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    };
    let mut listing = match Dir::from_fd(same) {
        Ok(listing) => listing,
        Err(error) => return failed(error),
    };
    // The names are collected first: removing while reading may skip entries. Their order is the same for everybody.
    let mut names: Vec<CString> = listing.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        let below = path.join(std::ffi::OsStr::new(&*name.to_string_lossy()));
        remove_entry(directory, name, &below, kept);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tree_is_removed_and_what_its_links_point_to_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let precious = directory.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&precious, tree.join("a/link")).unwrap();
        assert_eq!(remove(&tree).unwrap(), []);
        assert!(!tree.exists() && precious.join("file").exists());
    }

    #[test]
    fn removing_what_is_not_there_is_done_already() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(remove(&directory.path().join("none")).unwrap(), []);
        assert_eq!(remove(&directory.path().join("none/below")).unwrap(), []);
    }
}
