//! Which sources failed lately: a dead mirror is asked last, by the other components of this run and by the next run.
//!
//! The word of a run is kept in the cache for a while. It only orders sources: none is left out for it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use url::Url;

use crate::host::files;

/// The file in the cache.
const NAME: &str = "sources.json";
/// After so long a source has its place again.
const FORGIVEN: Duration = Duration::from_mins(15);

/// Sources that failed, each by scheme, host and port, with the time.
#[derive(Default)]
pub(super) struct Standing {
    path: Option<PathBuf>,
    failed: Mutex<BTreeMap<String, Timestamp>>,
}

impl Standing {
    /// What the runs before left in this cache. A file that cannot be read is none.
    pub(super) fn of(cache: &std::path::Path) -> Self {
        let path = cache.join(NAME);
        let now = Timestamp::now();
        let text = files::read(&path).unwrap_or_default();
        let mut failed: BTreeMap<String, Timestamp> = serde_json::from_slice(&text).unwrap_or_default();
        failed.retain(|_, at| *at <= now && now.duration_since(*at).unsigned_abs() < FORGIVEN);
        Self { path: Some(path), failed: Mutex::new(failed) }
    }

    pub(super) fn is_bad(&self, url: &Url) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&origin(url))
    }

    pub(super) fn failed(&self, url: &Url) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert(origin(url), Timestamp::now());
        self.keep(&failed);
    }

    pub(super) fn worked(&self, url: &Url) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.remove(&origin(url)).is_some() {
            self.keep(&failed);
        }
    }

    fn keep(&self, failed: &BTreeMap<String, Timestamp>) {
        if let (Some(path), Ok(text)) = (&self.path, serde_json::to_vec(failed)) {
            // Without it the next run asks a dead mirror first once more.
            let _ = files::write(path, &text, 0o600);
        }
    }
}

/// Scheme, host and port; of a file the directory.
fn origin(url: &Url) -> String {
    if url.scheme() == "file" {
        return url.path().rsplit_once('/').map(|(directory, _)| format!("file://{directory}")).unwrap_or_default();
    }
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_knows_what_failed_and_forgets_it_after_a_while() {
        let cache = tempfile::tempdir().unwrap();
        let url = |text: &str| text.parse::<Url>().unwrap();
        let standing = Standing::of(cache.path());
        standing.failed(&url("https://user:secret@a.example/x?token=secret"));
        standing.failed(&url("file:///srv/x"));
        let text = files::read_text(&cache.path().join(NAME)).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let next = Standing::of(cache.path());
        assert!(next.is_bad(&url("https://a.example/y")) && !next.is_bad(&url("https://a.example:444/y")));
        next.worked(&url("https://a.example/y"));
        assert!(!Standing::of(cache.path()).is_bad(&url("https://a.example/y")));
        assert!(Standing::of(cache.path()).is_bad(&url("file:///srv/y")));
        let old = r#"{"https://b.example":"2020-01-01T00:00:00Z","https://c.example":"2999-01-01T00:00:00Z"}"#;
        files::write(&cache.path().join(NAME), old.as_bytes(), 0o600).unwrap();
        let next = Standing::of(cache.path());
        assert!(!next.is_bad(&url("https://b.example/")) && !next.is_bad(&url("https://c.example/")));
        files::write(&cache.path().join(NAME), b"{", 0o600).unwrap();
        assert!(!Standing::of(cache.path()).is_bad(&url("https://b.example/")));
    }
}
