//! Taking the wanted members, and nothing else, out of a gzipped tar archive.
//!
//! Only regular files at the archive's root whose names are wanted are read; of everything else not even a path is made.
//! The archive is read raw: long names and extended headers are members like others and are skipped, so that their sizes
//! cannot fill the memory. The names that are wanted fit into a plain header.

use std::{io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{
    UnpackProblem, Unpacked,
    copying::Capped,
    unpacking::{Destination, reading},
};

/// No member is larger. The kubelet, the largest executable here, has less than 100 MB.
const MEMBER: u64 = 512 << 20;
/// No archive unfolds to more.
const WHOLE: u64 = 1 << 30;
/// Nor to more than so many times its own size: executables to about three times. A small one, which may be mostly blanks
/// between members, unfolds to [`SMALL`] at most.
const RATIO: u64 = 50;
const SMALL: u64 = 16 << 20;
/// So many names are listed when one is missing.
const LISTED: usize = 20;

/// Writes the wanted members, in the order of `members`: (name at the archive's root, name to install under).
pub(super) fn unpack(
    (source, compressed): (&mut impl Read, u64),
    members: &[(String, &'static str)],
    from: &Path,
    destination: &mut Destination,
) -> Result<Vec<Unpacked>, UnpackProblem> {
    let mut archive = Archive::new(Capped::new(MultiGzDecoder::new(source), limit(compressed)));
    let mut found: Vec<Option<Unpacked>> = members.iter().map(|_| None).collect();
    let mut held = Held::default();
    for entry in archive.entries().map_err(|error| reading(error, from))?.raw(true) {
        let mut entry = entry.map_err(|error| reading(error, from))?;
        let name = entry.header().path_bytes().into_owned();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        held.add(name, entry.header().entry_type());
        // A directory's name ends with a slash: a wanted name with one is a directory in its place.
        let plain = name.strip_suffix(b"/").unwrap_or(name);
        let Some(position) = members.iter().position(|(member, _)| member.as_bytes() == plain) else { continue };
        let (member, install_as) = &members[position];
        if let Some(kind) = not_a_file(entry.header().entry_type()).or((plain.len() < name.len()).then_some("a directory")) {
            return Err(UnpackProblem::MemberNotAFile { member: member.clone(), kind });
        }
        if found[position].is_some() {
            return Err(UnpackProblem::Duplicate(member.clone()));
        }
        let size = entry.size();
        if size > MEMBER {
            return Err(UnpackProblem::TooLarge { what: format!("{member:?}"), limit: MEMBER });
        }
        let unpacked = destination.write(install_as, &mut entry, from)?;
        if unpacked.size != size {
            return Err(UnpackProblem::CutOff(format!("{member:?} has {} of {size} bytes", unpacked.size)));
        }
        found[position] = Some(unpacked);
    }
    let taken = found.into_iter().zip(members);
    taken
        .map(|(unpacked, (member, _))| {
            unpacked.ok_or_else(|| UnpackProblem::Missing { member: member.clone(), held: held.to_string() })
        })
        .collect()
}

/// How many bytes an archive of a size may unfold to.
fn limit(compressed: u64) -> u64 {
    compressed.saturating_mul(RATIO).clamp(SMALL, WHOLE)
}

fn not_a_file(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Continuous => None,
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Link => Some("a hard link"),
        EntryType::Directory => Some("a directory"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a FIFO"),
        EntryType::GNUSparse => Some("a sparse file"),
        _ => Some("a special member"),
    }
}

/// The first names in an archive, for people.
#[derive(Default)]
struct Held {
    names: Vec<String>,
    more: usize,
}

impl Held {
    fn add(&mut self, name: &[u8], kind: EntryType) {
        let is_header =
            matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader);
        if is_header {
            return;
        }
        if self.names.len() < LISTED {
            // Escaped: a name may hold anything, also what a terminal obeys.
            self.names.push(name.escape_ascii().to_string());
        } else {
            self.more += 1;
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.names.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&self.names.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
