//! Mounting, binding, sharing, unmounting: one system call each, with the path in the error.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

/// An operation on a mount failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}{}", path.display(), hint(source))]
pub struct MountError {
    /// What was tried, as a gerund: "mounting a tmpfs on".
    pub doing: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What the kernel answered.
    pub source: io::Error,
}

impl MountError {
    fn doing(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { doing, path: path.to_owned(), source: errno.into() }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (it needs root with CAP_SYS_ADMIN: outside of a container, or in a privileged one)"
        }
        _ => "",
    }
}

const NOTHING: Option<&Path> = None;

/// Makes a directory visible at another place; `recursive` takes the mounts below it along.
pub fn bind(source: &Path, target: &Path, recursive: bool) -> Result<(), MountError> {
    let recursion = if recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND | recursion, NOTHING).map_err(MountError::doing("binding", target))
}

/// Makes a mount, and those below it, shared.
pub fn make_shared(mount_point: &Path) -> Result<(), MountError> {
    change(mount_point, MsFlags::MS_SHARED, "sharing the mounts below")
}

/// Makes a mount, and those below it, receive and not send.
pub fn make_slave(mount_point: &Path) -> Result<(), MountError> {
    change(mount_point, MsFlags::MS_SLAVE, "making slaves of the mounts below")
}

/// Cuts a mount, and those below it, off from all others.
pub fn make_private(mount_point: &Path) -> Result<(), MountError> {
    change(mount_point, MsFlags::MS_PRIVATE, "making private the mounts below")
}

/// Cuts one mount off from all others, and leaves those below it as they are.
pub fn make_this_private(mount_point: &Path) -> Result<(), MountError> {
    mount(NOTHING, mount_point, NOTHING, MsFlags::MS_PRIVATE, NOTHING)
        .map_err(MountError::doing("making private the mount at", mount_point))
}

fn change(mount_point: &Path, propagation: MsFlags, doing: &'static str) -> Result<(), MountError> {
    mount(NOTHING, mount_point, NOTHING, MsFlags::MS_REC | propagation, NOTHING).map_err(MountError::doing(doing, mount_point))
}

/// A tmpfs that nobody but root enters.
#[derive(Debug, Clone)]
pub struct Tmpfs<'a> {
    /// The word shown as its source.
    pub source: &'a str,
    /// Its size in KiB, at most.
    pub kibibytes: u32,
}

/// Mounts a tmpfs: mode 0700, no devices, set-user-id or execution, and never swapped where the kernel knows `noswap` (6.4).
pub fn mount_tmpfs(target: &Path, tmpfs: &Tmpfs<'_>) -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=0700,size={}k", tmpfs.kibibytes);
    let attempt = |options: &str| mount(Some(tmpfs.source), target, Some("tmpfs"), flags, Some(options));
    match attempt(&format!("{options},noswap")) {
        Err(Errno::EINVAL) => attempt(&options),
        other => other,
    }
    .map_err(MountError::doing("mounting a tmpfs on", target))
}

/// Unmounts the top of what is mounted there; a link is not followed.
pub fn unmount(mount_point: &Path) -> Result<(), MountError> {
    umount2(mount_point, MntFlags::UMOUNT_NOFOLLOW).map_err(MountError::doing("unmounting", mount_point))
}

/// Unmounts even what is in use: it disappears at once, and ends when its last user is gone.
pub fn detach(mount_point: &Path) -> Result<(), MountError> {
    umount2(mount_point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH).map_err(MountError::doing("detaching", mount_point))
}

/// A mount that is unmounted, synchronously, when it is dropped: also when a panic unwinds.
#[derive(Debug)]
#[must_use = "it is unmounted when dropped"]
pub struct TemporaryMount {
    mount_point: Option<PathBuf>,
}

impl TemporaryMount {
    /// Mounts a tmpfs.
    pub fn tmpfs(target: &Path, tmpfs: &Tmpfs<'_>) -> Result<Self, MountError> {
        mount_tmpfs(target, tmpfs)?;
        Ok(Self { mount_point: Some(target.to_owned()) })
    }

    /// Unmounts now, and tells how that went. What is in use (something may be scanning all file systems) is detached.
    pub fn remove(mut self) -> Result<(), MountError> {
        self.mount_point.take().map_or(Ok(()), |mount_point| unmount_or_detach(&mount_point))
    }
}

impl Drop for TemporaryMount {
    fn drop(&mut self) {
        if let Some(mount_point) = self.mount_point.take()
            && let Err(error) = unmount_or_detach(&mount_point)
        {
            tracing::warn!("{error}");
        }
    }
}

fn unmount_or_detach(mount_point: &Path) -> Result<(), MountError> {
    match unmount(mount_point) {
        Err(error) if error.source.kind() == io::ErrorKind::ResourceBusy => detach(mount_point),
        other => other,
    }
}
