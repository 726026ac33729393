//! Setting kernel parameters and loading modules; `kernel.rs` looks at them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::files::{self, FileError, Result};

/// Sets a kernel parameter.
pub fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = sysctl_path(name);
    let mut file = fs::OpenOptions::new().write(true).open(&path).map_err(FileError::doing("opening", &path))?;
    file.write_all(value.as_bytes()).map_err(FileError::doing("writing", &path))
}

fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

/// Loads a kernel module; what modprobe(8) said when it would not.
pub fn load_module(name: &str) -> std::result::Result<(), String> {
    let output = Command::new("modprobe").arg("--").arg(name).output().map_err(|error| format!("modprobe: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Whether the kernel has the overlay file system now.
pub fn has_overlay() -> Result<bool> {
    Ok(files::read_text(Path::new("/proc/filesystems"))?.lines().any(|line| line.split_whitespace().last() == Some("overlay")))
}

/// Whether bridged packets can be passed to iptables now.
#[must_use]
pub fn has_bridge_netfilter() -> bool {
    Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
}
