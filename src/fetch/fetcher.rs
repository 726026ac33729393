//! Obtaining many files at once, each from its source, through the cache.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use url::Url;

use super::{
    FetchError, Problem, Verified,
    attempts::Attempts,
    body::Body,
    cache::Cache,
    client::{self, LazyClient},
    response::{self, Meaning},
    sidecar,
    signature::{Reach, Signatures},
    subject::Subject,
};
use crate::{
    config::{self, Site},
    model::{Artifact, Digest, SignaturePolicy},
    output::Events,
};

/// So many downloads run at once.
pub const PARALLEL: usize = 4;
/// No artifact is larger: the kubelet has 60 to 85 MB.
pub(super) const LARGEST: u64 = 1 << 30;

/// A file to obtain, and from where.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is; its digest decides.
    pub artifact: Artifact,
    /// Where it may come from, the first one first.
    pub sites: Vec<Site>,
    /// What is asked of its signature.
    pub signature: SignaturePolicy,
}

/// Obtains files. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

/// What all downloads share.
pub(super) struct Inner {
    pub(super) client: LazyClient,
    pub(super) cache: Cache,
    pub(super) events: Events,
    pub(super) stall: Duration,
    pub(super) attempts: u32,
    pub(super) largest: u64,
    pub(super) slots: Semaphore,
    pub(super) signatures: Arc<Signatures>,
}

impl Fetcher {
    /// Reads the authorities in `sources.ca_file`. The cache's directory is made with the first download.
    pub fn new(sources: &config::Sources, cache: PathBuf, events: Events) -> Result<Self, FetchError> {
        let signatures = Arc::new(Signatures::new(sources, cache.clone(), events.clone())?);
        Ok(Self(Arc::new(Inner {
            signatures,
            client: LazyClient::new(sources)?,
            cache: Cache::new(cache, events.clone()),
            events,
            stall: sources.stall_timeout,
            attempts: sources.attempts,
            largest: LARGEST,
            slots: Semaphore::new(PARALLEL),
        })))
    }

    /// Obtains all of them in parallel, in the order of the requests. The first failure ends the others; what they had
    /// received stays for the next run, and likewise when the future is dropped.
    pub async fn fetch_all(&self, requests: Vec<Request>) -> Result<Vec<Verified>, FetchError> {
        let mut tasks = JoinSet::new();
        for (position, request) in requests.into_iter().enumerate() {
            let inner = Arc::clone(&self.0);
            let subject = Subject::artifact(&request.artifact, &request.sites[0].url);
            tasks.spawn(async move {
                let outcome = inner.obtain(&request, &subject).await;
                (position, outcome)
            });
        }
        let mut obtained = Vec::with_capacity(tasks.len());
        while let Some(joined) = tasks.join_next().await {
            let outcome = joined.map_err(|error| {
                let subject = Subject { what: "artifacts".to_owned(), url: "their sources".to_owned() };
                FetchError::fetching(&subject, 1, Problem::stopped(error))
            });
            match outcome.and_then(|(position, outcome)| Ok((position, outcome?))) {
                Ok(verified) => obtained.push(verified),
                Err(error) => {
                    tasks.shutdown().await;
                    return Err(error);
                }
            }
        }
        obtained.sort_by_key(|(position, _)| *position);
        Ok(obtained.into_iter().map(|(_, verified)| verified).collect())
    }

    /// The digest in the checksum file beside an artifact: bare, or as sha256sum prints it.
    pub async fn sidecar_digest(&self, url: &Url) -> Result<Digest, FetchError> {
        let subject = Subject::sidecar(url);
        let mut attempts = Attempts::new(&subject, self.0.attempts, &self.0.events);
        let file = url.path_segments().and_then(Iterator::last).unwrap_or_default();
        let file = file.strip_suffix(".sha256").unwrap_or(file);
        loop {
            match self
                .0
                .small(url, sidecar::LIMIT)
                .await
                .and_then(|content| sidecar::parse(&content, file).map_err(Problem::Sidecar))
            {
                Ok(digest) => return Ok(digest),
                Err(problem) => attempts.after(problem).await?,
            }
        }
    }
}

impl Reach for Inner {
    async fn client(&self) -> Result<&reqwest::Client, Problem> {
        self.client.get().await
    }

    async fn nearby(&self, site: &Site, limit: u64) -> Result<Vec<u8>, Problem> {
        self.small(&site.url, limit).await
    }
}

impl Inner {
    /// A small file, whole.
    async fn small(&self, url: &Url, limit: u64) -> Result<Vec<u8>, Problem> {
        client::accepted(url)?;
        let mut body = if url.scheme() == "file" {
            Body::open_file(url).await?.0
        } else {
            let answer = response::ask(self.client.get().await?, url, 0, self.stall).await?;
            if response::meaning(answer.status(), answer.headers(), 0) != Meaning::Whole {
                return Err(response::refusal(answer.status(), answer.headers()));
            }
            Body::Http { response: Box::new(answer), stall: self.stall }
        };
        let mut content = Vec::new();
        while let Some(bytes) = body.next().await? {
            content.extend_from_slice(&bytes);
            if content.len() as u64 > limit {
                return Err(Problem::TooLarge { announced: None, limit });
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Architecture, Component, DigestOrigin},
        output::Silent,
    };

    #[tokio::test]
    async fn more_bytes_than_were_announced_do_not_pass_the_limit() {
        let sources = config::Sources { stall_timeout: Duration::from_secs(1), attempts: 1, ..config::Sources::default() };
        let directory = tempfile::tempdir().unwrap();
        let mut fetcher = Fetcher::new(&sources, directory.path().join("cache"), Arc::new(Silent)).unwrap();
        Arc::get_mut(&mut fetcher.0).unwrap().largest = 10;
        let artifact = Artifact {
            component: Component::Kubelet,
            version: "1.36.4".parse().unwrap(),
            architecture: Architecture::Amd64,
            digest: Digest::of(b"x"),
            origin: DigestOrigin::Catalog,
        };
        // A regular file whose size is said to be 0.
        let url = "file:///proc/self/status".parse().unwrap();
        let sites = vec![Site::of(url)];
        let error = fetcher.fetch_all(vec![Request { artifact, sites, signature: SignaturePolicy::Off }]).await.unwrap_err();
        assert!(error.to_string().contains("larger than 10 bytes"), "{error}");
        assert!(crate::host::files::names(&directory.path().join("cache")).unwrap().is_empty());
    }
}
