//! Removing what nobody wants any more from the cache.

use std::{collections::BTreeSet, path::Path};

use super::Evidence;
use crate::{
    host::{
        files::{self, FileError},
        look,
    },
    model::{Digest, Scheme},
};

/// A name without what says that it is a partial download or the evidence of a signature.
fn stem(name: &str) -> &str {
    let evidence = Scheme::ALL.map(Evidence::suffix);
    evidence.into_iter().chain([".partial", ".origin"]).find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Removes verified files, what proves their signatures, and partial downloads of digests that are not wanted. What is named
/// otherwise is not ours, and a partial download that somebody holds is under way: both stay. Blocking.
pub fn sweep(cache: &Path, wanted: &BTreeSet<Digest>) -> Result<Vec<Digest>, FileError> {
    let mut removed = Vec::new();
    for name in files::names(cache)? {
        let beside = name.strip_suffix(".origin");
        let partial = name.strip_suffix(".partial");
        let Ok(digest) = stem(&name).parse::<Digest>() else { continue };
        if wanted.contains(&digest) {
            continue;
        }
        let path = cache.join(&name);
        // Held until it is removed: nobody begins to write into it meanwhile.
        // What stands beside a partial file goes with it.
        if beside.is_some() && look::exists(&cache.join(format!("{digest}.partial"))) {
            continue;
        }
        let held = if partial.is_some() { files::open_exclusive(&path)? } else { None };
        if partial.is_some() && held.is_none() {
            continue;
        }
        files::if_present(files::remove_file(&path))?;
        if partial.is_some() {
            files::if_present(files::remove_file(&cache.join(format!("{digest}.origin"))))?;
        }
        if beside.is_none() {
            removed.push(digest);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_under_way_or_not_ours_stays() {
        let cache = tempfile::tempdir().unwrap();
        let [wanted, stale, under_way] = [b"wanted", b"stale!", b"going!"].map(|text| Digest::of(text));
        let partial = |digest: &Digest| format!("{digest}.partial");
        let evidence = |digest: &Digest| format!("{digest}{}", Evidence::suffix(Scheme::Keyless));
        for name in [
            wanted.to_string(),
            stale.to_string(),
            partial(&wanted),
            partial(&stale),
            partial(&under_way),
            evidence(&wanted),
            evidence(&stale),
            format!("{stale}.origin"),
            format!("{under_way}.origin"),
            "notes".into(),
        ] {
            files::write(&cache.path().join(name), b"x", 0o600).unwrap();
        }
        let _held = files::open_exclusive(&cache.path().join(partial(&under_way))).unwrap().unwrap();
        assert_eq!(sweep(cache.path(), &[wanted].into()).unwrap(), [stale, stale, stale]);
        let mut left = [
            wanted.to_string(),
            partial(&wanted),
            evidence(&wanted),
            partial(&under_way),
            format!("{under_way}.origin"),
            "notes".to_owned(),
        ];
        left.sort();
        assert_eq!(files::names(cache.path()).unwrap(), left);
        assert_eq!(sweep(&cache.path().join("none"), &BTreeSet::new()).unwrap(), []);
    }
}
