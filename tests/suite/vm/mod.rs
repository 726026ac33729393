//! Machines of the tests' own: an emulated computer with its own kernel, disk and cgroup v2 only, whose power can be cut.
//!
//! Promise: whatever ends the test ends its machines, and nothing of them has a name outside: disks are files without one,
//! qemu is killed with the thread that started it. The clock is the real one and the processor is slow, so all deadlines are
//! generous: those of its systemd and, by waivers, of preflight. With a clock of its own (`-icount shift=1`) they would not
//! have to be, and everything would take more than twice as long: while eight others worked on the same two processors, a boot
//! took 40 s with it and 17 s without. A test of preflight itself would need it.
//!
//! Gap: what a killed qemu had handed to the kernel is on the disk whether it was flushed or not, so a power cut loses only
//! what the machine had not yet sent to its disk. A disk that forgets what it was not asked to flush is tried with
//! [`log_writes`]. One processor architecture: amd64.

mod agent;
mod image;
pub(crate) mod log_writes;
mod machine;
pub(crate) mod mesh;
mod node;
mod payload;

pub(crate) use image::Image;
pub(crate) use machine::{Disk, Machine};
pub(crate) use node::{NEW, Node, OLD, waivers};
pub(crate) use payload::{Payload, stripped};
