//! What undoes a change: found before the change is made, written to the journal, and carried out in reverse.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{UnitName, layout};

/// What was at a path before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Prior {
    /// Nothing.
    Absent,
    /// A symbolic link.
    Link {
        /// What it pointed to.
        target: PathBuf,
    },
    /// A file, of which a copy with its mode and owner was made.
    Saved {
        /// Where the copy is.
        copy: PathBuf,
    },
}

/// One entry of the journal. Carrying one out twice does no harm: recovery may be killed too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Undo {
    /// Puts back what was at a path.
    RestorePath {
        /// Which.
        path: PathBuf,
        /// What was there.
        prior: Prior,
    },
    /// Removes directories that were created, where they are empty again.
    RemoveDirectories {
        /// Deepest first.
        paths: Vec<PathBuf>,
    },
    /// Unmounts pods' volumes under the kubelet's root directory: a kubelet that stops leaves them mounted.
    UnmountVolumes {
        /// The kubelet's root directory.
        root: PathBuf,
        /// Those that were mounted before: pods that outlived an earlier kubelet use them.
        #[serde(default)]
        keep: Vec<PathBuf>,
    },
    /// Removes the devices that flanneld made since: it leaves them when it stops.
    RemoveFlannelLinks {
        /// Those that were there before.
        except: Vec<String>,
    },
    /// Removes a directory that this run created, with all that was put in it since. Nothing behind a mount is touched.
    RemoveTree {
        /// Which.
        path: PathBuf,
    },
    /// Sets a kernel parameter to what it was.
    RestoreSysctl {
        /// Its name, with dots.
        name: String,
        /// What it was.
        value: String,
    },
    /// Makes a mount private again, and not those below it.
    MakePrivate {
        /// The mount point.
        path: PathBuf,
    },
    /// Points `current` to where it pointed.
    SwitchBack {
        /// The generation; none where there was no link.
        to: Option<u64>,
    },
    /// Stops a unit that was not running.
    StopUnit {
        /// Which.
        unit: UnitName,
    },
    /// Starts a unit that was running.
    StartUnit {
        /// Which.
        unit: UnitName,
    },
    /// Restarts a unit once all it reads is as it was, unless it has been running since before the run began.
    RestartUnit {
        /// Which.
        unit: UnitName,
    },
    /// Has systemd try a unit again, as it was trying before: nobody expects it to come up.
    RetryUnit {
        /// Which.
        unit: UnitName,
    },
    /// Disables a unit that was not enabled.
    DisableUnit {
        /// Which.
        unit: UnitName,
    },
    /// Enables a unit that was enabled.
    EnableUnit {
        /// Which.
        unit: UnitName,
    },
    /// Has systemd read its unit files once they are as they were.
    ReloadSystemd,
}

impl Undo {
    /// Whether it makes sense only after everything else was undone: a unit restarts on what it read before.
    #[must_use]
    pub const fn is_deferred(&self) -> bool {
        matches!(
            self,
            Self::ReloadSystemd
                | Self::RestartUnit { .. }
                | Self::RetryUnit { .. }
                | Self::StartUnit { .. }
                | Self::EnableUnit { .. }
        )
    }

    /// Whether it stops a service: nothing that a process reads or writes is undone under its feet.
    #[must_use]
    pub fn stops_service(&self) -> bool {
        matches!(self, Self::StopUnit { unit } if unit.is_service())
    }

    /// Whether systemd has to read its unit files again afterwards. It may have read them in the meantime for any reason.
    #[must_use]
    pub fn touches_units(&self) -> bool {
        match self {
            Self::RestorePath { path, .. } => path.starts_with(layout::UNITS),
            Self::RemoveDirectories { paths } => paths.iter().any(|path| path.starts_with(layout::UNITS)),
            Self::ReloadSystemd | Self::EnableUnit { .. } | Self::DisableUnit { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestorePath { path, prior: Prior::Absent } => write!(f, "remove {}", path.display()),
            Self::RestorePath { path, .. } => write!(f, "restore {}", path.display()),
            Self::RemoveDirectories { paths } => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "remove {}", paths.join(", "))
            }
            Self::UnmountVolumes { root, .. } => write!(f, "unmount pods' volumes under {}", root.display()),
            Self::RemoveFlannelLinks { .. } => f.write_str("remove the network links that flanneld made"),
            Self::RemoveTree { path } => write!(f, "remove {} and what is in it", path.display()),
            Self::RestoreSysctl { name, value } => write!(f, "set {name} = {value}"),
            Self::MakePrivate { path } => write!(f, "make the mount at {} private", path.display()),
            Self::SwitchBack { to: Some(to) } => write!(f, "switch back to generation {to}"),
            Self::SwitchBack { to: None } => f.write_str("remove the link to the new generation"),
            Self::StopUnit { unit } => write!(f, "stop {unit}"),
            Self::StartUnit { unit } => write!(f, "start {unit}"),
            Self::RestartUnit { unit } => write!(f, "restart {unit} on what it read before"),
            Self::RetryUnit { unit } => write!(f, "have systemd try {unit} again"),
            Self::DisableUnit { unit } => write!(f, "disable {unit}"),
            Self::EnableUnit { unit } => write!(f, "enable {unit}"),
            Self::ReloadSystemd => f.write_str("reload systemd's unit files"),
        }
    }
}
