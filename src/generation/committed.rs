//! `state.json`: which generation is committed, and which one before it there is to go back to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::files::{self, Result};

/// What is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Committed {
    /// The version of the format.
    schema: u32,
    /// The generation that the last run that succeeded left in force.
    pub committed: Option<u64>,
    /// The last one before it that consisted of something else.
    pub previous: Option<u64>,
}

impl Committed {
    /// In this hostlet's format.
    #[must_use]
    pub const fn new(committed: Option<u64>, previous: Option<u64>) -> Self {
        Self { schema: 1, committed, previous }
    }

    /// As the file holds it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", serde_json::json!({ "schema": 1, "committed": self.committed, "previous": self.previous }))
    }
}

/// Where it lies.
#[must_use]
pub fn path(state: &Path) -> PathBuf {
    state.join("state.json")
}

/// Reads it. A file that is not there, or that somebody damaged, tells of nothing: then there is nothing to go back to.
pub fn read(state: &Path) -> Result<Committed> {
    let bytes = files::if_present(files::read(&path(state)))?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_a_damaged_one_tells_of_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), Committed::default());
        let committed = Committed::new(Some(3), Some(2));
        files::write(&path(directory.path()), committed.text().as_bytes(), 0o600).unwrap();
        assert_eq!(read(directory.path()).unwrap(), committed);
        files::write(&path(directory.path()), b"{", 0o600).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Committed::default());
    }
}
