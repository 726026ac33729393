//! What every test here needs: a server that is trusted, a cache, and an ear for events.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hostlet::{
    config::{Site, Sources},
    fetch::{FetchError, Fetcher, Request, Verified},
    model::{Architecture, Artifact, Component, Digest, DigestOrigin, SignaturePolicy},
    output::{Event, Events, Sink},
};
use url::Url;

use super::server::Server;

/// Long enough for a busy machine, short enough to wait for in a test.
const STALL: Duration = Duration::from_millis(700);

#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) sources: Sources,
    recorder: Arc<Recorder>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, &server.authority).unwrap();
        let sources = Sources { ca_file: Some(ca_file), stall_timeout: STALL, ..Sources::default() };
        Self { directory, server, sources, recorder: Arc::default() }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    pub(crate) fn fetcher(&self) -> Fetcher {
        self.fetcher_into(&self.cache())
    }

    pub(crate) fn fetcher_into(&self, cache: &Path) -> Fetcher {
        let events: Events = self.recorder.clone();
        Fetcher::new(&self.sources, cache.to_owned(), events).unwrap()
    }

    /// Fetches one kubelet.
    pub(crate) async fn fetch(&self, content: &[u8], url: &Url) -> Result<Verified, FetchError> {
        let fetched = self.fetcher().fetch_all(vec![request(content, url)]).await?.kept().await?;
        Ok(fetched.into_iter().next().unwrap())
    }

    pub(crate) async fn refused(&self, content: &[u8], url: &Url) -> FetchError {
        let error = self.fetch(content, url).await.unwrap_err();
        assert!(error.to_string().contains("kubelet 1.36.4 (amd64)"), "{error}");
        error
    }

    pub(crate) fn partial(&self, content: &[u8]) -> PathBuf {
        self.cache().join(format!("{}.partial", Digest::of(content)))
    }

    /// Leaves a partial file, as a killed run does.
    pub(crate) fn leave_partial(&self, content: &[u8], bytes: &[u8]) {
        std::fs::create_dir_all(self.cache()).unwrap();
        std::fs::write(self.partial(content), bytes).unwrap();
    }

    /// A file that root alone may read.
    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        open_to(&path, 0o600);
        path
    }

    /// The names in the cache, sorted.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut names = names(&self.cache());
        // What a run notes for the next beside the files themselves.
        names.retain(|name| name != "sources.json" && !name.ends_with(".origin"));
        names
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.recorder.0.lock().unwrap().clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |event| if let Event::Warning { text } = event { Some(text) } else { None };
        self.events().into_iter().filter_map(warning).collect()
    }

    /// From which byte each request asked.
    pub(crate) fn asked_from(&self) -> Vec<Option<usize>> {
        self.server.seen().iter().map(|seen| seen.from).collect()
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Who may have a file.
pub(crate) fn open_to(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn request(content: &[u8], url: &Url) -> Request {
    Request {
        artifact: artifact(Component::Kubelet, content),
        sites: vec![Site::of(url.clone())],
        signature: SignaturePolicy::Off,
    }
}

pub(crate) fn artifact(component: Component, content: &[u8]) -> Artifact {
    Artifact {
        component,
        version: "1.36.4".parse().unwrap(),
        architecture: Architecture::Amd64,
        digest: Digest::of(content),
        origin: DigestOrigin::Configuration,
    }
}

/// Content that no two offsets share.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size.div_ceil(8)).flat_map(|word| (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(size).collect()
}

/// Waits for something that another task or thread does.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
