//! What the host shall be: contents with their bytes, and what each is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::{
    generation::manifest::{ArtifactRecord, Contents, UnitRecord},
    model::{Artifact, Component, Digest, Expected, NodeIdentity, Secret, SignaturePolicy, UnitName},
    transaction::Content,
};

/// Everything that the host shall be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As the manifest will remember it.
    pub contents: Contents,
    /// What has to be in the store.
    pub artifacts: Vec<Artifact>,
    /// What is asked of their signatures.
    pub signatures: BTreeMap<Component, SignaturePolicy>,
    /// Where they may be fetched from, in words, the first one first.
    pub sources: BTreeMap<Component, Vec<String>>,
    /// The files of the generation, by path in it.
    pub files: BTreeMap<String, Content>,
    /// The files outside of it.
    pub host_files: BTreeMap<PathBuf, Content>,
    /// What each path outside of the generation is for.
    pub purposes: BTreeMap<PathBuf, &'static str>,
    /// Secrets that are there for a while only, and not part of the contents: a node that has joined is no other node.
    pub transient: BTreeMap<PathBuf, Content>,
    /// What is needed until the node has joined, and not after it.
    pub bootstrap: BTreeSet<PathBuf>,
    /// What must not be there, and why.
    pub absent: BTreeMap<PathBuf, &'static str>,
    /// Kernel modules that are needed now, and for what.
    pub modules: Vec<(&'static str, &'static str)>,
    /// Units of another kubelet's that this one replaces: stopped and disabled before it starts.
    pub replaces: BTreeSet<UnitName>,
    /// This program, at the path at which units start it. It is no part of the contents: another hostlet is no other node.
    pub program: Digest,
    /// A mount point that has to be made shared (a bind on top of it would hide it).
    pub make_shared: Option<PathBuf>,
}

/// Collects what is wanted while the parts are rendered.
#[derive(Debug)]
pub(super) struct Builder(Wanted);

impl Builder {
    pub(super) fn new(
        identity: &NodeIdentity,
        root_directory: PathBuf,
        runtime_unit: UnitName,
        artifacts: &[Artifact],
        program: Digest,
    ) -> Self {
        let contents = Contents {
            node: identity.name.clone(),
            root_directory,
            runtime_unit,
            artifacts: artifacts.iter().map(ArtifactRecord::from).collect(),
            entries: BTreeMap::new(),
            host: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            units: Vec::new(),
        };
        Self(Wanted {
            contents,
            artifacts: artifacts.to_vec(),
            signatures: BTreeMap::new(),
            sources: BTreeMap::new(),
            files: BTreeMap::new(),
            host_files: BTreeMap::new(),
            purposes: BTreeMap::new(),
            transient: BTreeMap::new(),
            bootstrap: BTreeSet::new(),
            absent: BTreeMap::new(),
            modules: Vec::new(),
            replaces: BTreeSet::new(),
            program,
            make_shared: None,
        })
    }

    /// What is asked of signatures.
    pub(super) fn signatures(&mut self, policies: impl Iterator<Item = (Component, SignaturePolicy)>) {
        self.0.signatures.extend(policies);
    }

    /// Where a component may be fetched from.
    pub(super) fn sources(&mut self, component: Component, sources: Vec<String>) {
        self.0.sources.insert(component, sources);
    }

    /// A file in the generation.
    pub(super) fn file(&mut self, path: &str, text: impl Into<String>) {
        let content = Content::Plain(text.into().into_bytes());
        self.0.contents.entries.insert(path.to_owned(), Expected::File { digest: content.digest(), mode: 0o644 });
        self.0.files.insert(path.to_owned(), content);
    }

    /// A link in the generation.
    pub(super) fn link(&mut self, path: &str, target: PathBuf) {
        self.0.contents.entries.insert(path.to_owned(), Expected::Link { target });
    }

    /// A file outside of the generation. A secret gets mode 0600.
    pub(super) fn host_file(&mut self, path: impl Into<PathBuf>, content: Content, purpose: &'static str) {
        let path = path.into();
        let mode = if content.is_secret() { 0o600 } else { 0o644 };
        self.expect(path.clone(), Expected::File { digest: content.digest(), mode }, purpose);
        self.0.host_files.insert(path, content);
    }

    /// A secret outside of the generation that is needed for a while only.
    pub(super) fn transient_file(&mut self, path: impl Into<PathBuf>, content: Content, purpose: &'static str) {
        let path = path.into();
        self.0.purposes.insert(path.clone(), purpose);
        self.0.bootstrap.insert(path.clone());
        self.0.transient.insert(path, content);
    }

    /// What a file of somebody else's held, kept as it was.
    pub(super) fn saved_file(&mut self, path: PathBuf, content: Vec<u8>, mode: u32) {
        // What only its owner may read is shown by no plan.
        let content = if mode == 0o600 { Content::Secret(Secret::new(content)) } else { Content::Plain(content) };
        let expected = Expected::File { digest: content.digest(), mode };
        self.expect(path.clone(), expected, "what an earlier kubelet's unit read, for when hostlet is uninstalled");
        self.0.host_files.insert(path, content);
    }

    /// Units of another kubelet's.
    pub(super) fn replace(&mut self, units: BTreeSet<UnitName>) {
        self.0.replaces = units;
    }

    /// A link outside of the generation.
    pub(super) fn host_link(&mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>, purpose: &'static str) {
        self.expect(path.into(), Expected::Link { target: target.into() }, purpose);
    }

    /// A directory outside of the generation.
    pub(super) fn directory(&mut self, path: impl Into<PathBuf>, mode: u32, purpose: &'static str) {
        self.expect(path.into(), Expected::Directory { mode }, purpose);
    }

    /// What a node that has joined needs no more.
    pub(super) fn bootstrapped(&mut self, path: impl Into<PathBuf>) {
        let path = path.into();
        self.0.bootstrap.insert(path.clone());
        self.absent(path, "the kubelet has its client certificate and needs the token no more");
    }

    /// A path that must not exist.
    pub(super) fn absent(&mut self, path: impl Into<PathBuf>, purpose: &'static str) {
        self.0.absent.insert(path.into(), purpose);
    }

    /// A kernel parameter.
    pub(super) fn sysctl(&mut self, name: &str, value: &str) {
        self.0.contents.sysctls.insert(name.to_owned(), value.to_owned());
    }

    /// The kernel parameters collected so far.
    pub(super) const fn sysctls(&self) -> &BTreeMap<String, String> {
        &self.0.contents.sysctls
    }

    /// A kernel module that is missing now.
    pub(super) fn module(&mut self, name: &'static str, purpose: &'static str) {
        self.0.modules.push((name, purpose));
    }

    /// A mount that has to become shared.
    pub(super) fn make_shared(&mut self, path: PathBuf) {
        self.0.make_shared = Some(path);
    }

    /// A unit that is enabled and runs; `inputs` are the paths in the generation that its process reads.
    pub(super) fn unit(&mut self, name: UnitName, inputs: &[&str], reads: Vec<PathBuf>) {
        let mut text = String::new();
        for input in inputs {
            match self.0.contents.entries.get(*input) {
                Some(Expected::File { digest, .. }) => text.push_str(&format!("{input} file {digest}\n")),
                Some(Expected::Link { target }) => text.push_str(&format!("{input} link {}\n", target.display())),
                Some(Expected::Directory { .. }) | None => {}
            }
        }
        self.0.contents.units.push(UnitRecord { name, inputs: Digest::of(text.as_bytes()), reads });
    }

    pub(super) fn finish(self) -> Wanted {
        self.0
    }

    fn expect(&mut self, path: PathBuf, expected: Expected, purpose: &'static str) {
        self.0.purposes.insert(path.clone(), purpose);
        self.0.contents.host.insert(path, expected);
    }
}
