//! What a run leaves when it is killed before its journal begins or after it ended. There is nothing to undo then, only to
//! tidy up.

use std::path::Path;

use super::journal;
use crate::host::{files, look, tree};

/// Removes copies of files, temporary files and half-laid directories that no run needs any more. Where there is a journal
/// nothing is touched. Call it with the lock held.
pub fn sweep(opt: &Path, state: &Path) -> files::Result<()> {
    if look::exists(&journal::path(state)) {
        return Ok(());
    }
    if look::exists(&state.join("backup")) {
        tree::remove(&state.join("backup"))?;
    }
    for name in files::names(state)?.into_iter().filter(|name| files::is_temporary(name)) {
        files::if_present(files::remove_file(&state.join(name)))?;
    }
    for below in ["store", "generations"].map(|below| opt.join(below)) {
        let is_leftover = |name: &String| name.starts_with(".staging-") || name.starts_with(".removing-");
        for name in files::names(&below)?.into_iter().filter(is_leftover) {
            tree::remove(&below.join(name))?;
        }
    }
    // Empty: nothing was ever committed, and a run was killed between making it and its journal.
    files::remove_directory_if_empty(state)
}
