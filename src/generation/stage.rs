//! Staging a generation: all of it is on the disk before anything points to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    inspect::copy_of,
    manifest::{Contents, Manifest, SCHEMA, Stored},
};
use crate::{
    fetch::FetchError,
    host::{
        checkpoint::checkpoint,
        files::{self, FileError},
        tree,
    },
    model::{Expected, layout},
    transaction::Content,
};

/// A generation could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An artifact changed after it was verified, or does not hold what it should.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The manifest cannot be written as JSON: a bug.
    #[error("writing the manifest: {0}")]
    Manifest(#[from] serde_json::Error),
}

/// A generation that is on the disk, whole and fsynced.
#[derive(Debug)]
pub struct Staged {
    manifest: Manifest,
}

impl Staged {
    /// Its manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// Lays a generation into its directory: links into the store, configuration, manifest, and copies of the host's files, so
/// that there is a way back to it without the configuration of then; one rename makes it visible.
pub fn stage(
    opt: &Path,
    number: u64,
    created: String,
    contents: Contents,
    files_of_generation: &BTreeMap<String, Content>,
    host_files: &BTreeMap<PathBuf, Content>,
    stored: Stored,
) -> Result<Staged, StageError> {
    let directory = layout::generation(opt, number);
    let staging = opt.join("generations").join(format!(".staging-{number}"));
    tree::remove(&staging)?;
    files::create_directory(&staging, 0o755)?;
    for (path, expected) in &contents.entries {
        let path_in_staging = staging.join(path);
        files::create_directory(path_in_staging.parent().unwrap_or(&staging), 0o755)?;
        match expected {
            Expected::Link { target } => files::link(&path_in_staging, target)?,
            Expected::File { mode, .. } => {
                if let Some(content) = files_of_generation.get(path) {
                    files::write(&path_in_staging, content.bytes(), *mode)?;
                }
            }
            Expected::Directory { mode } => files::create_directory(&path_in_staging, *mode)?,
        }
    }
    for (path, content) in host_files.iter().filter(|(_, content)| !content.is_secret()) {
        let copy = staging.join(copy_of(path));
        files::create_directory(copy.parent().unwrap_or(&staging), 0o755)?;
        files::write(&copy, content.bytes(), 0o644)?;
    }
    let hostlet = crate::version::VERSION.to_owned();
    let manifest = Manifest { schema: SCHEMA, number, created, hostlet, contents, stored };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    files::write(&staging.join("manifest.json"), &text, 0o644)?;
    files::sync_directory(&staging)?;
    checkpoint("stage: the generation is laid, not yet visible");
    files::rename(&staging, &directory)?;
    Ok(Staged { manifest })
}
