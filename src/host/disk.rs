//! Room on file systems, and how they are mounted, for directories that may not exist yet.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    fcntl::OFlag,
    sys::{
        stat::Mode,
        statvfs::{FsFlags, statvfs},
    },
};

use super::files::FileError;

/// The file system that a directory is, or will be, on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's mount flags")]
pub struct FileSystem {
    /// The directory, or the nearest one above it that exists.
    pub existing: PathBuf,
    /// Tells one file system from another.
    pub device: u64,
    /// Bytes that root may still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files that may still be made; none where the file system does not count them.
    pub free_inodes: Option<u64>,
    /// Files in all.
    pub total_inodes: u64,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mounted noexec.
    pub no_exec: bool,
    /// Mounted nosuid.
    pub no_suid: bool,
}

impl FileSystem {
    /// Looks at the directory, or at the nearest one above it that exists.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        use std::os::unix::fs::MetadataExt;
        let (existing, metadata) = nearest_existing(path)?;
        let facts =
            statvfs(&existing).map_err(|errno| FileError::doing("looking at the file system of", path)(errno.into()))?;
        let flags = facts.flags();
        let unit = facts.fragment_size();
        Ok(Self {
            device: metadata.dev(),
            // What the kubelet counts as available is what is not reserved for root, too.
            free: facts.blocks_available() * unit,
            total: facts.blocks() * unit,
            free_inodes: (facts.files() > 0).then(|| facts.files_available()),
            total_inodes: facts.files(),
            read_only: flags.contains(FsFlags::ST_RDONLY),
            no_exec: flags.contains(FsFlags::ST_NOEXEC),
            no_suid: flags.contains(FsFlags::ST_NOSUID),
            existing,
        })
    }
}

/// The directory itself, resolved, or the nearest one above it that exists.
pub fn nearest_existing(path: &Path) -> Result<(PathBuf, std::fs::Metadata), FileError> {
    for candidate in path.ancestors() {
        match candidate.canonicalize().and_then(|resolved| Ok((resolved.metadata()?, resolved))) {
            Ok((metadata, resolved)) if metadata.is_dir() => return Ok((resolved, metadata)),
            Ok((_, resolved)) => {
                return Err(FileError::doing("using as a directory", resolved)(io::ErrorKind::NotADirectory.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::doing("looking at", candidate)(error)),
        }
    }
    Err(FileError::doing("looking at", path)(io::ErrorKind::NotFound.into()))
}

/// Whether the file system under a directory tells the kinds of entries when it lists them (d_type), which overlay needs. XFS
/// made with ftype=0 does not. `None` where nothing lies there that could tell.
///
/// Asked of what lies in the directory, or in the nearest one above it on the same file system that has anything in it: the
/// entries `.` and `..` have a kind everywhere.
pub fn tells_kinds(path: &Path) -> Result<Option<bool>, FileError> {
    use std::os::unix::fs::MetadataExt;
    let (existing, metadata) = nearest_existing(path)?;
    for directory in existing.ancestors() {
        let same = std::fs::metadata(directory).is_ok_and(|above| above.dev() == metadata.dev());
        if !same {
            break;
        }
        let failed = |errno: nix::Error| FileError::doing("listing", directory)(errno.into());
        let mut listed = Dir::open(directory, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?;
        for entry in listed.iter() {
            let entry = entry.map_err(failed)?;
            // lost+found, and what else the file system itself put there, tells as well as any.
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(Some(entry.file_type().is_some()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_does_not_exist_yet_is_judged_by_the_one_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let found = FileSystem::of(&directory.path().join("a/b/c")).unwrap();
        assert_eq!(found.existing, directory.path().canonicalize().unwrap());
        assert!(found.total >= found.free && found.free > 0);
    }

    #[test]
    fn the_kinds_of_entries_are_told_here_also_for_a_directory_that_is_not_there_yet() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(tells_kinds(&directory.path().join("a/b")).unwrap(), Some(true));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let error = FileSystem::of(&directory.path().join("file")).unwrap_err();
        assert!(error.to_string().contains("file: not a directory"), "{error}");
    }
}
