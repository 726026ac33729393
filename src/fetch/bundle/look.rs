//! Looking at a bundle: what it says of itself, whether it is whole, and whether it is the one that is wanted.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
};

use super::{BundleError, Checked, Manifest, check, read};
use crate::{
    config,
    fetch::signature::minisign_file,
    host::files::{self, FileError},
    model::Digest,
};

pub(super) fn open(path: &Path) -> Result<File, BundleError> {
    let opened = files::open_regular(path).map_err(BundleError::Reading)?;
    opened.map_err(|kind| BundleError::NotAFile { path: path.to_owned(), kind })
}

/// Whether it is the bundle that the user wants, where that is said.
pub(super) fn is_pinned(bundle: &config::Bundle, mut file: &File, checked: &Checked) -> Result<(), BundleError> {
    if let Some(expected) = bundle.digest.filter(|expected| *expected != checked.digest) {
        return Err(BundleError::Pin { expected, actual: checked.digest });
    }
    let Some(key) = &bundle.key else { return Ok(()) };
    let mut path = bundle.path.clone().into_os_string();
    path.push(".minisig");
    let path = PathBuf::from(path);
    let reading = |error: std::io::Error| BundleError::Reading(FileError::doing("reading", &bundle.path)(error));
    let signature = files::read(&path).map_err(BundleError::Reading)?;
    file.rewind().map_err(reading)?;
    let signed = minisign_file(key, &signature, &mut file).map_err(reading)?;
    signed.map_err(|wrong| BundleError::Signature { path, wrong })
}

/// What a bundle says of itself, and whether that is what is pinned: quick, and no proof of the rest. Blocking.
pub fn peek(bundle: &config::Bundle) -> Result<Manifest, BundleError> {
    let (manifest, actual) = read::peek(open(&bundle.path)?)?;
    match bundle.digest.filter(|expected| *expected != actual) {
        Some(expected) => Err(BundleError::Pin { expected, actual }),
        None => Ok(manifest),
    }
}

/// Opens a bundle only to look at it, as `bundle verify` and `bundle list` do: also for whom the configuration says nothing.
pub fn look(bundle: &config::Bundle) -> Result<Checked, BundleError> {
    let file = open(&bundle.path)?;
    let checked = check(&file)?;
    is_pinned(bundle, &file, &checked)?;
    Ok(checked)
}

/// Whether a stream is the bundle that is pinned.
pub fn look_at_stream(source: impl Read, pinned: Option<Digest>) -> Result<Checked, BundleError> {
    let checked = check(source)?;
    match pinned.filter(|expected| *expected != checked.digest) {
        Some(expected) => Err(BundleError::Pin { expected, actual: checked.digest }),
        None => Ok(checked),
    }
}
