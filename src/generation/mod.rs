//! The store of verified files, and generations: what one version of the node consists of, switched by one rename.
//!
//! Promise: an entry of the store and a generation become visible by one rename of a directory that was fsynced whole.
//! Gap: garbage collection and rollback to an earlier generation are not here yet.

mod inspect;
pub mod manifest;
mod stage;
mod store;

pub use inspect::{Inspection, current, highest, inspect};
pub use stage::{StageError, Staged, stage};
pub use store::admit;
