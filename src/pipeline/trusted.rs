//! Digests that were trusted on first use: taken from a published checksum once, and pinned from then on.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::{
    config::{Catalog, Fragment},
    fetch::Verified,
    host::files,
    model::{Architecture, Component, Digest, DigestOrigin, Version},
};

/// In hostlet's state directory, in the format of the catalog.
const NAME: &str = "trusted.csv";

const HEAD: &str = "# Digests that hostlet took from checksums published beside the files, when it first fetched each. They are pinned: a\n\
                    # file that changed since is refused. Remove a line only when its publisher says that the change was meant.\n\
                    component,version,arch,sha256\n";

fn path(state: &Path) -> PathBuf {
    state.join(NAME)
}

fn read(state: &Path) -> Result<(String, Catalog), Failure> {
    let path = path(state);
    let text = files::if_present(files::read_text(&path))?.unwrap_or_else(|| HEAD.to_owned());
    let catalog = Catalog::read(&Fragment { name: path.display().to_string(), text: text.clone() })?;
    Ok((text, catalog))
}

/// What was trusted before.
pub(super) fn digest(
    state: &Path,
    component: Component,
    version: &Version,
    architecture: Architecture,
) -> Result<Option<Digest>, Failure> {
    Ok(read(state)?.1.digest(component, version, architecture).map(|(digest, _)| digest))
}

/// Records what was fetched now.
pub(super) fn record(state: &Path, fetched: &[Verified]) -> Result<(), Failure> {
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
