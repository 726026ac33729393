//! Obtaining many files at once, each from its source, through the cache.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    FetchError, Problem, Verified,
    body::{Body, Pace},
    cache::Cache,
    client::{self, LazyClient},
    keeping::Keeping,
    page,
    response::{self, Meaning, Question},
    rounds::Rounds,
    sidecar,
    signature::{Reach, Signatures},
    standing::Standing,
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

/// What was obtained.
#[derive(Debug)]
pub struct Fetched {
    /// In the order of the requests.
    pub verified: Vec<Verified>,
    /// Their way into the cache.
    pub keeping: Keeping,
}

impl Fetched {
    /// What is in the cache already.
    #[must_use]
    pub fn already_kept(verified: Vec<Verified>) -> Self {
        Self { verified, keeping: Keeping::default() }
    }

    /// Waits until all of it is kept.
    pub async fn kept(self) -> Result<Vec<Verified>, FetchError> {
        self.keeping.finish().await?;
        Ok(self.verified)
    }
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
    pub(super) minimum_rate: u64,
    pub(super) standing: Standing,
    pub(super) attempts: u32,
    pub(super) largest: u64,
    pub(super) slots: Semaphore,
    pub(super) signatures: Arc<Signatures>,
}

impl Fetcher {
    /// Reads the files that `sources` names for all sources: authorities, this node's certificate, netrc. The cache's directory is made with the first download.
    pub fn new(sources: &config::Sources, cache: PathBuf, events: Events) -> Result<Self, FetchError> {
        let signatures = Arc::new(Signatures::new(sources, cache.clone(), events.clone())?);
        Ok(Self(Arc::new(Inner {
            signatures,
            client: LazyClient::new(sources)?,
            standing: Standing::of(&cache),
            cache: Cache::new(cache, events.clone()),
            events,
            stall: sources.stall_timeout,
            minimum_rate: sources.minimum_rate,
            attempts: sources.attempts,
            largest: LARGEST,
            slots: Semaphore::new(PARALLEL),
        })))
    }

    /// Obtains all of them in parallel, in the order of the requests. The first failure ends the others; what they had
    /// received stays for the next run, and likewise when the future is dropped.
    ///
    /// One thread receives and decrypts all of them, since many would spend more time on waking one another than that takes:
    /// the network is slower. Hashing and writing have threads of their own.
    pub async fn fetch_all(&self, requests: Vec<Request>) -> Result<Fetched, FetchError> {
        let (inner, keeper, dropped) = (Arc::clone(&self.0), Handle::current(), CancellationToken::new());
        let _guard = dropped.clone().drop_guard();
        let receive = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| failed(Problem::Stopped(error.to_string())))?;
            runtime.block_on(async {
                tokio::select! {
                    fetched = inner.fetch_all(requests, &keeper) => fetched,
                    // Nobody hears of it.
                    () = dropped.cancelled() => Err(failed(Problem::Stopped("nobody waits for it".to_owned()))),
                }
            })
        };
        tokio::task::spawn_blocking(receive).await.map_err(|error| failed(Problem::stopped(error)))?
    }

    /// The digest in the checksum file beside an artifact: bare, or as sha256sum prints it. Of several sites, the first that
    /// has one.
    pub async fn published_digest(&self, what: &str, sites: &[Site]) -> Result<Digest, FetchError> {
        let inner = &self.0;
        let what = format!("the checksum file of {what}");
        let mut rounds = Rounds::new(what, sites, inner.attempts, &inner.events, &inner.standing);
        while let Some(site) = rounds.next().await {
            let file = site.url.path_segments().and_then(Iterator::last).unwrap_or_default();
            let file = file.strip_suffix(".sha256").unwrap_or(file);
            match inner
                .small(&site, sidecar::LIMIT)
                .await
                .and_then(|content| sidecar::parse(&content, file).map_err(Problem::Sidecar))
            {
                Ok(digest) => {
                    rounds.worked();
                    return Ok(digest);
                }
                Err(problem) => rounds.failed(problem),
            }
        }
        Err(rounds.error())
    }
}

impl Reach for Inner {
    async fn client(&self) -> Result<&reqwest::Client, Problem> {
        // The log is told nothing of who this node is.
        Ok(&self.client.get().await?.foreign)
    }

    async fn nearby(&self, site: &Site, limit: u64) -> Result<Vec<u8>, Problem> {
        self.small(site, limit).await
    }
}

/// What is about none of them.
fn failed(problem: Problem) -> FetchError {
    FetchError::fetching("artifacts", "their sources".to_owned(), problem)
}

impl Inner {
    /// Downloads run on the runtime that this is called in, and are kept by the other.
    async fn fetch_all(self: Arc<Self>, requests: Vec<Request>, keeper: &Handle) -> Result<Fetched, FetchError> {
        let mut tasks = JoinSet::new();
        for (position, request) in requests.into_iter().enumerate() {
            let (inner, keeper) = (Arc::clone(&self), keeper.clone());
            tasks.spawn(async move { (position, inner.obtain(&request, &keeper).await) });
        }
        let mut obtained = Vec::with_capacity(tasks.len());
        let mut keeping = Keeping::default();
        while let Some(joined) = tasks.join_next().await {
            let outcome = joined.map_err(|error| failed(Problem::stopped(error)));
            match outcome.and_then(|(position, outcome)| Ok((position, outcome?))) {
                Ok((position, (verified, kept))) => {
                    obtained.push((position, verified));
                    keeping.extend(kept);
                }
                Err(error) => {
                    tasks.shutdown().await;
                    return Err(error);
                }
            }
        }
        obtained.sort_by_key(|(position, _)| *position);
        Ok(Fetched { verified: obtained.into_iter().map(|(_, verified)| verified).collect(), keeping })
    }

    pub(super) fn body(&self, answer: reqwest::Response) -> Body {
        Body::Http { response: Box::new(answer), pace: Pace::new(self.stall, self.minimum_rate) }
    }

    /// A small file, whole.
    async fn small(&self, site: &Site, limit: u64) -> Result<Vec<u8>, Problem> {
        client::accepted(site)?;
        let mut body = if site.url.scheme() == "file" {
            Body::open_file(&site.url).await?.0
        } else {
            let answer = response::ask(&self.client, &Question::whole(site, self.stall)).await?;
            if response::meaning(answer.status(), answer.headers(), 0) != Meaning::Whole {
                return Err(response::refusal(answer.status(), answer.headers()));
            }
            if let Some(encoding) = response::encoding(answer.url(), answer.headers()) {
                return Err(Problem::Encoded(encoding));
            }
            self.body(answer)
        };
        let mut content = Vec::new();
        while let Some(bytes) = body.next().await? {
            content.extend_from_slice(&bytes);
            if content.len() as u64 > limit {
                return Err(Problem::TooLarge { announced: None, limit });
            }
        }
        page::look(&content).map_or(Ok(content), Err)
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
