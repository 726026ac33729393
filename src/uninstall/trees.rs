//! Directories with all that is in them: the kubelet's root and hostlet's own.

use std::path::{Path, PathBuf};

use super::{UninstallError, Uninstalled};
use crate::{
    host::{
        files, look,
        mounts::{self, MountTable, Process},
        propagation::resolve,
        tree,
    },
    model::PathState,
};

/// What a kubelet makes in its root directory (kubernetes 1.36: pkg/kubelet/config/defaults.go, pkg/kubelet/cm).
const KUBELETS: [&str; 17] = [
    "actuated_pods_state",
    "allocated_pods_state",
    "checkpoints",
    "config.yaml",
    "cpu_manager_state",
    "device-plugins",
    "dra_manager_state",
    "image_manager",
    "kubeadm-flags.env",
    "memory_manager_state",
    "pki",
    "plugin-containers",
    "plugins",
    "plugins_registry",
    "pod-resources",
    "pods",
    "usernamespaces",
];
/// What hostlet makes in /opt/hostlet.
const HOSTLETS: [&str; 5] = ["bin", "current", ".hostlet-current", "generations", "store"];

/// Unmounts everything below the kubelet's root directory; whether something is still mounted.
pub(super) fn unmount(root: Option<&PathBuf>, done: &mut Uninstalled) -> Result<bool, UninstallError> {
    let Some(root) = root else { return Ok(false) };
    let root = resolve(root)?;
    let before = MountTable::of(Process::Own)?.below(&root).len();
    let still = mounts::unmount_below(&root)?;
    let count = before - MountTable::of(Process::Own)?.below(&root).len().min(before);
    if count > 0 {
        done.removed(format!("unmount {count} mounts below {}", root.display()));
    }
    for mount in &still {
        let why = format!("still mounted, so it is kept with all that is behind it: {}", mount.why);
        done.left(mount.mount_point.display(), why);
    }
    Ok(!still.is_empty())
}

/// Removes the kubelet's root directory. Where it is a file system or a link that somebody gave to the kubelet, that stays,
/// and only what kubelets make in it goes.
pub(super) fn remove_root(root: Option<&PathBuf>, done: &mut Uninstalled) -> Result<(), UninstallError> {
    root.map_or(Ok(()), |root| remove(root, &KUBELETS, done))
}

/// Removes `/opt/hostlet`.
pub(super) fn remove_opt(opt: &Path, done: &mut Uninstalled) -> Result<(), UninstallError> {
    remove(opt, &HOSTLETS, done)
}

fn remove(directory: &Path, own: &[&str], done: &mut Uninstalled) -> Result<(), UninstallError> {
    let state = look::at(directory)?;
    let resolved = resolve(directory)?;
    let is_mount_point = MountTable::of(Process::Own)?.covering(&resolved).is_some_and(|mount| mount.mount_point == resolved);
    match state {
        PathState::Absent => Ok(()),
        PathState::Directory { .. } if !is_mount_point => remove_tree(directory, done),
        PathState::Directory { .. } | PathState::Link { .. } => {
            for name in own {
                remove_tree(&resolved.join(name), done)?;
            }
            let rest: Vec<String> = files::names(&resolved)?.into_iter().filter(|name| !own.contains(&name.as_str())).collect();
            let kind = if is_mount_point { "a mount point" } else { "a link" };
            let rest =
                if rest.is_empty() { String::new() } else { format!(", and so is what others put in it: {}", rest.join(", ")) };
            done.kept(directory.display(), format!("it is {kind}, which is not hostlet's{rest}"));
            Ok(())
        }
        other => {
            done.kept(directory.display(), format!("it is a {other}, not a directory"));
            Ok(())
        }
    }
}

/// Removes a tree, and tells what of it had to stay.
pub(super) fn remove_tree(path: &Path, done: &mut Uninstalled) -> Result<(), UninstallError> {
    if !look::exists(path) {
        return Ok(());
    }
    for kept in tree::remove(path)? {
        // A mount that could not be unmounted was told already.
        if !done.left.iter().any(|left| left.what == kept.path.display().to_string()) {
            done.left(kept.path.display(), kept.why);
        }
    }
    if !look::exists(path) {
        done.removed(format!("remove {} and what was in it", path.display()));
    }
    Ok(())
}
