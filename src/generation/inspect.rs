//! What is installed, read back, and whether it is still what its manifest says.

use std::path::{Path, PathBuf};

use super::manifest::{Manifest, SCHEMA};
use crate::{
    host::{
        files::{self, FileError, Result},
        look,
    },
    model::{Artifact, Digest, PathState, layout},
};

/// The manifest of the generation in force; `None` where nothing is installed, or where it cannot be read as one: then it
/// counts as damaged beyond use, and everything is laid anew.
pub fn current(opt: &Path) -> Result<Option<Manifest>> {
    let Some(target) = look::link_target(&opt.join("current"))? else { return Ok(None) };
    let path = opt.join(target).join("manifest.json");
    let Some(bytes) = files::if_present(files::read(&path))? else { return Ok(None) };
    let manifest: Option<Manifest> = serde_json::from_slice(&bytes).ok();
    if let Some(newer) = manifest.as_ref().filter(|manifest| manifest.schema > SCHEMA) {
        let message = format!("its schema is {}, this hostlet knows {SCHEMA}: use the hostlet that wrote it", newer.schema);
        return Err(FileError::doing("reading", path)(std::io::Error::other(message)));
    }
    Ok(manifest)
}

/// The highest number of a generation on the disk, 0 where there is none.
pub fn highest(opt: &Path) -> Result<u64> {
    Ok(files::names(&opt.join("generations"))?.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0))
}

/// What became of a generation and its store entries.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What differs from the manifest: path, and how.
    pub damage: Vec<(PathBuf, String)>,
    /// Entries of the store that are undamaged.
    pub intact: Vec<String>,
}

/// Compares the generation and its store entries with the manifest.
pub fn inspect(opt: &Path, manifest: &Manifest) -> Result<Inspection> {
    let directory = layout::generation(opt, manifest.number);
    let mut inspection = Inspection::default();
    for (path, expected) in &manifest.contents.entries {
        let path = directory.join(path);
        inspection.damage.extend(expected.difference(&look::at(&path)?).map(|difference| (path, difference)));
    }
    for record in &manifest.contents.artifacts {
        let name = Artifact::from(record).store_name();
        let found = entry_damage(opt, manifest, &name)?;
        if found.is_empty() {
            inspection.intact.push(name);
        }
        inspection.damage.extend(found);
    }
    Ok(inspection)
}

fn entry_damage(opt: &Path, manifest: &Manifest, name: &str) -> Result<Vec<(PathBuf, String)>> {
    let directory = layout::store_entry(opt, name).join("bin");
    let Some(executables) = manifest.executables.get(name) else {
        return Ok(vec![(directory, "is not in the manifest".to_owned())]);
    };
    let mut damage = Vec::new();
    for (file, digest) in executables {
        let path = directory.join(file);
        damage.extend(executable_damage(&look::at(&path)?, *digest).map(|difference| (path, difference)));
    }
    Ok(damage)
}

fn executable_damage(state: &PathState, digest: Digest) -> Option<String> {
    crate::model::Expected::File { digest, mode: 0o755 }.difference(state)
}
