//! The file that `mesh.peers-file` names: found in the fragments, read by the caller, and parsed with them, so that its
//! mistakes are shown as theirs are.

use std::{path::PathBuf, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problems::Problems,
    raw::{RawPeer, RawPeersFile},
    shape,
    text::{self, Fragment, Texts},
};

/// What came of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeersFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text, or why there is none.
    pub text: Result<String, String>,
}

impl PeersFile {
    pub(super) fn fragment(&self) -> Option<Fragment> {
        Some(Fragment { name: self.path.display().to_string(), text: self.text.clone().ok()? })
    }
}

/// The file that the fragments and `sets` name, if they name one.
#[must_use]
pub fn peers_file(fragments: &[Fragment], sets: &[String]) -> Option<PathBuf> {
    let texts = Texts::new(fragments, sets, None);
    let mut merged = DeTable::new();
    for tree in texts.trees().flatten() {
        text::merge(&mut merged, tree);
    }
    let DeValue::Table(mesh) = merged.get("mesh")?.get_ref() else { return None };
    let DeValue::String(path) = mesh.get("peers-file")?.get_ref() else { return None };
    Some(PathBuf::from(path.as_ref())).filter(|path| path.is_absolute())
}

/// Its tree, once what is wrong with its shape is told and taken out.
pub(super) fn tree<'t>(texts: &'t Texts, problems: &mut Problems<'_>) -> Option<DeTable<'t>> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(super::schema_of::<RawPeersFile>);
    match texts.peers_tree()? {
        Ok(mut tree) => {
            shape::check_table(&SCHEMA, &mut tree, "", problems);
            Some(tree)
        }
        Err(malformed) => {
            problems.malformed(malformed);
            None
        }
    }
}

/// The peers in it; their values are checked with the others.
pub(super) fn raw(tree: Option<DeTable<'_>>, problems: &mut Problems<'_>) -> Vec<RawPeer> {
    let Some(tree) = tree else { return Vec::new() };
    match RawPeersFile::deserialize(toml::Deserializer::from(Spanned::new(0..0, tree))) {
        Ok(file) => file.peers,
        Err(error) => {
            problems.add(&error.span().unwrap_or(0..0), error.message());
            Vec::new()
        }
    }
}

/// A file that is named and could not be read is a mistake of the configuration.
pub(super) fn was_read(file: Option<&PeersFile>, problems: &mut Problems<'_>) {
    const KEY: &str = "mesh.peers-file";
    let Some(PeersFile { path, text: Err(why) }) = file else { return };
    let problem = problems.add_at_key(&[KEY], format!("{} cannot be used: {why}", path.display()));
    problem
        .help
        .push("write the nodes into it: peers = [{ name = \"node-01\", ip = \"10.0.1.1\" }]; or remove peers-file".to_owned());
}
