//! Unmounting everything below a directory, before the directory is removed.
//!
//! Promise: nothing is deleted here, and nothing that is in use is torn away from its user; the one exception are the
//! tmpfs of pods' secrets and the like, which hold copies and go with their last user. Each mount is unmounted by the path
//! at which it is on top, so that what hides another mount is never taken for it. Gap: unmounting a network file system
//! whose server is gone may hang in the kernel.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{Mount, MountTable, MountTableError, Process, detach, standing::bound_on_itself, unmount, volumes};
use crate::host::{checkpoint::checkpoint, processes};

/// A mount that could not be unmounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillMounted {
    /// Where.
    pub mount_point: PathBuf,
    /// What the kernel answered, and who uses it.
    pub why: String,
}

/// A mount that is in use is tried so often, with a pause in between: a container that just ended lets go of it soon.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Unmounts everything below a directory, the last mounted first, and binds of the directory on itself. A file system of
/// its own that is mounted on the directory stays. The table is read again after each, since mounts that are peers of each
/// other go together. Blocking, up to two seconds for each mount that is in use.
pub fn unmount_below(directory: &Path) -> Result<Vec<StillMounted>, MountTableError> {
    let mut stuck: BTreeMap<PathBuf, String> = BTreeMap::new();
    loop {
        let table = MountTable::of(Process::Own)?;
        let next = below(&table, directory).into_iter().rev().find(|mount| !stuck.contains_key(&mount.mount_point));
        let Some(mount) = next else { break };
        match unmount_patiently(&table, mount) {
            Ok(()) => checkpoint(format_args!("mounts: unmounted {}", mount.mount_point.display())),
            Err(why) => {
                stuck.insert(mount.mount_point.clone(), why);
            }
        }
    }
    // What could not be unmounted at first may have gone together with something else.
    let table = MountTable::of(Process::Own)?;
    let remaining = table.below(directory).into_iter().filter(|mount| !stays(&table, mount, directory));
    let mut still: Vec<StillMounted> = remaining
        .map(|mount| StillMounted {
            mount_point: mount.mount_point.clone(),
            why: stuck.get(&mount.mount_point).cloned().unwrap_or_else(|| "is hidden below another mount".to_owned()),
        })
        .collect();
    still.dedup();
    Ok(still)
}

/// What can be unmounted by its path: on top of all others there.
fn below<'a>(table: &'a MountTable, directory: &Path) -> Vec<&'a Mount> {
    let on_top = |mount: &Mount| table.covering(&mount.mount_point).is_some_and(|top| top.id == mount.id);
    table.below(directory).into_iter().filter(|mount| on_top(mount) && !stays(table, mount, directory)).collect()
}

/// A file system on the directory itself, which somebody gave to the kubelet, and what it hides.
fn stays(table: &MountTable, mount: &Mount, directory: &Path) -> bool {
    mount.mount_point == directory && bound_on_itself(table, mount).is_none()
}

fn unmount_patiently(table: &MountTable, mount: &Mount) -> Result<(), String> {
    let mount_point = &mount.mount_point;
    if let Some(other) = table.below(mount_point).into_iter().find(|other| other.parent == mount.id) {
        return Err(format!("holds the mount {}", other.mount_point.display()));
    }
    for attempt in 1.. {
        match unmount(mount_point) {
            Ok(()) => return Ok(()),
            Err(error) if error.source.kind() != io::ErrorKind::ResourceBusy => return Err(error.source.to_string()),
            Err(_) if volumes::is_volume(mount) => return detach(mount_point).map_err(|error| error.source.to_string()),
            Err(_) if attempt >= ATTEMPTS => break,
            Err(_) => thread::sleep(PAUSE),
        }
    }
    let users: Vec<String> = processes::users_of(mount_point).iter().map(ToString::to_string).collect();
    Err(if users.is_empty() { "is in use".to_owned() } else { format!("is in use by {}", users.join(", ")) })
}
