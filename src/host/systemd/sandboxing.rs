//! Options of a unit that break what a kubelet does: they give it a mount namespace of its own, or take its right to mount.
//!
//! Which options make a mount namespace: systemd's exec_needs_mount_namespace; each of them makes it a slave, and
//! `MountFlags=shared` does not undo that. Gap: the file named is the last that assigns the option by its own name;
//! options that follow from others (DynamicUser=) have none.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use zbus::OwnedVariant;

use crate::{
    host::files::{self, if_present},
    model::UnitName,
};

use super::{SystemdError, UnitState, bus::Properties};

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Mounts made by the unit do not reach the host.
    OwnMountNamespace,
    /// The unit may not mount, or not as the kubelet must.
    Confined,
}

/// An option in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandboxing {
    /// Whose.
    pub unit: UnitName,
    /// `ProtectSystem`
    pub option: &'static str,
    /// `full`
    pub value: String,
    /// What it does.
    pub effect: Effect,
    /// The unit file or drop-in that sets it, where one could be found.
    pub file: Option<PathBuf>,
}

impl fmt::Display for Sandboxing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}={}", self.unit, self.option, self.value)?;
        match &self.file {
            Some(file) => write!(f, " in {}", file.display()),
            None => Ok(()),
        }
    }
}

/// When an option is in effect.
#[derive(Clone, Copy)]
enum Kind {
    /// A boolean that is true.
    True,
    /// A word other than these.
    Unless(&'static [&'static str]),
    /// A list, or a text, that is not empty.
    Some,
    /// mount(2) flags: private or slave.
    MountFlags,
    /// A set of capabilities without CAP_SYS_ADMIN.
    LacksSysAdmin,
    /// A list of system calls: allowed ones without mount(2), or forbidden ones with it.
    ForbidsMount,
}

use Effect::{Confined, OwnMountNamespace};

const OPTIONS: [(&str, Kind, Effect); 31] = [
    ("PrivateMounts", Kind::True, OwnMountNamespace),
    ("PrivateTmp", Kind::True, OwnMountNamespace),
    ("PrivateDevices", Kind::True, OwnMountNamespace),
    ("ProtectSystem", Kind::Unless(&["no"]), OwnMountNamespace),
    ("ProtectHome", Kind::Unless(&["no"]), OwnMountNamespace),
    ("ReadOnlyPaths", Kind::Some, OwnMountNamespace),
    ("ReadWritePaths", Kind::Some, OwnMountNamespace),
    ("InaccessiblePaths", Kind::Some, OwnMountNamespace),
    ("ExecPaths", Kind::Some, OwnMountNamespace),
    ("NoExecPaths", Kind::Some, OwnMountNamespace),
    ("TemporaryFileSystem", Kind::Some, OwnMountNamespace),
    ("BindPaths", Kind::Some, OwnMountNamespace),
    ("BindReadOnlyPaths", Kind::Some, OwnMountNamespace),
    ("MountImages", Kind::Some, OwnMountNamespace),
    ("ExtensionImages", Kind::Some, OwnMountNamespace),
    ("ExtensionDirectories", Kind::Some, OwnMountNamespace),
    ("MountFlags", Kind::MountFlags, OwnMountNamespace),
    ("ProtectKernelTunables", Kind::True, OwnMountNamespace),
    ("ProtectKernelModules", Kind::True, OwnMountNamespace),
    ("ProtectKernelLogs", Kind::True, OwnMountNamespace),
    ("ProtectControlGroups", Kind::True, OwnMountNamespace),
    ("ProtectProc", Kind::Unless(&["default"]), OwnMountNamespace),
    ("ProcSubset", Kind::Unless(&["all"]), OwnMountNamespace),
    ("RootDirectory", Kind::Some, OwnMountNamespace),
    ("RootImage", Kind::Some, OwnMountNamespace),
    ("LogNamespace", Kind::Some, OwnMountNamespace),
    ("PrivateIPC", Kind::True, OwnMountNamespace),
    ("PrivateNetwork", Kind::True, Confined),
    ("PrivateUsers", Kind::True, Confined),
    ("SystemCallFilter", Kind::ForbidsMount, Confined),
    ("CapabilityBoundingSet", Kind::LacksSysAdmin, Confined),
];

/// The options in effect, from the properties of a service.
pub(super) fn find(state: &UnitState, properties: &Properties) -> Result<Vec<Sandboxing>, SystemdError> {
    let in_effect = OPTIONS
        .iter()
        .filter_map(|(option, kind, effect)| Some((*option, value(*kind, properties.get(*option)?)?, *effect)))
        .collect::<Vec<_>>();
    if in_effect.is_empty() {
        return Ok(Vec::new());
    }
    let files = texts(state)?;
    let sandboxing = in_effect.into_iter().map(|(option, value, effect)| Sandboxing {
        unit: state.name.clone(),
        option,
        value,
        effect,
        file: file_that_sets(option, &files).map(Path::to_owned),
    });
    Ok(sandboxing.collect())
}

/// Where systemd looks for drop-ins of the administrator, of the running system and of packages (systemd.unit(5)).
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The options that drop-ins set for a service which does not exist yet: they will be in effect as soon as it does.
///
/// Gap: read as text, so an option that a later drop-in takes back is still named.
pub fn waiting(unit: &UnitName) -> files::Result<Vec<Sandboxing>> {
    let mut found = Vec::new();
    for directory in DIRECTORIES.map(|directory| Path::new(directory).join(format!("{unit}.d"))) {
        let is_drop_in = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "conf");
        for name in files::names(&directory)?.iter().filter(is_drop_in) {
            let file = directory.join(name);
            let text = if_present(files::read(&file))?.unwrap_or_default();
            let set = assigned(&String::from_utf8_lossy(&text));
            found.extend(set.into_iter().map(|(option, value, effect)| Sandboxing {
                unit: unit.clone(),
                option,
                value,
                effect,
                file: Some(file.clone()),
            }));
        }
    }
    Ok(found)
}

/// The options that a drop-in sets to a value that does harm.
fn assigned(text: &str) -> Vec<(&'static str, String, Effect)> {
    const HARMLESS: [&str; 8] = ["", "no", "false", "off", "0", "shared", "default", "all"];
    let option = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        // A list of capabilities or system calls has to be understood as a whole: that is left to systemd.
        let simple = |kind: Kind| !matches!(kind, Kind::LacksSysAdmin | Kind::ForbidsMount);
        let (option, _, effect) = OPTIONS.iter().find(|(option, kind, _)| *option == name.trim() && simple(*kind))?;
        (!HARMLESS.contains(&value)).then(|| (*option, value.to_owned(), *effect))
    };
    text.lines().filter_map(option).collect()
}

/// The value, as one would write it, when it is one that does harm.
fn value(kind: Kind, property: &OwnedVariant) -> Option<String> {
    let property = property.try_clone().ok()?;
    match kind {
        Kind::True => bool::try_from(property).ok()?.then(|| "yes".to_owned()),
        Kind::Unless(harmless) => {
            String::try_from(property).ok().filter(|word| !word.is_empty() && !harmless.contains(&word.as_str()))
        }
        Kind::Some => some(&property),
        Kind::MountFlags => match u64::try_from(property).ok()? {
            flags if flags & nix::libc::MS_SLAVE != 0 => Some("slave".to_owned()),
            flags if flags & nix::libc::MS_PRIVATE != 0 => Some("private".to_owned()),
            _ => None,
        },
        Kind::ForbidsMount => {
            let (allowed, calls) = <(bool, Vec<String>)>::try_from(property).ok()?;
            // systemd writes `name` or `name:errno`, groups such as @mount resolved.
            let has_mount = calls.iter().any(|call| call.split(':').next() == Some("mount"));
            // Without a filter this is an empty list of forbidden calls.
            (allowed != has_mount).then(|| "(without mount)".to_owned())
        }
        Kind::LacksSysAdmin => {
            const CAP_SYS_ADMIN: u64 = 1 << 21;
            let capabilities = u64::try_from(property).ok()?;
            (capabilities & CAP_SYS_ADMIN == 0).then(|| "(without CAP_SYS_ADMIN)".to_owned())
        }
    }
}

/// A text, a list of texts, or a list of anything else, of which the length must do.
fn some(property: &OwnedVariant) -> Option<String> {
    let again = property.try_clone().ok()?;
    if let Ok(text) = String::try_from(again) {
        return Some(text).filter(|text| !text.is_empty());
    }
    let again = property.try_clone().ok()?;
    if let Ok(list) = Vec::<String>::try_from(again) {
        return Some(list.join(" ")).filter(|list| !list.is_empty());
    }
    match &**property {
        zbus::Variant::Array(array) if !array.is_empty() => Some("...".to_owned()),
        _ => None,
    }
}

/// The unit's files with their text, in the order systemd reads them.
fn texts(state: &UnitState) -> Result<Vec<(&Path, String)>, SystemdError> {
    let paths = state.fragment_path.iter().chain(&state.drop_in_paths).map(PathBuf::as_path);
    paths
        .map(|path| Ok((path, if_present(files::read(path))?.map(|text| String::from_utf8_lossy(&text).into_owned()))))
        .filter_map(|entry| entry.map(|(path, text)| text.map(|text| (path, text))).transpose())
        .collect()
}

/// The last file that gives the option a value.
fn file_that_sets<'a>(option: &str, files: &[(&'a Path, String)]) -> Option<&'a Path> {
    let sets = |line: &str| {
        line.split_once('=').is_some_and(|(name, value)| {
            let name = name.trim();
            // ReadOnlyDirectories= and its like are older names of ReadOnlyPaths=.
            let older = name.strip_suffix("Directories").zip(option.strip_suffix("Paths"));
            !value.trim().is_empty() && (name == option || older.is_some_and(|(older, newer)| older == newer))
        })
    };
    files.iter().rev().find(|(_, text)| text.lines().any(sets)).map(|(path, _)| *path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_do_harm_count() {
        let found = |kind, property: zbus::Variant<'_>| value(kind, &property.try_to_owned().unwrap());
        assert_eq!(found(Kind::True, true.into()).as_deref(), Some("yes"));
        assert_eq!(found(Kind::True, false.into()), None);
        assert_eq!(found(Kind::Unless(&["no"]), "full".into()).as_deref(), Some("full"));
        assert_eq!(found(Kind::Unless(&["no"]), "no".into()), None);
        assert_eq!(found(Kind::Unless(&["no"]), "".into()), None);
        assert_eq!(found(Kind::Some, vec!["/a", "/b"].into()).as_deref(), Some("/a /b"));
        assert_eq!(found(Kind::Some, Vec::<&str>::new().into()), None);
        assert_eq!(found(Kind::Some, "/srv/root".into()).as_deref(), Some("/srv/root"));
        assert_eq!(found(Kind::Some, vec![("/var", "ro")].into()).as_deref(), Some("..."));
        assert_eq!(found(Kind::MountFlags, (1_u64 << 19).into()).as_deref(), Some("slave"));
        assert_eq!(found(Kind::MountFlags, (1_u64 << 20).into()), None, "shared");
        assert_eq!(found(Kind::LacksSysAdmin, u64::MAX.into()), None);
        assert!(found(Kind::LacksSysAdmin, 0_u64.into()).is_some());
        assert_eq!(found(Kind::ForbidsMount, (false, Vec::<&str>::new()).into()), None, "no filter");
        assert_eq!(found(Kind::ForbidsMount, (true, vec!["read", "mount"]).into()), None);
        assert!(found(Kind::ForbidsMount, (true, vec!["read"]).into()).is_some());
        assert!(found(Kind::ForbidsMount, (false, vec!["mount:EPERM"]).into()).is_some());
    }

    #[test]
    fn a_drop_in_of_a_service_to_come_is_read_as_text() {
        let text = "[Service]\n# PrivateTmp=yes\nProtectSystem = full\nPrivateTmp=no\nRestart=always\nMountFlags=shared\n";
        assert_eq!(assigned(text), [("ProtectSystem", "full".to_owned(), OwnMountNamespace)]);
    }

    #[test]
    fn the_last_file_that_sets_an_option_is_named() {
        let unit = Path::new("/lib/systemd/system/containerd.service");
        let first = Path::new("/etc/systemd/system/containerd.service.d/10.conf");
        let last = Path::new("/etc/systemd/system/containerd.service.d/20.conf");
        let files = [
            (unit, "[Service]\nProtectHome=yes\n# PrivateTmp=yes\nReadOnlyDirectories=/etc\n".to_owned()),
            (first, "[Service]\n ProtectHome = read-only\nProtectSystem=full\n".to_owned()),
            (last, "[Service]\nProtectSystem=\nProtectSystemX=yes\n".to_owned()),
        ];
        assert_eq!(file_that_sets("ProtectHome", &files), Some(first));
        assert_eq!(file_that_sets("ProtectSystem", &files), Some(first));
        assert_eq!(file_that_sets("ReadOnlyPaths", &files), Some(unit));
        assert_eq!(file_that_sets("PrivateTmp", &files), None, "a comment sets nothing");
    }
}
