//! Writing a bundle: whole, or not at all.

use std::{
    io::{self, Read, Seek, Write},
    path::Path,
};

use tar::{Builder, EntryType, Header};

use super::{BundleError, Checked, Manifest, Record, check, manifest::NAME};
use crate::{
    fetch::{Problem, Verified, copying::HashingReader},
    host::files::{self, FileError},
    model::Digest,
};

/// Writes it to a file, which appears whole and verified: it is read once more before it gets its name. Blocking.
pub fn create(path: &Path, artifacts: &[(Verified, String)], created: &str) -> Result<Checked, BundleError> {
    let checked = files::write_with(path, 0o644, |file| {
        write(&mut *file, artifacts, created)?;
        file.rewind().map_err(|error| BundleError::Writing(FileError::doing("reading", path)(error)))?;
        check(file)
    });
    checked.map_err(BundleError::Writing)?
}

/// Writes it to a stream. Whoever reads that sees by its end whether it is whole. Blocking.
pub fn stream(into: impl Write, artifacts: &[(Verified, String)], created: &str) -> Result<Digest, BundleError> {
    write(into, artifacts, created)
}

fn write(into: impl Write, artifacts: &[(Verified, String)], created: &str) -> Result<Digest, BundleError> {
    let records = artifacts.iter().map(|(verified, source)| Record::new(verified, source.clone())).collect();
    let manifest = Manifest::new(created.to_owned(), records);
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| BundleError::Manifest(error.to_string()))?;
    text.push(b'\n');
    // What is written must be what is read.
    Manifest::parse(&text)?;
    let writing = |error| BundleError::Writing(FileError::doing("writing", "the bundle")(error));
    let mut archive = Builder::new(into);
    append(&mut archive, NAME, text.len() as u64, text.as_slice()).map_err(writing)?;
    for ((verified, _), record) in artifacts.iter().zip(&manifest.artifacts) {
        let mut reader = HashingReader::new(verified.content());
        append(&mut archive, &record.member, record.size, &mut reader).map_err(writing)?;
        let actual =
            reader.finish().map_err(|error| BundleError::Reading(FileError::doing("reading", verified.path())(error)))?;
        if actual != record.digest {
            let problem = Problem::WrongDigest { expected: record.digest, actual, bytes: record.size, html: false };
            return Err(BundleError::Cache(Box::new(problem)));
        }
        if let (Some(evidence), Some(of)) = (verified.evidence(), &record.evidence) {
            append(&mut archive, &of.member, of.size, evidence.content()).map_err(writing)?;
        }
    }
    archive.into_inner().and_then(|mut into| into.flush()).map_err(writing)?;
    Ok(Digest::of(&text))
}

/// Everything that could differ between two runs is left out: owner, time.
fn append(archive: &mut Builder<impl Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let mut content = content.take(size);
    archive.append(&header, &mut content)?;
    if content.limit() > 0 {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter than it was")))
    } else {
        Ok(())
    }
}
