use std::{io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::{
    fetch::{FetchError, Verified, Vouched, verified::Whole},
    host::files,
    model::{Architecture, Artifact, Component, Digest, DigestOrigin, SignaturePolicy},
};

/// What the CNI plugins' archive is unpacked for.
const WANTED: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header
}

fn add(tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    // Names are written raw, as an archive made by hand may have them.
    let mut header = header(EntryType::Regular, content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

/// An archive with all that is wanted, after what `more` puts first.
fn archive_with(more: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    more(&mut tar);
    for name in WANTED {
        add(&mut tar, &format!("./{name}"), format!("content of {name}").as_bytes());
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Place {
    directory: tempfile::TempDir,
    into: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("into");
        files::create_directory(&into, 0o755).unwrap();
        Self { directory, into }
    }

    fn verified(&self, archive: &[u8]) -> Verified {
        let path = self.directory.path().join("archive");
        files::write(&path, archive, 0o600).unwrap();
        let artifact = Artifact {
            component: Component::CniPlugins,
            version: "1.9.1".parse().unwrap(),
            architecture: Architecture::Amd64,
            digest: Digest::of(archive),
            origin: DigestOrigin::Catalog,
        };
        let whole = Whole::in_cache(&artifact, &path).unwrap().unwrap();
        let vouched = Vouched::not_asked(&SignaturePolicy::Off, &artifact.digest).unwrap();
        Verified::new(whole, vouched).unwrap().unwrap()
    }

    fn unpack(&self, archive: &[u8]) -> Result<Vec<Unpacked>, FetchError> {
        self.verified(archive).unpack(&self.into)
    }

    /// The error's text, after a look that nothing was left.
    fn refused(&self, archive: &[u8]) -> String {
        let error = self.unpack(archive).unwrap_err();
        assert!(self.names().is_empty(), "{:?} was left after {error}", self.names());
        assert!(error.to_string().contains("cni-plugins 1.9.1"), "{error}");
        assert!(!error.remedy().is_empty());
        error.to_string()
    }

    fn names(&self) -> Vec<String> {
        files::names(&self.into).unwrap()
    }
}

#[test]
fn only_the_wanted_members_come_out_with_their_digests_and_mode() {
    let place = Place::new();
    let archive = archive_with(|tar| {
        add(tar, "./README.md", b"text");
        add(tar, "/etc/shadow", b"absolute");
        add(tar, "../../outside", b"above");
        add(tar, "sub/bridge", b"deeper");
        let mut link = header(EntryType::Symlink, 0);
        tar.append_link(&mut link, "dhcp", "/etc/passwd").unwrap();
        tar.append(
            &{
                let mut node = header(EntryType::Char, 0);
                node.set_path("null").unwrap();
                node.set_cksum();
                node
            },
            &[][..],
        )
        .unwrap();
        tar.append_data(&mut header(EntryType::Regular, 3), "long/".repeat(40), &b"abc"[..]).unwrap();
    });
    let unpacked = place.unpack(&gzip(&archive)).unwrap();
    assert_eq!(place.names(), WANTED);
    for (unpacked, name) in unpacked.iter().zip(WANTED) {
        let content = files::read(&place.into.join(name)).unwrap();
        assert_eq!(content, format!("content of {name}").as_bytes());
        assert_eq!((unpacked.name, unpacked.digest, unpacked.size), (name, Digest::of(&content), content.len() as u64));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &files::open(&place.into.join(name)).unwrap().metadata().unwrap().permissions(),
        );
        assert_eq!(mode & 0o7777, 0o755, "no set-user-ID from the archive");
    }
    assert_eq!(files::names(place.directory.path()).unwrap(), ["archive", "into"]);
}

#[test]
fn a_missing_member_is_named_with_what_there_is_instead() {
    let place = Place::new();
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "bridge", b"x");
    for number in 0..30 {
        add(&mut tar, &format!("other-{number}\x1b[2J"), b"x");
    }
    let error = place.refused(&gzip(&tar.into_inner().unwrap()));
    assert!(error.contains("holds no \"host-local\", only bridge, other-0\\x1b[2J, "), "{error}");
    assert!(error.ends_with("and 11 more"), "{error}");
    assert!(place.refused(&gzip(&[0; 1024])).contains("only nothing"));
}

#[test]
fn a_wanted_member_that_is_not_a_file_is_refused() {
    for (kind, expected) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Directory, "a directory"),
        (EntryType::Fifo, "a FIFO"),
        (EntryType::Block, "a device"),
        (EntryType::GNUSparse, "a sparse file"),
    ] {
        let archive = archive_with(|tar| {
            let mut header = header(kind, 0);
            header.set_path("./portmap").unwrap();
            header.set_cksum();
            tar.append(&header, &[][..]).unwrap();
        });
        let error = Place::new().refused(&gzip(&archive));
        assert!(error.contains(&format!("\"portmap\" in the archive is {expected}")), "{error}");
    }
}

#[test]
fn a_wanted_member_that_is_there_twice_is_refused() {
    let archive = archive_with(|tar| add(tar, "loopback", b"another"));
    assert!(Place::new().refused(&gzip(&archive)).contains("\"loopback\" is in the archive more than once"));
}

#[test]
fn what_ends_early_is_refused_as_cut_off() {
    let archive = gzip(&archive_with(|_| ()));
    assert!(Place::new().refused(&archive[..archive.len() / 2]).contains("cut off"));
    // The gzip is whole, and the tar in it ends within a member.
    let tar = archive_with(|_| ());
    assert!(Place::new().refused(&gzip(&tar[..512 + 4])).contains("\"bridge\" has 4 of 17 bytes"));
}

#[test]
fn what_is_not_an_archive_is_refused_as_damaged() {
    assert!(Place::new().refused(b"\x7fELF, an executable where an archive should be").contains("damaged"));
    assert!(Place::new().refused(&gzip(&[7; 2048])).contains("damaged"));
    assert!(Place::new().refused(b"").contains("cut off"));
}

#[test]
fn members_that_unfold_to_too_much_are_refused() {
    let mut tar = Builder::new(Vec::new());
    let mut large = header(EntryType::Regular, MEMBER + 1);
    large.set_path("bridge").unwrap();
    large.set_cksum();
    tar.append(&large, &[][..]).unwrap();
    let error = Place::new().refused(&gzip(&tar.into_inner().unwrap()));
    assert!(error.contains("\"bridge\" unfolds to more than 536870912 bytes"), "{error}");
    let mut capped = Capped::new(std::io::repeat(0), 1_000_000);
    assert_eq!(std::io::copy(&mut capped, &mut std::io::sink()).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
}

#[test]
fn a_bomb_is_refused_by_how_much_larger_it_gets_wherever_it_stands() {
    let zeros = vec![0; 40 << 20];
    for name in ["README.md", "bridge"] {
        let archive = gzip(&archive_with(|tar| add(tar, name, &zeros)));
        assert!(archive.len() < 600_000, "{}", archive.len());
        let error = Place::new().refused(&archive);
        assert!(error.contains(&format!("the archive unfolds to more than {} bytes", limit(archive.len() as u64))), "{error}");
    }
}

#[test]
fn bytes_after_the_archive_count_for_the_digest_and_for_nothing_else() {
    let place = Place::new();
    let mut archive = gzip(&archive_with(|_| ()));
    archive.extend_from_slice(b"trailing bytes");
    let verified = place.verified(&archive);
    assert_eq!(verified.unpack(&place.into).unwrap().len(), 4);
    let other = Place::new();
    let length = archive.len();
    archive[length - 1] ^= 1;
    // In its place: whatever else gets its name, the file that was verified is held open.
    files::open_read_write(verified.path()).unwrap().write_all(&archive).unwrap();
    let error = verified.unpack(&other.into).unwrap_err().to_string();
    assert!(error.contains("changed after it was verified"), "{error}");
    assert!(other.names().is_empty());
}

#[test]
fn what_was_there_before_stays_when_unpacking_is_refused() {
    let place = Place::new();
    files::write(&place.into.join("loopback"), b"mine", 0o644).unwrap();
    let error = place.unpack(&gzip(&archive_with(|_| ()))).unwrap_err().to_string();
    assert!(error.contains("File exists"), "{error}");
    assert_eq!(place.names(), ["loopback"]);
    assert_eq!(files::read(&place.into.join("loopback")).unwrap(), b"mine");
}

/// Whatever comes in, only wanted names come out: all of them or none.
fn all_or_none(bytes: &[u8]) -> Result<(), TestCaseError> {
    let place = Place::new();
    let outcome = place.unpack(bytes);
    let expected = if outcome.is_ok() { WANTED.as_slice() } else { &[] };
    prop_assert_eq!(place.names(), expected);
    prop_assert_eq!(files::names(place.directory.path()).unwrap(), ["archive", "into"]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_reader_panic_or_write_elsewhere(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        all_or_none(&bytes)?;
        all_or_none(&gzip(&bytes))?;
    }

    #[test]
    fn no_change_of_an_archive_makes_the_reader_panic_or_write_elsewhere(
        changes in prop::collection::vec((0_usize..6000, any::<u8>()), 1..12), repaired: bool, cut in 0_usize..8000,
    ) {
        let mut tar = archive_with(|tar| {
            add(tar, "README.md", b"text");
            tar.append_data(&mut header(EntryType::Regular, 3), "long/".repeat(40), &b"abc"[..]).unwrap();
        });
        for (at, value) in changes {
            let length = tar.len();
            tar[at % length] = value;
        }
        if repaired {
            // With a right checksum the changed header is believed.
            for block in tar.chunks_exact_mut(512) {
                if &block[257..262] == b"ustar" {
                    let sum: u32 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
                    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
        }
        tar.truncate(cut.max(512));
        all_or_none(&gzip(&tar))?;
    }

    #[test]
    fn no_name_or_kind_of_an_unwanted_member_leads_outside(
        names in prop::collection::vec("(\\.\\./|/|\\./|etc/|x/){0,6}[a-z.]{1,8}/?", 1..5),
        kinds in prop::collection::vec(prop::sample::select(vec![b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'S', b'x', b'V']), 1..5),
    ) {
        let archive = archive_with(|tar| {
            for (name, kind) in names.iter().zip(&kinds) {
                let mut header = header(EntryType::new(*kind), 0);
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
                header.set_cksum();
                tar.append(&header, &[][..]).unwrap();
            }
        });
        all_or_none(&gzip(&archive))?;
    }

    #[test]
    fn an_archive_may_unfold_to_fifty_times_its_size_within_bounds(compressed: u64) {
        let allowed = limit(compressed);
        prop_assert!((SMALL..=WHOLE).contains(&allowed));
        prop_assert!(allowed == SMALL || allowed == WHOLE || allowed == compressed * RATIO);
    }

    #[test]
    fn no_change_of_the_compressed_bytes_makes_the_reader_panic_or_write_elsewhere(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut archive = gzip(&archive_with(|_| ()));
        for (at, value) in changes {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        all_or_none(&archive)?;
    }
}
