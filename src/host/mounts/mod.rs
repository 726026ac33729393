//! Mounts: the table of a process, and the few operations on mounts that hostlet needs.
//!
//! Promise: the table tells what the kernel tells, with paths as they are (escapes undone, bytes that are no UTF-8 kept).
//! Gap: the kernel hands mountinfo out in pieces, so a table read while others mount may miss an entry; who waits for
//! one reads again.

mod clearing;
mod operations;
mod standing;
mod table;
mod volumes;

pub use clearing::{StillMounted, unmount_below};
pub use operations::{
    MountError, TemporaryMount, Tmpfs, bind, detach, make_private, make_shared, make_slave, make_this_private, mount_tmpfs,
    unmount,
};
pub use standing::{Need, need, needs_mount_unit};
pub use table::{Mount, MountTable, MountTableError, Process, Propagation};
pub use volumes::{VolumesError, pod_volumes, unmount_pod_volumes, unmount_pod_volumes_but};
