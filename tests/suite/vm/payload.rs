//! What a machine gets to begin with, as a disk that holds an archive: the program under test, and the artifacts that it
//! installs, ready for its cache. Made here, where packing takes a tenth of the time. Gap: nothing is fetched over a network, which
//! the tests on booted copies do.

use std::{collections::BTreeMap, fs::File, path::Path, process::Command};

use hostlet::{
    model::Component,
    standin::{Made, Versions, make_artifacts},
};

use super::Image;
use crate::machine::HOSTLET;

/// Where the artifacts lie in the machine, under their digests.
pub(crate) const DOWNLOADS: &str = "/srv/downloads";

/// The program and releases of the stand-ins.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(super) archive: File,
    /// What was made of each release, in the order in which they were given.
    pub(crate) made: Vec<BTreeMap<Component, Made>>,
}

impl Payload {
    /// hostlet itself, and releases to install, given as the JSON of [`Versions`].
    pub(crate) fn new(image: &Image, releases: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let small = stripped(directory.path());
        let mirror = directory.path().join("mirror");
        let artifacts = |release: &&str| {
            let versions: Versions = serde_json::from_str(release).unwrap();
            make_artifacts(&mirror, &small, &image.plugins(), &versions).unwrap()
        };
        let made: Vec<BTreeMap<_, Made>> = releases.iter().map(artifacts).collect();
        let mut archive = tar::Builder::new(tempfile::tempfile().unwrap());
        archive.append_path_with_name(&small, HOSTLET.trim_start_matches('/')).unwrap();
        for made in made.iter().flat_map(BTreeMap::values) {
            let name = Path::new(DOWNLOADS).strip_prefix("/").unwrap().join(made.digest.to_string());
            archive.append_path_with_name(mirror.join(&made.path), name).unwrap();
        }
        Self { archive: as_a_disk(archive), made }
    }

    /// Files as they lie below `root`, and one more with its path in the machine.
    pub(crate) fn of(root: &Path, (from, to): (&Path, &str)) -> Self {
        let mut archive = tar::Builder::new(tempfile::tempfile().unwrap());
        archive.follow_symlinks(false);
        archive.append_dir_all(".", root).unwrap();
        archive.append_path_with_name(from, to.trim_start_matches('/')).unwrap();
        Self { archive: as_a_disk(archive), made: Vec::new() }
    }
}

/// A disk consists of whole sectors.
fn as_a_disk(archive: tar::Builder<File>) -> File {
    let archive = archive.into_inner().unwrap();
    let length = archive.metadata().unwrap().len().next_multiple_of(4096);
    archive.set_len(length).unwrap();
    archive
}

/// hostlet plays the kubelet, too, so it is copied and hashed many times: without what is in it for debugging that takes a
/// third.
pub(crate) fn stripped(directory: &Path) -> std::path::PathBuf {
    let small = directory.join("hostlet");
    let status = Command::new("strip").arg("-o").arg(&small).arg(env!("CARGO_BIN_EXE_hostlet")).status();
    assert!(status.is_ok_and(|status| status.success()), "strip failed, or is not installed: apt-get install binutils");
    small
}
