//! A kubelet that somebody else installed: what of it systemd would read beside our unit, and which units run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::FactsError;
use crate::{
    generation::manifest::Manifest,
    host::{files, look, processes::Process},
    model::{PathState, UnitName, layout},
};

/// Where systemd looks for units and drop-ins beside /etc/systemd/system, which comes first (systemd.unit(5)).
const PACKAGED: [&str; 4] =
    ["/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const UNIT: &str = "kubelet.service";
const NOTHING: &str = "/dev/null";

/// What adopting an earlier kubelet means for the plan. Empty where there is none and never was.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    /// Files of ours to be: each keeps what somebody else's file held, under a name that systemd does not read.
    pub aside: BTreeMap<PathBuf, Saved>,
    /// Files that have been moved aside, and go.
    pub moved: BTreeSet<PathBuf>,
    /// Drop-ins of packages that a link to /dev/null of the same name keeps systemd from reading.
    pub masks: BTreeSet<PathBuf>,
    /// Units with other names that run a kubelet: they are stopped and disabled.
    pub units: BTreeSet<UnitName>,
}

/// A file's content and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Looks for it. What an earlier adoption did stays wanted; with `adopt` what is found now is taken over, too.
pub fn foreign(current: Option<&Manifest>, adopt: bool) -> Result<Foreign, FactsError> {
    let mut foreign = Foreign::default();
    let ours = |path: &Path| current.is_some_and(|manifest| manifest.contents.host.contains_key(path));
    let units = Path::new(layout::UNITS);
    let drop_ins = units.join(format!("{UNIT}.d"));
    for directory in [units, &drop_ins] {
        for path in listed(directory)?.into_iter().filter(|path| path.to_string_lossy().ends_with(layout::ASIDE) && ours(path))
        {
            foreign.aside.extend(saved(&path)?.map(|saved| (path, saved)));
        }
    }
    let installed = current.is_some();
    for name in packaged_drop_ins(installed)? {
        let mask = drop_ins.join(name);
        if adopt || ours(&mask) {
            foreign.masks.insert(mask);
        }
    }
    if !adopt {
        return Ok(foreign);
    }
    let unit = units.join(UNIT);
    let changes_us = |path: &PathBuf| is_drop_in(path) && !ours(path) && concerns_us(path, installed);
    for path in listed(&drop_ins)?.into_iter().filter(changes_us).chain((!ours(&unit)).then_some(unit.clone())) {
        let Some(saved) = saved(&path)? else { continue };
        foreign.aside.insert(with_suffix(&path), saved);
        if path != unit && !foreign.masks.contains(&path) {
            foreign.moved.insert(path);
        }
    }
    foreign.units = units_that_run_a_kubelet()?;
    Ok(foreign)
}

/// Services other than kubelet.service whose process is a kubelet. One in a container or pod is not theirs to stop.
fn units_that_run_a_kubelet() -> Result<BTreeSet<UnitName>, FactsError> {
    let kubelets = Process::all()?.into_iter().filter(|process| process.name == "kubelet" && !process.is_in_container());
    let units = kubelets.filter_map(|process| process.unit()?.parse::<UnitName>().ok());
    Ok(units.filter(|unit| unit.as_str().ends_with(".service") && unit.as_str() != UNIT).collect())
}

/// Names of drop-ins for the kubelet's unit in the directories of packages.
fn packaged_drop_ins(installed: bool) -> Result<BTreeSet<String>, FactsError> {
    let mut names = BTreeSet::new();
    for directory in PACKAGED {
        let found = listed(&Path::new(directory).join(format!("{UNIT}.d")))?;
        let found = found.into_iter().filter(|path| is_drop_in(path) && concerns_us(path, installed));
        names.extend(found.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
    }
    Ok(names)
}

/// Before hostlet is installed every drop-in was written for the other kubelet; afterwards an administrator's are meant for
/// ours, and only kubeadm's, which sets ExecStart, are not.
fn concerns_us(path: &Path, installed: bool) -> bool {
    !installed || path.to_string_lossy().ends_with("kubeadm.conf")
}

fn is_drop_in(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "conf")
}

fn with_suffix(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}{}", path.display(), layout::ASIDE))
}

fn saved(path: &Path) -> Result<Option<Saved>, FactsError> {
    Ok(match look::at(path)? {
        PathState::File { mode, .. } => Some(Saved { content: files::read(path)?, mode }),
        // A link, as `systemctl link` makes them: what it points to is what systemd reads.
        PathState::Link { target } if target != Path::new(NOTHING) => {
            files::if_present(files::read(path))?.map(|content| Saved { content, mode: 0o644 })
        }
        _ => None,
    })
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, FactsError> {
    Ok(files::names(directory)?.into_iter().map(|name| directory.join(name)).collect())
}
