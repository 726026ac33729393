//! What hostlet put outside of its own directories: removed where it is still as hostlet wrote it.

use std::path::{Path, PathBuf};

use super::{Intent, Site, UninstallError, Uninstalled};
use crate::{
    host::{files, look},
    model::{Expected, PathState, UnitName, layout},
};

/// The first words of every file that hostlet writes for others to read.
const MARKS: [&str; 2] = ["# Installed by hostlet", "# Written by hostlet"];

/// Units that are the same on every host.
const UNITS: [&str; 4] = [
    include_str!("../../units/kubelet.service"),
    include_str!("../../units/flanneld.service"),
    include_str!("../../units/hostlet-recover.service"),
    include_str!("../../units/hostlet-responder.service"),
];

/// Removes the paths of the manifest, and puts back what was moved aside for them.
pub(super) fn remove(intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    let Some(manifest) = &intent.manifest else { return Ok(()) };
    for (path, expected) in &manifest.contents.host {
        if matches!(expected, Expected::Directory { .. }) || is_aside(path) {
            continue;
        }
        let state = look::at(path)?;
        match difference(expected, &state) {
            None if state == PathState::Absent => {}
            None => remove_file(path, done)?,
            Some(_) if intent.purge && matches!(state, PathState::File { .. } | PathState::Link { .. }) => {
                remove_file(path, done)?;
            }
            Some(difference) => {
                done.kept(path.display(), format!("changed since hostlet wrote it ({difference}); --purge removes it"));
            }
        }
    }
    for path in manifest.contents.host.keys().filter(|path| is_aside(path)) {
        put_back(path, done)?;
    }
    Ok(())
}

/// How what is there differs from what hostlet wrote. Another mode or owner does not make it somebody else's.
fn difference(expected: &Expected, state: &PathState) -> Option<String> {
    match (expected, state) {
        (_, PathState::Absent) => None,
        (Expected::File { digest, .. }, PathState::File { digest: found, .. }) if digest == found => None,
        (expected, state) => expected.difference(state),
    }
}

fn is_aside(path: &Path) -> bool {
    path.to_string_lossy().ends_with(layout::ASIDE)
}

fn put_back(aside: &Path, done: &mut Uninstalled) -> Result<(), UninstallError> {
    let original = PathBuf::from(aside.to_string_lossy().trim_end_matches(layout::ASIDE));
    if !look::exists(aside) {
        return Ok(());
    }
    if look::exists(&original) {
        done.kept(aside.display(), format!("{} is in its place", original.display()));
        return Ok(());
    }
    files::rename(aside, &original)?;
    done.removed(format!("put back {}", original.display()));
    Ok(())
}

/// Removes what an installation left that no manifest tells of any more: links into hostlet's directory, files with its
/// words at the top, and temporary files of a run that was killed.
pub(super) fn sweep(site: &Site, intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    for directory in ["/usr/local/bin", layout::CNI_PLUGINS] {
        for path in listed(Path::new(directory))? {
            if look::link_target(&path)?.is_some_and(|target| target.starts_with(&site.opt)) {
                remove_file(&path, done)?;
            }
        }
    }
    let drop_ins = format!("{}/kubelet.service.d", layout::UNITS);
    let known = |path: &PathBuf| intent.manifest.as_ref().is_some_and(|manifest| manifest.contents.host.contains_key(path));
    for directory in [layout::UNITS, &drop_ins, "/etc/sysctl.d", "/etc/modules-load.d"] {
        for path in listed(Path::new(directory))? {
            // One of the manifest that is still there was edited, and kept.
            if known(&path) || !is_marked(&path)? {
                continue;
            }
            let text = files::read_text(&path)?;
            if intent.purge || UNITS.contains(&text.as_str()) {
                remove_file(&path, done)?;
            } else {
                done.kept(
                    path.display(),
                    "hostlet wrote it, and no manifest is left that tells whether it was edited; --purge removes it",
                );
            }
        }
    }
    for directory in
        [layout::UNITS, &drop_ins, "/etc/sysctl.d", "/etc/modules-load.d", layout::KUBERNETES, layout::CNI_CONFIGURATION]
    {
        for path in listed(Path::new(directory))? {
            let temporary = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".hostlet-"));
            if temporary && matches!(look::at(&path)?, PathState::File { .. } | PathState::Link { .. }) {
                remove_file(&path, done)?;
            }
        }
    }
    Ok(())
}

/// Units whose file in /etc/systemd/system says that it is ours.
pub(super) fn unit_files_of_ours() -> Result<Vec<UnitName>, UninstallError> {
    let mut units = Vec::new();
    for path in listed(Path::new(layout::UNITS))? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Ok(unit) = name.parse::<UnitName>()
            && is_marked(&path)?
        {
            units.push(unit);
        }
    }
    Ok(units)
}

/// Whether a unit file lies where ours do; a package's does not.
pub(super) fn is_unit_directory_of_ours(path: &Path) -> bool {
    path.starts_with(layout::UNITS)
}

fn is_marked(path: &Path) -> Result<bool, UninstallError> {
    let Ok(mut file) = files::open_regular(path).unwrap_or(Err("gone")) else { return Ok(false) };
    let mut start = [0; 32];
    let count = std::io::Read::read(&mut file, &mut start).map_err(files::FileError::doing("reading", path))?;
    Ok(MARKS.iter().any(|mark| start[..count].starts_with(mark.as_bytes())))
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, UninstallError> {
    Ok(files::names(directory)?.into_iter().map(|name| directory.join(name)).collect())
}

pub(super) fn remove_file(path: &Path, done: &mut Uninstalled) -> Result<(), UninstallError> {
    if files::if_present(files::remove_file(path))?.is_some() {
        done.removed(format!("remove {}", path.display()));
    }
    Ok(())
}

/// Removes directories that installing made, the deepest first, where nothing is in them.
pub(super) fn remove_directories(intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    let mut directories: Vec<&PathBuf> = intent.directories.iter().collect();
    directories.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in directories {
        if !matches!(look::at(path)?, PathState::Directory { .. }) {
            continue;
        }
        files::remove_directory_if_empty(path)?;
        if !look::exists(path) {
            done.removed(format!("remove {}", path.display()));
            continue;
        }
        let names = files::names(path)?;
        // What keeps a directory is told once, with the deepest.
        if !names.iter().all(|name| intent.directories.contains(&path.join(name))) {
            done.kept(path.display(), format!("it holds {}", names.join(", ")));
        }
    }
    Ok(())
}
