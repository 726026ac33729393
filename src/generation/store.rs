//! The store: verified executables, immutable, in directories named by the digest of what was downloaded.

use std::{collections::BTreeMap, path::Path};

use super::StageError;
use crate::{
    fetch::{Evidence, Verified},
    host::{checkpoint::checkpoint, files, look, tree},
    model::{Digest, layout},
};

/// Unpacks a verified artifact into the store, with what proves its signature beside it, and returns the digests of its executables. An entry of that name that is
/// there already (damaged, or laid anew) is exchanged in one step.
pub fn admit(opt: &Path, verified: &Verified) -> Result<BTreeMap<String, Digest>, StageError> {
    let name = verified.artifact().store_name();
    let entry = layout::store_entry(opt, &name);
    let staging = layout::store_entry(opt, &format!(".staging-{name}"));
    tree::remove(&staging)?;
    let executables = staging.join("bin");
    files::create_directory(&executables, 0o755)?;
    let unpacked = verified.unpack(&executables)?;
    for one in &unpacked {
        files::label_program(&executables.join(one.name))?;
    }
    if let Some(evidence) = verified.evidence() {
        let name = format!("{}{}", verified.artifact().component, Evidence::suffix(evidence.scheme()));
        files::write(&staging.join(name), evidence.content(), 0o644)?;
    }
    files::sync_directory(&executables)?;
    files::sync_directory(&staging)?;
    checkpoint(format_args!("stage: {name} is unpacked, not yet visible"));
    if look::exists(&entry) {
        files::exchange(&staging, &entry)?;
        checkpoint(format_args!("stage: {name} is exchanged"));
        tree::remove(&staging)?;
    } else {
        files::rename(&staging, &entry)?;
    }
    Ok(unpacked.into_iter().map(|unpacked| (unpacked.name.to_owned(), unpacked.digest)).collect())
}
