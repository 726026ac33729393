//! An earlier generation as what is wanted: from its manifest and its own copies, not from the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::Wanted;
use crate::{
    facts::{HostFacts, Observed, RootMount},
    generation::manifest::{Contents, Manifest},
    model::{Artifact, Expected, PathState, layout},
    transaction::Content,
};

const PURPOSE: &str = "the generation before had it so";

/// A credential that the generation needs is not on the host any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not there, and the configuration of now does not give it", .0.display())]
pub struct NoCredential(pub PathBuf);

/// What an earlier generation wanted, with the copies of its files on the host.
#[must_use]
///
/// What comes and goes by itself is as the configuration of now has it.
pub fn earlier(manifest: &Manifest, host_files: BTreeMap<PathBuf, Content>, facts: &HostFacts, now: &Wanted) -> Wanted {
    let contents = manifest.contents.clone();
    let bootstrap = &now.bootstrap;
    let mut modules = Vec::new();
    if !facts.kernel.overlay {
        modules.push(("overlay", PURPOSE));
    }
    if !facts.kernel.bridge_netfilter && contents.sysctls.keys().any(|name| name.starts_with("net.bridge.")) {
        modules.push(("br_netfilter", PURPOSE));
    }
    let make_shared = match &facts.root_mount {
        RootMount::Private(path) => Some(path.clone()),
        RootMount::Shared | RootMount::SharedByOurs | RootMount::Covered => None,
    };
    Wanted {
        artifacts: contents.artifacts.iter().map(Artifact::from).collect(),
        // It was accepted when it was installed.
        signatures: BTreeMap::new(),
        // Nothing is fetched on the way back.
        sources: BTreeMap::new(),
        files: BTreeMap::new(),
        host_files,
        purposes: contents.host.keys().chain(now.transient.keys()).map(|path| (path.clone(), PURPOSE)).collect(),
        bootstrap: bootstrap.clone(),
        transient: now.transient.clone(),
        absent: now
            .absent
            .iter()
            .filter(|(path, _)| bootstrap.contains(*path))
            .map(|(path, why)| (path.clone(), *why))
            .collect(),
        modules,
        make_shared,
        replaces: BTreeSet::new(),
        program: facts.program,
        contents,
    }
}

impl Wanted {
    /// Settles the credentials, of which a generation keeps no copies. One that is as it was then stays; otherwise it is what
    /// the configuration of now gives, or else what is on the host: a newer token does not make an old kubelet worse.
    pub fn settle_credentials(mut self, now: &Self, observed: &Observed) -> Result<Self, NoCredential> {
        let secrets: Vec<(PathBuf, Expected)> = self
            .contents
            .host
            .iter()
            .filter(|(_, expected)| expected.is_secret())
            .map(|(path, expected)| (path.clone(), expected.clone()))
            .collect();
        for (path, expected) in secrets {
            let state = observed.paths.get(&path).unwrap_or(&PathState::Absent);
            if let Some(purpose) = now.absent.get(&path) {
                // The kubelet has its certificate by now: a token is not brought back.
                self.contents.host.remove(&path);
                self.absent.insert(path, purpose);
            } else if let (Some(content), Some(rendered)) = (now.host_files.get(&path), now.contents.host.get(&path)) {
                self.contents.host.insert(path.clone(), rendered.clone());
                self.host_files.insert(path, content.clone());
            } else if let PathState::File { digest, mode, .. } = state {
                self.contents.host.insert(path, Expected::File { digest: *digest, mode: *mode });
            } else if expected.difference(state).is_some() {
                return Err(NoCredential(path));
            }
        }
        Ok(self)
    }
}

/// How what the configuration wants differs from an earlier generation, so that the next installation would leave it again;
/// `None` where it does not. The bootstrap token comes and goes by itself.
#[must_use]
pub fn departure(earlier: &Contents, now: &Contents) -> Option<String> {
    let plain = |contents: &Contents| {
        let mut contents = contents.clone();
        contents.host.remove(&PathBuf::from(layout::BOOTSTRAP_KUBECONFIG));
        contents
    };
    (plain(earlier) != plain(now)).then(|| super::compare::differences(earlier, now))
}
