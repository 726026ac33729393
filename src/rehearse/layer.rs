//! Packages for throwaway copies of this machine, installed once and kept.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::RehearseError;
use crate::{
    host::{container, files},
    model::Digest,
};

/// Archives of layers, for root alone: what boots from them runs as root.
const CACHE: &str = "/var/cache/hostlet-rehearsal";
/// The packages that any node needs, and what the stand-ins use.
const BASE: [&str; 9] = [
    "ca-certificates",
    "containerd",
    "containernetworking-plugins",
    "dbus",
    "iproute2",
    "iptables",
    "kmod",
    "systemd-sysv",
    "util-linux",
];
/// Part of the key: changes when a layer is made differently.
const FORMAT: &str = "2";
/// Layers that nobody made anew for so long belong to an older state of the machine.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// What was installed over this machine's root, as an archive of the overlay's upper directory.
#[derive(Debug, Clone)]
pub struct Layer {
    archive: PathBuf,
}

impl Layer {
    /// The layer with containerd and these packages; installed now unless an earlier run did, on the same machine in the
    /// same state. Safe to call from several processes at once, and to kill: a layer is complete or absent.
    pub async fn prepare(packages: &[&str]) -> Result<Self, RehearseError> {
        let (packages, archive) = plan(packages)?;
        let cache = Path::new(CACHE);
        files::create_directory(cache, 0o700)?;
        let lock = files::open_append(&cache.join("lock"))?;
        let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
        let _locked = locked.map_err(std::io::Error::other).flatten().map_err(RehearseError::Lock)?;
        if !archive.exists() {
            let partial = cache.join("partial.tar");
            container::prepare_layer(&partial, &packages).await?;
            files::rename(&partial, &archive)?;
            remove_old(cache, &archive)?;
        }
        Ok(Self { archive })
    }

    /// Whether preparing it will take no time.
    pub fn is_prepared(packages: &[&str]) -> Result<bool, RehearseError> {
        Ok(plan(packages)?.1.exists())
    }

    /// The archive.
    #[must_use]
    pub fn archive(&self) -> &Path {
        &self.archive
    }
}

/// All the packages, and the archive that holds them once they are installed.
fn plan(packages: &[&str]) -> Result<(Vec<String>, PathBuf), RehearseError> {
    let mut packages: Vec<_> = BASE.iter().chain(packages).map(|&package| package.to_owned()).collect();
    packages.sort();
    packages.dedup();
    let archive = Path::new(CACHE).join(format!("{}.tar", key(&packages)?));
    Ok((packages, archive))
}

/// A layer holds whole files of dpkg's database, so it fits only the state that it was made from.
fn key(packages: &[String]) -> Result<String, RehearseError> {
    let installed = files::if_present(files::digest(Path::new("/var/lib/dpkg/status")))?.ok_or(RehearseError::NoApt)?;
    Ok(Digest::of(format!("{FORMAT} {installed} {}", packages.join(" ")).as_bytes()).short())
}

fn remove_old(cache: &Path, current: &Path) -> Result<(), RehearseError> {
    for name in files::names(cache)? {
        let path = cache.join(name);
        let age = path.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if path.extension().is_some_and(|extension| extension == "tar")
            && path != current
            && age.is_some_and(|age| age > KEPT_FOR)
        {
            files::remove_file(&path)?;
        }
    }
    Ok(())
}
