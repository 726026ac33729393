//! Reading a bundle once, from its beginning to its end, so that it may come through a pipe.

use std::io::{self, ErrorKind, Read};

use tar::{Archive, Entry, EntryType};

use super::{
    BundleError, Manifest,
    manifest::{LIMIT, NAME, Part},
};
use crate::{fetch::copying::HashingReader, model::Digest};

/// tar's unit.
const BLOCK: u64 = 512;
/// More zeros follow the end of no archive: tar fills up to its record of 10 KiB, or of what --blocking-factor says.
const PADDING: u64 = 1 << 20;

/// A bundle that was read whole, and is what its manifest says.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What is in it.
    pub manifest: Manifest,
    /// The digest of the manifest: it stands for the whole bundle.
    pub digest: Digest,
    /// The size of the file in bytes.
    pub size: u64,
}

/// Reads a bundle and compares all of it with its manifest. Blocking.
pub(super) fn check(source: impl Read) -> Result<Checked, BundleError> {
    visit(source, |_, _| Ok(()))
}

/// The manifest alone, which comes first: what the bundle says of itself. Blocking.
pub(super) fn peek(source: impl Read) -> Result<(Manifest, Digest), BundleError> {
    let mut archive = Archive::new(source);
    let content = first(archive.entries().map_err(|error| not_a_bundle(&error))?.raw(true).next())?;
    Ok((Manifest::parse(&content)?, Digest::of(&content)))
}

/// As [`check`]; each member is shown on the way. What is shown was not compared yet.
pub(super) fn visit(
    source: impl Read,
    mut show: impl FnMut(Part<'_>, &mut dyn Read) -> Result<(), BundleError>,
) -> Result<Checked, BundleError> {
    let mut archive = Archive::new(Counted { inner: source, count: 0 });
    let mut entries = archive.entries().map_err(|error| not_a_bundle(&error))?.raw(true);
    let content = first(entries.next())?;
    let (manifest, digest) = (Manifest::parse(&content)?, Digest::of(&content));
    let mut whole = 2 * BLOCK + member_size(content.len() as u64);
    for (part, size, expected) in manifest.members() {
        let entry = entries.next().ok_or_else(|| BundleError::Cut(format!("{} is missing", part.name())))?;
        let mut entry = entry.map_err(|error| cut(&error, part.name()))?;
        is_it(&entry, part.name(), Some(size))?;
        let mut counted = Counted { inner: &mut entry, count: 0 };
        let mut reader = HashingReader::new(&mut counted);
        show(part, &mut reader)?;
        let actual = reader.finish().map_err(|error| cut(&error, part.name()))?;
        if counted.count != size {
            return Err(BundleError::Cut(format!("{} has {} of {size} bytes", part.name(), counted.count)));
        }
        if actual != expected {
            return Err(BundleError::Digest { member: part.name().to_owned(), expected, actual });
        }
        whole += member_size(size);
    }
    if let Some(entry) = entries.next() {
        let found = entry.map_or_else(|error| error.to_string(), |entry| kind_and_name(&entry));
        return Err(BundleError::Unexpected { found, expected: "its end".to_owned() });
    }
    let size = end(archive.into_inner(), whole)?;
    Ok(Checked { manifest, digest, size })
}

/// The manifest's content.
fn first<R: Read>(entry: Option<io::Result<Entry<'_, R>>>) -> Result<Vec<u8>, BundleError> {
    let entry = entry.ok_or_else(|| BundleError::NotABundle("it is empty".to_owned()))?;
    let mut entry = entry.map_err(|error| not_a_bundle(&error))?;
    is_it(&entry, NAME, None).map_err(|error| BundleError::NotABundle(error.to_string()))?;
    let size = entry.size();
    if size > LIMIT {
        return Err(BundleError::NotABundle(format!("its manifest would have {size} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(|error| cut(&error, NAME))?;
    if content.len() as u64 != size {
        return Err(BundleError::Cut(format!("{NAME} has {} of {size} bytes", content.len())));
    }
    Ok(content)
}

/// Whether a member is a plain file of this name and size.
fn is_it(entry: &Entry<'_, impl Read>, name: &str, size: Option<u64>) -> Result<(), BundleError> {
    let header = entry.header();
    let plain = header.entry_type() == EntryType::Regular && *header.path_bytes() == *name.as_bytes();
    if plain && size.is_none_or(|size| size == entry.size()) {
        return Ok(());
    }
    let found = if plain { format!("{name} with {} bytes", entry.size()) } else { kind_and_name(entry) };
    let expected = size.map_or_else(|| name.to_owned(), |size| format!("{name} with {size} bytes"));
    Err(BundleError::Unexpected { found, expected })
}

fn kind_and_name(entry: &Entry<'_, impl Read>) -> String {
    // Escaped: a name may hold anything, also what a terminal obeys.
    let name = entry.header().path_bytes().escape_ascii().to_string();
    match entry.header().entry_type() {
        EntryType::Regular => name,
        kind => format!("{name} ({kind:?})"),
    }
}

/// Nothing but zeros behind the members, and enough of them.
fn end(mut rest: Counted<impl Read>, whole: u64) -> Result<u64, BundleError> {
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if buffer[..count].iter().any(|byte| *byte != 0) || rest.count > whole + PADDING => {
                return Err(BundleError::Unexpected { found: "more bytes".to_owned(), expected: "its end".to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(cut(&error, "its end")),
        }
    }
    if rest.count < whole {
        return Err(BundleError::Cut(format!("it has {} of {whole} bytes", rest.count)));
    }
    Ok(rest.count)
}

/// What a member takes in the archive: a header, and its content in whole blocks.
const fn member_size(content: u64) -> u64 {
    BLOCK + content.div_ceil(BLOCK) * BLOCK
}

fn not_a_bundle(error: &io::Error) -> BundleError {
    BundleError::NotABundle(error.to_string())
}

fn cut(error: &io::Error, name: &str) -> BundleError {
    BundleError::Cut(format!("{name}: {error}"))
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
