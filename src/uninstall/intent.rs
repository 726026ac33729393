//! What a run of uninstall is about, on the disk before it changes anything.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Site, UninstallError};
use crate::{
    generation::{self, manifest::Manifest},
    host::{
        checkpoint::checkpoint,
        files::{self, FileError},
    },
    model::layout,
};

/// Lies in hostlet's state directory while an uninstallation is under way.
pub const MARKER: &str = "uninstall.json";
/// The directories that installing made.
pub(super) const DIRECTORIES: &str = "directories.json";

/// An uninstallation that was begun and is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Intent {
    /// Also configuration and cache go, and files of ours that were edited.
    pub purge: bool,
    /// When it was begun (RFC 3339, UTC).
    pub started: String,
    /// What was installed; none where nothing was, and only what is left of an installation is removed.
    pub manifest: Option<Manifest>,
    /// Directories that installing made: they go when they are empty.
    pub directories: BTreeSet<PathBuf>,
}

impl Intent {
    /// The unfinished one, where there is one.
    pub fn read(state: &Path) -> Result<Option<Self>, FileError> {
        read_json(&state.join(MARKER))
    }

    /// Goes on with the unfinished one, or looks at what is installed and puts that on the disk.
    pub fn begin(site: &Site, purge: bool, started: String) -> Result<Self, UninstallError> {
        let mut intent = match Self::read(&site.state)? {
            Some(unfinished) => unfinished,
            None => Self {
                purge,
                started,
                manifest: manifest(&site.opt)?,
                directories: read_json(&site.state.join(DIRECTORIES))?.unwrap_or_default(),
            },
        };
        intent.purge |= purge;
        files::create_directory(&site.state, 0o700)?;
        write_json(&site.state.join(MARKER), &intent)?;
        checkpoint("uninstall: its intent is on the disk");
        Ok(intent)
    }

    /// Ends it: the last that is left of hostlet.
    pub(super) fn end(site: &Site) -> Result<(), FileError> {
        files::if_present(files::remove_file(&site.state.join(MARKER)))?;
        checkpoint("uninstall: its intent is gone");
        files::remove_directory_if_empty(&site.state)
    }

    /// The kubelet's root directory.
    pub(super) fn root_directory(&self) -> Option<PathBuf> {
        self.manifest.as_ref().map(|manifest| manifest.contents.root_directory.clone())
    }
}

/// The list of directories that installing made, with these: uninstalling removes them, and the ones in the journal are
/// forgotten when the run is committed. Where it lies and what it holds; `None` where that is so already.
pub fn directories_with(
    state: &Path,
    made: impl IntoIterator<Item = PathBuf>,
) -> Result<Option<(PathBuf, Vec<u8>)>, FileError> {
    let path = state.join(DIRECTORIES);
    let mut directories: BTreeSet<PathBuf> = read_json(&path)?.unwrap_or_default();
    let before = directories.len();
    directories.extend(made);
    if directories.len() == before {
        return Ok(None);
    }
    let text = json(&path, &directories)?;
    Ok(Some((path, text)))
}

/// The manifest of the generation in force or, where `current` is damaged, of the newest one that can be read.
fn manifest(opt: &Path) -> Result<Option<Manifest>, FileError> {
    if let Some(manifest) = generation::current(opt)? {
        return Ok(Some(manifest));
    }
    let mut numbers: Vec<u64> = files::names(&opt.join("generations"))?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let read = |number| read_json(&layout::generation(opt, number).join("manifest.json")).ok().flatten();
    Ok(numbers.into_iter().rev().find_map(read))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(bytes) = files::if_present(files::read(path))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| FileError::doing("reading", path)(error.into()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    files::write(path, &json(path, value)?, 0o600)
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, FileError> {
    serde_json::to_vec_pretty(value).map_err(|error| FileError::doing("writing", path)(error.into()))
}
