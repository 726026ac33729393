//! The store of verified files, and generations: what one version of the node consists of, switched by one rename.
//!
//! Promise: an entry of the store and a generation become visible by one rename of a directory that was fsynced whole.
//! Gap: none known.

mod collect;
pub mod committed;
mod inspect;
pub mod manifest;
mod stage;
mod store;

pub use collect::{Collected, KEPT, collect};
pub use committed::Committed;
pub use inspect::{Copies, Damage, Inspection, current, highest, host_files, inspect, manifest};
pub use stage::{StageError, Staged, stage};
pub use store::admit;
