//! Reading and writing files so that a power cut leaves the old or the new content, never a mixture.
//!
//! Promise: `write` and `rename` return after the data and the directory entry were fsynced. Gap: the temporary file of
//! a killed `write` stays beside its target; its name starts with `.hostlet-`, and the next `write` of the same target, or
//! `remove_temporary`, removes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{checkpoint::checkpoint, labels};
use crate::model::{Digest, Hasher};

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, as a gerund: "opening".
    pub doing: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// What the kernel answered.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: what was tried, on which path.
    pub fn doing(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { doing, path, source }
    }

    /// Whether the path does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }
}

/// What files are done with here.
pub type Result<T> = std::result::Result<T, FileError>;

/// The whole content. For small files; artifacts are streamed.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(FileError::doing("reading", path))
}

/// The whole content as text.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(FileError::doing("reading", path))
}

/// `None` where the path does not exist, and the error where it cannot be known.
pub fn if_present<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(FileError::doing("opening", path))
}

/// Opens for appending, creating it with mode 0600: for partial downloads.
pub fn open_append(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(path).map_err(FileError::doing("opening", path))
}

/// Opens for reading and writing, creating it with mode 0644.
pub fn open_read_write(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(FileError::doing("opening", path))
}

/// Opens a partial download for one writer at a time, creating it with mode 0600; `None` while another holds it.
///
/// The lock belongs to the open file and goes with it, in this process or another. Whoever held it before may have renamed
/// or removed the file in the meantime: then the path is opened anew. A link at the path is refused, not followed.
pub fn open_exclusive(path: &Path) -> Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)
            .map_err(FileError::doing("opening", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(FileError::doing("locking", path)(error)),
        }
        let opened = file.metadata().map_err(FileError::doing("looking at", path))?;
        let named = if_present(fs::symlink_metadata(path).map_err(FileError::doing("looking at", path)))?;
        if named.is_some_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
            return Ok(Some(file));
        }
    }
}

/// Opens a regular file for reading; the inner error says what is there instead.
///
/// The kind is looked at before opening, since opening a device may set something off, and again after it; a FIFO put
/// there in between does not block.
pub fn open_regular(path: &Path) -> Result<std::result::Result<File, &'static str>> {
    let named = fs::metadata(path).map_err(FileError::doing("looking at", path))?;
    if !named.is_file() {
        return Ok(Err(kind(named.file_type())));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(FileError::doing("opening", path))?;
    let opened = file.metadata().map_err(FileError::doing("looking at", path))?;
    Ok(if opened.is_file() { Ok(file) } else { Err(kind(opened.file_type())) })
}

fn kind(of: fs::FileType) -> &'static str {
    if of.is_dir() {
        "a directory"
    } else if of.is_fifo() {
        "a FIFO"
    } else if of.is_socket() {
        "a socket"
    } else if of.is_symlink() {
        "a symbolic link"
    } else {
        "a device"
    }
}

/// Creates a file that must not exist yet, with this mode whatever the umask.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(FileError::doing("creating", path))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(FileError::doing("setting the mode of", path))?;
    Ok(file)
}

/// Writes a whole file: a temporary one beside it, fsync, rename over it, fsync of the directory.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_with(path, mode, |file| file.write_all(content).map_err(FileError::doing("writing", path)))?
}

/// The same; `write` writes the content, and after an error of its the path is as it was.
pub fn write_with<T, E>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> std::result::Result<T, E>,
) -> Result<std::result::Result<T, E>> {
    let temporary = temporary_beside(path);
    if_present(remove_file(&temporary))?;
    let attempt = || -> Result<std::result::Result<T, E>> {
        let mut file = create_new(&temporary, mode)?;
        let written = match write(&mut file) {
            Ok(written) => written,
            Err(error) => {
                remove_file(&temporary)?;
                return Ok(Err(error));
            }
        };
        file.sync_all().map_err(FileError::doing("syncing", path))?;
        checkpoint(format_args!("file: a temporary one beside {}", path.display()));
        rename(&temporary, path)?;
        Ok(Ok(written))
    };
    attempt().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Makes a symbolic link, replacing what is there in one step.
pub fn link(path: &Path, target: &Path) -> Result<()> {
    let temporary = temporary_beside(path);
    if_present(remove_file(&temporary))?;
    std::os::unix::fs::symlink(target, &temporary).map_err(FileError::doing("linking", path))?;
    checkpoint(format_args!("file: a temporary link beside {}", path.display()));
    rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Exchanges two paths in one step: neither is ever missing (renameat2(2), RENAME_EXCHANGE).
pub fn exchange(one: &Path, other: &Path) -> Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
        .map_err(|errno| FileError::doing("exchanging", other)(errno.into()))?;
    sync_directory(parent(one))?;
    sync_directory(parent(other))
}

/// Removes what a killed operation on this path left beside it.
pub fn remove_temporary(path: &Path) -> Result<()> {
    if_present(remove_file(&temporary_beside(path))).map(drop)
}

/// Whether the name is that of a temporary file of this module's.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(".hostlet-")
}

/// Copies content, mode, owner and time of change to a file that appears whole: a temporary one beside it, fsync, rename.
/// The time matters to systemd, which takes a unit's file with a newer one for changed.
pub fn copy_durably(from: &Path, to: &Path) -> Result<()> {
    let temporary = temporary_beside(to);
    if_present(remove_file(&temporary))?;
    let attempt = || -> Result<()> {
        let mut source = open(from)?;
        let metadata = source.metadata().map_err(FileError::doing("looking at", from))?;
        let mut target = create_new(&temporary, 0o600)?;
        io::copy(&mut source, &mut target).map_err(FileError::doing("copying to", to))?;
        std::os::unix::fs::fchown(&target, Some(metadata.uid()), Some(metadata.gid()))
            .map_err(FileError::doing("setting the owner of", to))?;
        target.set_permissions(metadata.permissions()).map_err(FileError::doing("setting the mode of", to))?;
        let changed = metadata.modified().map_err(FileError::doing("looking at", from))?;
        target.set_modified(changed).map_err(FileError::doing("setting the time of", to))?;
        target.sync_all().map_err(FileError::doing("syncing", to))?;
        checkpoint(format_args!("file: a temporary copy beside {}", to.display()));
        rename(&temporary, to)
    };
    attempt().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Labels a program of ours as the system's are, durably (see [`labels::label_as_program`]).
pub fn label_program(path: &Path) -> Result<()> {
    let file = open(path)?;
    if labels::label_as_program(&file, path)? {
        file.sync_all().map_err(FileError::doing("syncing", path))?;
    }
    Ok(())
}

/// Copies a program to a file of ours with this mode, which appears whole and labelled.
pub fn copy_program(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let temporary = temporary_beside(to);
    if_present(remove_file(&temporary))?;
    let attempt = || -> Result<()> {
        let mut source = open(from)?;
        let mut target = create_new(&temporary, mode)?;
        io::copy(&mut source, &mut target).map_err(FileError::doing("copying to", to))?;
        labels::label_as_program(&target, &temporary)?;
        target.sync_all().map_err(FileError::doing("syncing", to))?;
        checkpoint(format_args!("file: a temporary copy beside {}", to.display()));
        rename(&temporary, to)
    };
    attempt().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Removes a directory if it is empty; one that is not, or is not there, stays as it is.
pub fn remove_directory_if_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Ok(()) => sync_directory(parent(path)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        Err(error) => Err(FileError::doing("removing", path)(error)),
    }
}

/// Asks the kernel to begin writing a part of the file to the disk, and does not wait for it: what is synced later is then
/// mostly there. Only a hint, whose failure means nothing: a file system that has no such thing writes when it is synced.
/// Source: sync_file_range(2), which makes nothing durable by itself.
#[allow(unsafe_code, reason = "no crate in the tree has sync_file_range")]
pub fn begin_writing_back(file: &File, from: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (from.try_into(), length.try_into()) else { return };
    // Reason for unsafe: nix and rustix have no sync_file_range. It takes numbers only, and the descriptor is open as long as
    // the file is borrowed.
    unsafe { nix::libc::sync_file_range(file.as_raw_fd(), from, length, nix::libc::SYNC_FILE_RANGE_WRITE) };
}

/// Renames and fsyncs the directory of the new name (and of the old one, where that is another).
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(FileError::doing("renaming to", to))?;
    sync_directory(parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { sync_directory(parent(from)) }
}

/// Removes a file or a link, and makes that durable.
pub fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(FileError::doing("removing", path))?;
    sync_directory(parent(path))
}

/// Creates a directory and its parents; those created get the mode, whatever the umask. Existing ones stay as they are.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_directory(above, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(FileError::doing("setting the mode of", path))?;
            sync_directory(path)?;
            sync_directory(parent(path))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(FileError::doing("creating", path)(error)),
    }
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    open(path)?.sync_all().map_err(FileError::doing("syncing", path))
}

/// The digest of a file's content, read in pieces.
pub fn digest(path: &Path) -> Result<Digest> {
    let mut file = open(path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer).map_err(FileError::doing("reading", path))? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The names in a directory, sorted; none where it does not exist.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let Some(entries) = if_present(fs::read_dir(path).map_err(FileError::doing("listing", path)))? else {
        return Ok(Vec::new());
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(FileError::doing("listing", path))?;
    names.sort();
    Ok(names)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parent(path).join(format!(".hostlet-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_replaces_content_and_mode_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"old", 0o644).unwrap();
        write(&path, b"new", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(names(directory.path()).unwrap(), ["file"]);
    }

    #[test]
    fn a_temporary_file_left_by_a_kill_does_not_stop_the_next_write() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".hostlet-file"), "half").unwrap();
        write(&directory.path().join("file"), b"whole", 0o644).unwrap();
        assert_eq!(names(directory.path()).unwrap(), ["file"]);
    }

    #[test]
    fn a_copy_has_the_mode_and_the_time_of_what_was_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, "x").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::options().write(true).open(&from).unwrap().set_modified(time).unwrap();
        copy_durably(&from, &to).unwrap();
        let copy = fs::metadata(&to).unwrap();
        assert_eq!((copy.permissions().mode() & 0o7777, copy.modified().unwrap()), (0o640, time));
    }

    #[test]
    fn a_link_is_replaced_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("current");
        link(&path, Path::new("a")).unwrap();
        link(&path, Path::new("b")).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("b"));
    }

    #[test]
    fn errors_name_what_was_tried_and_the_path() {
        let error = read(Path::new("/nonexistent/file")).unwrap_err();
        assert!(error.is_absent());
        assert_eq!(error.to_string(), "reading /nonexistent/file: No such file or directory (os error 2)");
    }

    #[test]
    fn an_exclusive_file_has_one_holder_and_is_opened_anew_once_it_was_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("partial");
        let first = open_exclusive(&path).unwrap().unwrap();
        assert!(open_exclusive(&path).unwrap().is_none());
        rename(&path, &directory.path().join("whole")).unwrap();
        assert!(open_exclusive(&path).unwrap().is_some(), "another file has the name now");
        drop(first);
    }

    #[test]
    fn what_is_not_a_regular_file_is_named_and_a_fifo_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open_regular(&fifo).unwrap().unwrap_err(), "a FIFO");
        assert_eq!(open_regular(directory.path()).unwrap().unwrap_err(), "a directory");
        assert_eq!(open_regular(Path::new("/dev/null")).unwrap().unwrap_err(), "a device");
    }

    #[test]
    fn a_large_file_has_the_digest_of_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        let content = vec![7; 1_000_003];
        fs::write(&path, &content).unwrap();
        assert_eq!(digest(&path).unwrap(), Digest::of(&content));
    }
}
