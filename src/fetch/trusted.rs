//! Digests that were trusted on first use: taken from a published checksum once, and pinned from then on.

use std::path::{Path, PathBuf};

use super::Verified;
use crate::{
    config::{Catalog, ConfigError, Fragment},
    host::files::{self, FileError},
    model::{Architecture, Component, Digest, DigestOrigin, Version},
};

/// What was recorded cannot be read, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum TrustedError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of it.
    #[error(transparent)]
    Line(#[from] ConfigError),
}

/// In hostlet's state directory, in the format of the catalog.
const NAME: &str = "trusted.csv";

const HEAD: &str = "# Digests that hostlet took from checksums published beside the files, when it first fetched each. They are pinned: a\n\
                    # file that changed since is refused. Remove a line only when its publisher says that the change was meant.\n\
                    component,version,arch,sha256\n";

fn path(state: &Path) -> PathBuf {
    state.join(NAME)
}

fn read(state: &Path) -> Result<(String, Catalog), TrustedError> {
    let path = path(state);
    let text = files::if_present(files::read_text(&path))?.unwrap_or_else(|| HEAD.to_owned());
    let catalog = Catalog::read(&Fragment { name: path.display().to_string(), text: text.clone() })?;
    Ok((text, catalog))
}

/// What was trusted before, by what is recorded in hostlet's state directory.
pub fn trusted_digest(
    state: &Path,
    component: Component,
    version: &Version,
    architecture: Architecture,
) -> Result<Option<Digest>, TrustedError> {
    Ok(read(state)?.1.digest(component, version, architecture).map(|(digest, _)| digest))
}

/// Records what was fetched now.
pub fn record_trusted(state: &Path, fetched: &[Verified]) -> Result<(), TrustedError> {
    let (mut text, known) = read(state)?;
    let before = text.len();
    for artifact in fetched.iter().map(Verified::artifact).filter(|artifact| artifact.origin == DigestOrigin::Sidecar) {
        if known.digest(artifact.component, &artifact.version, artifact.architecture).is_none() {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let (component, version, architecture) = (artifact.component, &artifact.version, artifact.architecture);
            text.push_str(&format!("{component},{version},{architecture},{}\n", artifact.digest));
        }
    }
    if text.len() > before {
        files::create_directory(state, 0o700)?;
        files::write(&path(state), text.as_bytes(), 0o600)?;
    }
    Ok(())
}
