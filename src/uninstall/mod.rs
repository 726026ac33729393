//! Taking an installation back, from what it left on the disk and without the configuration.
//!
//! Promise: forward only. A credential or a pod's directory that was deleted cannot be brought back, so nothing here is
//! undone; instead [`Intent`] is on the disk before the first change and leaves it with the last, and every step can be
//! repeated. Whoever starts next, install or uninstall, goes on where a killed run stopped. Nothing is deleted below a unit
//! of ours that still runs, no deletion crosses a mount, and what is not as hostlet wrote it is kept and named.
//! Gap: kernel modules and parameters stay as they are until the next boot, and so do flannel's rules in iptables.

mod clear;
mod identity;
mod intent;
mod network;
mod paths;
mod report;
mod trees;
mod units;

use std::path::PathBuf;

use tokio::task::JoinError;

pub use intent::{Intent, MARKER, directories_with};
pub use report::{Kept, Uninstalled};

use crate::{
    host::{
        files::FileError,
        mounts::{MountTableError, Process},
        namespaces,
        systemd::{JobFailed, Systemd, SystemdError},
    },
    output::Events,
};

/// Where hostlet keeps its things.
#[derive(Debug, Clone)]
pub struct Site {
    /// `/opt/hostlet`
    pub opt: PathBuf,
    /// `/var/lib/hostlet`
    pub state: PathBuf,
    /// `/var/cache/hostlet`
    pub cache: PathBuf,
    /// `/etc/hostlet`
    pub configuration: PathBuf,
}

/// Uninstalling could not go on. What was removed until then stays removed.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mounts could not be read.
    #[error(transparent)]
    Mounts(#[from] MountTableError),
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// A unit does not stop: what it works on is not taken from under it.
    #[error("{0}; nothing was deleted. Stop it by hand and run `hostlet uninstall` again")]
    DoesNotStop(Box<JobFailed>),
    /// hostlet sees other mounts than the host does.
    #[error(
        "hostlet runs in a mount namespace of its own (a container, or a sandboxed unit), where it cannot see what is mounted \
         on the host; run it on the host: nsenter --mount --target 1 hostlet uninstall"
    )]
    NotOnTheHost,
    /// A thread was ended.
    #[error("a part of hostlet ended early: {0}")]
    Ended(#[from] JoinError),
}

/// Does what the intent says, from wherever an earlier run of it stopped.
pub async fn carry_out(site: &Site, intent: Intent, systemd: &Systemd, events: &Events) -> Result<Uninstalled, UninstallError> {
    if namespaces::mount_namespace(Process::Own)? != namespaces::mount_namespace(Process::Pid(1))? {
        return Err(UninstallError::NotOnTheHost);
    }
    let mut done = Uninstalled::new(&intent, events.clone());
    let units = units::ours(site, &intent, systemd).await?;
    units::stop(&units.services, systemd, &mut done).await?;
    let (site, intent) = (site.clone(), intent);
    let root = intent.root_directory();
    let (mut done, still) = blocking(done, move |done| trees::unmount(root.as_ref(), done)).await?;
    if still {
        // A mount unit cannot be stopped while something is mounted below it; the next run does so.
        units::disable(&units, systemd, &mut done).await?;
    } else {
        units::stop(&units.mounts, systemd, &mut done).await?;
        units::disable(&units, systemd, &mut done).await?;
    }
    let (mut done, (site, intent)) = blocking(done, move |done| {
        clear::host(&site, &intent, done)?;
        Ok((site, intent))
    })
    .await?;
    systemd.reload().await?;
    units::forget(&units, systemd).await;
    units::name_replaced(&intent, systemd, &mut done).await;
    done = blocking(done, move |done| clear::own(&site, &intent, done)).await?.0;
    Ok(done)
}

/// Runs work that blocks, with the report that it adds to.
async fn blocking<T: Send + 'static>(
    mut done: Uninstalled,
    work: impl FnOnce(&mut Uninstalled) -> Result<T, UninstallError> + Send + 'static,
) -> Result<(Uninstalled, T), UninstallError> {
    tokio::task::spawn_blocking(move || {
        let result = work(&mut done)?;
        Ok((done, result))
    })
    .await?
}
