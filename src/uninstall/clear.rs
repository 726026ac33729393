//! The order in which files go: what others read first, hostlet's own last, and the intent at the very end.

use std::path::Path;

use super::{Intent, Site, UninstallError, Uninstalled, identity, network, paths, trees};
use crate::{
    host::{files, look, processes::Process},
    model::layout,
};

/// Everything outside of hostlet's own directories.
pub(super) fn host(site: &Site, intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    paths::remove(intent, done)?;
    paths::sweep(site, intent, done)?;
    identity::remove(intent, done)?;
    network::remove(intent, done)?;
    trees::remove_root(intent.root_directory().as_ref(), done)?;
    paths::remove_directories(intent, done)?;
    tell_what_goes_on(site, intent, done)
}

/// hostlet's own directories. With something left to do the intent stays, and the next run goes on.
pub(super) fn own(site: &Site, intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    if intent.purge {
        trees::remove_tree(&site.configuration, done)?;
        trees::remove_tree(&site.cache, done)?;
    } else {
        for path in [&site.configuration, &site.cache] {
            if look::exists(path) && intent.manifest.is_some() {
                done.kept(path.display(), "configuration and downloads; --purge removes them");
            }
        }
    }
    if !done.left.is_empty() {
        return Ok(());
    }
    trees::remove_opt(&site.opt, done)?;
    if !done.left.is_empty() {
        return Ok(());
    }
    for name in files::names(&site.state)?.iter().filter(|name| *name != super::intent::MARKER) {
        trees::remove_tree(&site.state.join(name), done)?;
    }
    if done.left.is_empty() {
        Intent::end(site)?;
        if intent.manifest.is_some() {
            done.removed(format!("remove {}", site.state.display()));
        }
    }
    Ok(())
}

/// What goes on without hostlet, so that nobody is surprised by it later.
fn tell_what_goes_on(site: &Site, intent: &Intent, done: &mut Uninstalled) -> Result<(), UninstallError> {
    let Some(manifest) = &intent.manifest else {
        let root = Path::new(layout::KUBELET_ROOT);
        if look::exists(root) && look::exists(&site.opt) {
            done.kept(root.display(), "no manifest is left that tells whether hostlet's kubelet used it");
        }
        return Ok(());
    };
    let pods = Process::all()?.iter().filter(|process| process.is_in_pod()).count();
    if pods > 0 {
        let runtime = &manifest.contents.runtime_unit;
        let remedy = "crictl rmp --force --all";
        done.kept(format!("{pods} processes of pods"), format!("they keep running under {runtime}; to end them: {remedy}"));
    }
    if !manifest.contents.sysctls.is_empty() {
        let names: Vec<&str> = manifest.contents.sysctls.keys().map(String::as_str).collect();
        done.kept(names.join(", "), "kernel parameters keep their values until the next boot");
    }
    let modules = Path::new("/proc/modules");
    if files::if_present(files::read_text(modules))?
        .is_some_and(|text| text.lines().any(|line| line.starts_with("br_netfilter ")))
    {
        done.kept("kernel modules", "they stay loaded until the next boot");
    }
    Ok(())
}
