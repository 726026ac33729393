//! The changes that hostlet makes to a host, as data. What undoes them is found when they are made (`undo.rs`).

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::model::{Digest, Secret, UnitName};

/// What a file shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Anybody may see it.
    Plain(Vec<u8>),
    /// A credential: never printed, and only its digest is remembered.
    Secret(Secret<Vec<u8>>),
}

impl Content {
    /// The bytes, for writing them to their file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes())
    }

    /// Whether it is a credential.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            Self::Secret(_) => serializer.serialize_str("[secret]"),
        }
    }
}

/// One change of the host. Serialized for people and programs that read a plan; secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Change {
    /// Makes a directory, and its parents with it.
    CreateDirectory {
        /// Where.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Writes a whole file, replacing what is there.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// What it holds.
        content: Content,
        /// Permission bits.
        mode: u32,
    },
    /// Copies a file of any size, replacing what is there.
    CopyFile {
        /// Where to.
        path: PathBuf,
        /// Where from.
        source: PathBuf,
        /// What it holds.
        digest: Digest,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a symbolic link, replacing what is there.
    CreateLink {
        /// Where.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
    /// Removes a file or a link.
    RemoveFile {
        /// Which.
        path: PathBuf,
    },
    /// Loads a kernel module. It stays loaded when the change is undone: others may use it by then.
    LoadModule {
        /// Its name.
        name: String,
    },
    /// Sets a kernel parameter at once; the file that sets it at boot is a `WriteFile`.
    SetSysctl {
        /// Its name with dots, as sysctl(8) takes it.
        name: String,
        /// Its value.
        value: String,
    },
    /// Makes a mount and all below it shared.
    MakeShared {
        /// The mount point.
        path: PathBuf,
    },
    /// Points `/opt/hostlet/current` to a generation: the one switch of binaries and configuration.
    SwitchGeneration {
        /// The generation in force until now.
        from: Option<u64>,
        /// The one that is from now on.
        to: u64,
    },
    /// Has systemd read its unit files again.
    ReloadSystemd,
    /// Has the unit start at boot.
    EnableUnit {
        /// Which.
        unit: UnitName,
    },
    /// Has the unit no longer start at boot.
    DisableUnit {
        /// Which.
        unit: UnitName,
    },
    /// Starts a unit that is not running.
    StartUnit {
        /// Which.
        unit: UnitName,
    },
    /// Restarts a running unit, since something it reads changed.
    RestartUnit {
        /// Which.
        unit: UnitName,
    },
    /// Stops a unit.
    StopUnit {
        /// Which.
        unit: UnitName,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectory { path, mode } => write!(f, "create directory {} (mode {mode:04o})", path.display()),
            Self::WriteFile { path, content, mode } => {
                let secret = if content.is_secret() { ", secret" } else { "" };
                write!(f, "write {} ({} bytes, mode {mode:04o}{secret})", path.display(), content.bytes().len())
            }
            Self::CopyFile { path, source, mode, .. } => {
                write!(f, "copy {} to {} (mode {mode:04o})", source.display(), path.display())
            }
            Self::CreateLink { path, target } => write!(f, "link {} -> {}", path.display(), target.display()),
            Self::RemoveFile { path } => write!(f, "remove {}", path.display()),
            Self::LoadModule { name } => write!(f, "load kernel module {name}"),
            Self::SetSysctl { name, value } => write!(f, "set {name} = {value}"),
            Self::MakeShared { path } => write!(f, "make the mount at {} shared", path.display()),
            Self::SwitchGeneration { from: None, to } => write!(f, "switch to generation {to}"),
            Self::SwitchGeneration { from: Some(from), to } => write!(f, "switch from generation {from} to {to}"),
            Self::ReloadSystemd => f.write_str("reload systemd's unit files"),
            Self::EnableUnit { unit } => write!(f, "enable {unit}"),
            Self::DisableUnit { unit } => write!(f, "disable {unit}"),
            Self::StartUnit { unit } => write!(f, "start {unit}"),
            Self::RestartUnit { unit } => write!(f, "restart {unit}"),
            Self::StopUnit { unit } => write!(f, "stop {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_in_the_text_nor_in_the_json_of_a_plan() {
        let content = Content::Secret(Secret::new(b"abcdef.0123456789abcdef".to_vec()));
        let change = Change::WriteFile { path: "/etc/kubernetes/bootstrap-kubelet.conf".into(), content, mode: 0o600 };
        let shown = format!("{change} {change:?} {}", serde_json::to_string(&change).unwrap());
        assert!(!shown.contains("abcdef"), "{shown}");
        assert!(change.to_string().contains("mode 0600, secret"), "{change}");
    }
}
