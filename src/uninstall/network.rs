//! What flannel and the container runtime's CNI plugins made in the kernel.

use std::path::Path;

use super::{Intent, UninstallError, Uninstalled};
use crate::{
    host::{
        files::FileError,
        links::{self, Link},
        look,
    },
    model::Component,
};

/// The bridge that flannel's CNI plugin has the pods on.
const BRIDGE: &str = "cni0";
/// Addresses that the host-local plugin gave to containers.
const ADDRESSES: &str = "/var/lib/cni";

/// Removes flannel's devices: with flanneld gone nobody keeps their peers up to date. The pods' bridge goes when no
/// container hangs on it.
pub(super) fn remove(intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    let installed =
        |manifest: &crate::generation::manifest::Manifest| manifest.contents.artifact(Component::Flanneld).is_some();
    if !intent.manifest.as_ref().is_some_and(installed) {
        return Ok(());
    }
    for link in links::flannels().map_err(FileError::doing("listing", "the network links"))? {
        delete(&link, done)?;
    }
    let all = links::links().map_err(FileError::doing("listing", "the network links"))?;
    if let Some(bridge) = all.iter().find(|link| link.name == BRIDGE) {
        let ports = all.iter().filter(|link| link.controller == Some(bridge.index)).count();
        if ports == 0 {
            delete(bridge, done)?;
        } else {
            done.kept(
                BRIDGE,
                format!("{ports} containers are connected through it; when they are gone: ip link delete {BRIDGE}"),
            );
        }
    }
    if look::exists(Path::new(ADDRESSES)) {
        done.kept(ADDRESSES, "addresses of containers that the container runtime still knows");
    }
    done.kept("flannel's rules in iptables or nftables", "they end with the next boot");
    Ok(())
}

fn delete(link: &Link, done: &mut Uninstalled) -> Result<(), UninstallError> {
    links::delete(link).map_err(FileError::doing("deleting the network link", &link.name))?;
    done.removed(format!("delete the network link {}", link.name));
    Ok(())
}
