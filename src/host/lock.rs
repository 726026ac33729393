//! One run at a time.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use super::files::{self, FileError};

/// The lock, held until it is dropped or the process ends: the kernel frees it then, so none is ever stale.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Another run holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another run of hostlet holds the lock{}; wait for it to end", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
pub struct Held {
    /// Its process, where it has said so.
    pub pid: Option<u32>,
}

impl Lock {
    /// Takes the lock in the directory, or says at once who holds it.
    pub fn take(directory: &Path) -> Result<Result<Self, Held>, FileError> {
        files::create_directory(directory, 0o755)?;
        let path = directory.join("lock");
        let mut file = files::open_read_write(&path)?;
        match file.try_lock() {
            Ok(()) => {
                let pid = std::process::id().to_string();
                file.set_len(0).map_err(FileError::doing("writing", &path))?;
                file.write_all(pid.as_bytes()).map_err(FileError::doing("writing", &path))?;
                Ok(Ok(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
                Ok(Err(Held { pid: text.trim().parse().ok() }))
            }
            Err(TryLockError::Error(error)) => Err(FileError::doing("locking", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_holds_the_lock_and_gets_it_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap().unwrap();
        let held = Lock::take(directory.path()).unwrap().unwrap_err();
        assert_eq!(held.pid, Some(std::process::id()));
        drop(first);
        assert!(Lock::take(directory.path()).unwrap().is_ok());
    }
}
