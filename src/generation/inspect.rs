//! What is installed, read back, and whether it is still what its manifest says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::manifest::{Manifest, SCHEMA};
use crate::{
    host::{
        files::{self, FileError, Result},
        look,
    },
    model::{Artifact, Digest, Expected, PathState, layout},
    transaction::Content,
};

/// What differs from a manifest: path and difference.
pub type Damage = Vec<(PathBuf, String)>;
/// Files by their path on the host.
pub type Copies = BTreeMap<PathBuf, Content>;

/// The manifest of the generation in force; `None` where nothing is installed, or where it cannot be read as one: then it
/// counts as damaged beyond use, and everything is laid anew.
pub fn current(opt: &Path) -> Result<Option<Manifest>> {
    match look::link_target(&opt.join("current"))? {
        Some(target) => read(&opt.join(target).join("manifest.json")),
        None => Ok(None),
    }
}

/// The manifest of a generation; `None` where there is none of that number, or it cannot be read as one.
pub fn manifest(opt: &Path, number: u64) -> Result<Option<Manifest>> {
    read(&layout::generation(opt, number).join("manifest.json"))
}

fn read(path: &Path) -> Result<Option<Manifest>> {
    let Some(bytes) = files::if_present(files::read(path))? else { return Ok(None) };
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

/// The copies of what the generation put outside of itself, by their path on the host; the inner error says what of them is
/// missing or damaged. Secrets are not among them: no copy of those is made.
pub fn host_files(opt: &Path, manifest: &Manifest) -> Result<std::result::Result<Copies, Damage>> {
    let (mut copies, mut damage) = (BTreeMap::new(), Vec::new());
    for (path, expected) in &manifest.contents.host {
        let Expected::File { digest, .. } = expected else { continue };
        if expected.is_secret() {
            continue;
        }
        let copy = layout::generation(opt, manifest.number).join(copy_of(path));
        match files::if_present(files::read(&copy))? {
            None => damage.push((copy, "missing".to_owned())),
            Some(bytes) if Digest::of(&bytes) != *digest => damage.push((copy, "content differs".to_owned())),
            Some(bytes) => {
                copies.insert(path.clone(), Content::Plain(bytes));
            }
        }
    }
    Ok(if damage.is_empty() { Ok(copies) } else { Err(damage) })
}

/// Where a generation keeps its copy of a file of the host.
pub(super) fn copy_of(path: &Path) -> PathBuf {
    Path::new("host").join(path.strip_prefix("/").unwrap_or(path))
}

/// What became of a generation and its store entries.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What differs from the manifest: path, and how.
    pub damage: Damage,
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
    let Some(executables) = manifest.stored.executables.get(name) else {
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
