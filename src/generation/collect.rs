//! Garbage collection: generations that nobody goes back to, entries of the store that no generation links to, and what a
//! kill left half-done.
//!
//! Promise: the generation in force, the one before it and all that they link to stay; each directory vanishes with one
//! rename, and no mount is crossed. A generation that cannot be read keeps everything in the store. Gap: none known.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Committed, inspect};
use crate::{
    host::{
        checkpoint::checkpoint,
        files::{self, FileError},
        tree,
    },
    model::{Artifact, Digest, layout},
};

/// So many generations stay, the one in force and the previous one among them.
pub const KEPT: usize = 3;

/// What a collection came to.
#[derive(Debug, Default)]
pub struct Collected {
    /// The digests of what the generations that stay were downloaded as; `None` where one of them cannot be read.
    pub wanted: Option<BTreeSet<Digest>>,
    /// What is gone.
    pub removed: Vec<PathBuf>,
    /// What could not be removed, and why.
    pub problems: Vec<String>,
}

/// Removes what nobody needs any more.
#[must_use]
pub fn collect(opt: &Path, committed: Committed) -> Collected {
    let mut collected = Collected::default();
    let generations = opt.join("generations");
    let numbers = match files::names(&generations) {
        Ok(names) => sweep_leftovers(&generations, names, &mut collected),
        Err(error) => return collected.stopped(&error),
    };
    let numbers: Vec<u64> = numbers.iter().filter_map(|name| name.parse().ok()).collect();
    let kept = kept(&numbers, committed);
    for number in numbers.iter().filter(|number| !kept.contains(number)) {
        collected.discard(&layout::generation(opt, *number));
    }
    let entries = match entries_of(opt, &kept) {
        Ok((entries, wanted)) => {
            collected.wanted = Some(wanted);
            entries
        }
        Err(problem) => {
            collected.problems.push(problem);
            return collected;
        }
    };
    let store = opt.join("store");
    match files::names(&store) {
        Ok(names) => {
            for name in sweep_leftovers(&store, names, &mut collected) {
                if !entries.contains(&name) {
                    collected.discard(&store.join(name));
                }
            }
            collected
        }
        Err(error) => collected.stopped(&error),
    }
}

/// The one in force, the one before it, and the newest of the rest.
fn kept(numbers: &[u64], committed: Committed) -> BTreeSet<u64> {
    let mut kept: BTreeSet<u64> = committed.committed.into_iter().chain(committed.previous).collect();
    let mut newest: Vec<u64> = numbers.to_vec();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    for number in newest {
        if kept.len() >= KEPT {
            break;
        }
        kept.insert(number);
    }
    kept
}

/// The names of the entries that these generations link to, and the digests of the downloads.
fn entries_of(opt: &Path, kept: &BTreeSet<u64>) -> Result<(BTreeSet<String>, BTreeSet<Digest>), String> {
    let (mut entries, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for number in kept {
        let manifest = inspect::manifest(opt, *number).map_err(|error| error.to_string())?;
        let unreadable = || format!("generation {number} cannot be read, so everything in the store stays");
        for record in manifest.ok_or_else(unreadable)?.contents.artifacts {
            entries.insert(Artifact::from(&record).store_name());
            wanted.insert(record.digest);
        }
    }
    Ok((entries, wanted))
}

/// Removes what begins with a dot: a kill left it. The other names come back.
fn sweep_leftovers(directory: &Path, names: Vec<String>, collected: &mut Collected) -> Vec<String> {
    let (leftovers, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name.starts_with('.'));
    for leftover in leftovers {
        collected.remove(&directory.join(leftover));
    }
    others
}

impl Collected {
    /// One rename, so that nobody sees half of it; then the rest.
    fn discard(&mut self, path: &Path) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let hidden = path.with_file_name(format!(".removing-{name}"));
        match files::rename(path, &hidden) {
            Ok(()) => {
                checkpoint(format_args!("collect: {} is hidden", path.display()));
                self.remove(&hidden);
            }
            Err(error) => return self.problems.push(error.to_string()),
        }
        self.removed.push(path.to_owned());
    }

    fn remove(&mut self, path: &Path) {
        match tree::remove(path) {
            Ok(kept) => {
                self.problems.extend(kept.iter().map(|kept| format!("{} stays: {}", kept.path.display(), kept.why)));
            }
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    fn stopped(mut self, error: &FileError) -> Self {
        self.problems.push(error.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new(generations: &[(u64, &str)]) -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            for (number, kubelet) in generations {
                let digest = Digest::of(kubelet.as_bytes());
                let manifest = serde_json::json!({
                    "schema": 1, "number": number, "created": "", "hostlet": "", "executables": {},
                    "contents": {
                        "node": "n", "root-directory": "/var/lib/kubelet", "runtime-unit": "containerd.service",
                        "artifacts": [{ "component": "kubelet", "version": kubelet, "architecture": "amd64",
                            "digest": digest, "origin": "catalog" }],
                        "entries": {}, "host": {}, "sysctls": {}, "units": [],
                    },
                });
                scene.write(&format!("generations/{number}/manifest.json"), &manifest.to_string());
                scene.write(&format!("store/{digest}-kubelet-{kubelet}/bin/kubelet"), kubelet);
            }
            scene
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            files::create_directory(path.parent().unwrap(), 0o755).unwrap();
            files::write(&path, text.as_bytes(), 0o644).unwrap();
        }

        fn names(&self, directory: &str) -> Vec<String> {
            files::names(&self.0.path().join(directory)).unwrap()
        }

        fn versions(&self) -> Vec<String> {
            let mut versions: Vec<String> =
                self.names("store").iter().map(|name| name.rsplit('-').next().unwrap().to_owned()).collect();
            versions.sort();
            versions
        }
    }

    #[test]
    fn the_one_in_force_the_previous_one_and_what_they_link_to_stay_however_old_they_are() {
        let scene = Scene::new(&[(1, "1.33.0"), (2, "1.34.0"), (3, "1.35.0"), (4, "1.36.0"), (5, "1.36.1"), (6, "1.36.0")]);
        scene.write("store/.staging-x/bin/kubelet", "half");
        scene.write("generations/.removing-0/manifest.json", "half");
        scene.write("store/unknown/bin/kubelet", "of nobody");
        let collected = collect(scene.0.path(), Committed::new(Some(1), Some(4)));
        assert!(collected.problems.is_empty(), "{:?}", collected.problems);
        assert_eq!(scene.names("generations"), ["1", "4", "6"]);
        assert_eq!(scene.versions(), ["1.33.0", "1.36.0"]);
        let wanted: BTreeSet<Digest> = [Digest::of(b"1.33.0"), Digest::of(b"1.36.0")].into();
        assert_eq!(collected.wanted, Some(wanted));
        let again = collect(scene.0.path(), Committed::new(Some(1), Some(4)));
        assert!(again.removed.is_empty() && again.problems.is_empty());
    }

    #[test]
    fn a_generation_that_cannot_be_read_keeps_everything_in_the_store() {
        let scene = Scene::new(&[(1, "1.33.0"), (2, "1.34.0")]);
        scene.write("store/unknown/bin/kubelet", "of nobody known");
        scene.write("generations/1/manifest.json", "{");
        let collected = collect(scene.0.path(), Committed::new(Some(2), Some(1)));
        assert_eq!(collected.problems.len(), 1, "{:?}", collected.problems);
        assert_eq!((scene.names("store").len(), collected.wanted), (3, None));
    }
}
