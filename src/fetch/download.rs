//! One artifact: from the cache, or from its sources with as many attempts as it takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use url::Url;

use super::{
    FetchError, Problem, Request, SignatureProblem, Verified, Vouched,
    body::Body,
    cache::Entry,
    client,
    fetcher::Inner,
    keeping::Kept,
    page,
    partial::{Origin, Partial},
    pump::{Progress, Shared, pump},
    response::{self, Meaning, Question},
    rounds::Rounds,
    signature::Candidate,
    subject::redacted,
    verified::Whole,
};
use crate::{
    config::Site,
    model::{Artifact, Digest, ObtainedFrom},
    output::Event,
};

/// How often a file that another download holds is looked at again.
const BUSY: Duration = Duration::from_millis(100);

impl Inner {
    /// Finds or fetches it, verified; a download is being kept by then.
    pub(super) async fn obtain(&self, request: &Request, keeper: &Handle) -> Result<(Verified, Option<Kept>), FetchError> {
        let what = request.artifact.to_string();
        let first = request.sites.first().map(|site| redacted(&site.url)).unwrap_or_default();
        let fail = |problem| FetchError::fetching(&what, first.clone(), problem);
        // The semaphore is never closed; were it, nothing would be lost but the limit.
        let _slot = self.slots.acquire().await.ok();
        let vouched = self.vouch(request).await?;
        let (whole, kept) = match self.enter(&request.artifact).await.map_err(fail)? {
            Found::Verified(whole) => (whole, None),
            Found::Partial(partial) => {
                let whole = self.download(request, what.clone(), &partial).await?;
                let path = self.cache.verified_path(&request.artifact.digest);
                (whole, Some(Kept::begin(keeper, what.clone(), first.clone(), partial, path)))
            }
        };
        self.events.emit(Event::Fetched {
            component: request.artifact.component,
            digest: request.artifact.digest.to_string(),
            cached: kept.is_none(),
        });
        let signatures = Arc::clone(&self.signatures);
        let sealed = tokio::task::spawn_blocking(move || signatures.seal(whole, vouched)).await;
        let sealed = sealed.map_err(|error| fail(Problem::stopped(error)))?;
        let sealed = sealed.map_err(|error| fail(Problem::cache(None)(error)))?;
        let verified = sealed.map_err(|wrong| {
            let problem = SignatureProblem::Wrong { from: first.clone(), wrong };
            FetchError::signature(&request.artifact, &request.signature, problem)
        })?;
        Ok((verified, kept))
    }

    /// What is asked of its signature: fulfilled before anything is downloaded, as far as that can be.
    async fn vouch(&self, request: &Request) -> Result<Vouched, FetchError> {
        let candidate = Candidate {
            what: request.artifact.to_string(),
            digest: &request.artifact.digest,
            policy: &request.signature,
            sources: &request.sites,
        };
        let vouched = self.signatures.vouch(&candidate, self).await;
        vouched.map_err(|problem| FetchError::signature(&request.artifact, &request.signature, problem))
    }

    /// Waits while another download, of this process or another, has the same file under way.
    async fn enter(&self, artifact: &Artifact) -> Result<Found, Problem> {
        let mut told = false;
        loop {
            let (cache, wanted) = (self.cache.clone(), artifact.clone());
            let entered = tokio::task::spawn_blocking(move || cache.enter(&wanted)).await.map_err(Problem::stopped)?;
            match entered.map_err(Problem::cache(None))? {
                Entry::Verified(verified) => return Ok(Found::Verified(verified)),
                Entry::Partial(partial) => return Ok(Found::Partial(Shared::new(partial))),
                Entry::Busy if told => {}
                Entry::Busy => {
                    told = true;
                    self.events.emit(Event::Note { text: format!("waiting for another download of {artifact}") });
                }
            }
            tokio::time::sleep(BUSY).await;
        }
    }

    async fn download(&self, request: &Request, what: String, partial: &Shared) -> Result<Whole, FetchError> {
        let mut rounds = Rounds::new(what, &request.sites, self.attempts, &self.events, &self.standing);
        let mut told = None;
        while let Some(site) = rounds.next().await {
            let problem = match self.attempt(&request.artifact, &site, partial, &mut told).await {
                Ok(verified) => {
                    rounds.worked();
                    return Ok(verified);
                }
                Err(problem) => problem,
            };
            let is_ours = problem.is_ours();
            if leaves_nothing(&problem) {
                // The problem is the news, not that its leftover could not be emptied.
                let _ = partial.with(Partial::restart).await;
            }
            rounds.failed(problem);
            if is_ours {
                break;
            }
        }
        let _ = partial.with(|partial| if partial.length() == 0 { partial.remove() } else { Ok(()) }).await;
        Err(rounds.error())
    }

    /// One go at the bytes that are missing, and the comparison at the end. What was resumed and does not match is fetched
    /// once more, from its beginning.
    async fn attempt(
        &self,
        artifact: &Artifact,
        site: &Site,
        partial: &Shared,
        told: &mut Option<Url>,
    ) -> Result<Whole, Problem> {
        client::accepted(site)?;
        loop {
            partial.lock().begin();
            // An earlier run may have ended between the last byte and the name.
            let mut html = false;
            if partial.lock().digest() != artifact.digest {
                html = self.transfer(artifact, site, partial, told).await?;
            }
            let from = ObtainedFrom::Source { url: redacted(&site.url) };
            let path = self.cache.verified_path(&artifact.digest);
            let actual = match Whole::received(artifact, from, &partial.lock(), &path) {
                Ok(whole) => return Ok(whole),
                Err(actual) => actual,
            };
            if !partial.lock().resumed() {
                let bytes = partial.lock().length();
                return Err(Problem::WrongDigest { expected: artifact.digest, actual, bytes, html });
            }
            self.events.emit(Event::Warning {
                text: format!("what was resumed of {artifact} does not fit together: it is fetched from its beginning"),
            });
            partial.with(Partial::restart).await?.map_err(Problem::cache(None))?;
        }
    }

    /// Gets the bytes that are missing; says whether the source called them a page for people.
    async fn transfer(
        &self,
        artifact: &Artifact,
        site: &Site,
        partial: &Shared,
        told: &mut Option<Url>,
    ) -> Result<bool, Problem> {
        let mut opened = self.open(site, partial).await?;
        let total = opened.total;
        if total.is_some_and(|total| total > self.largest) {
            return Err(Problem::TooLarge { announced: total, limit: self.largest });
        }
        let component = artifact.component;
        if told.as_ref() != Some(&site.url) {
            *told = Some(site.url.clone());
            self.events.emit(Event::FetchStarted { component, source: redacted(&site.url), total });
        }
        let first = opened.body.next().await?;
        let offset = partial.lock().length();
        if let Some(page) = first.as_deref().filter(|_| offset == 0).and_then(page::look) {
            return Err(page);
        }
        let progress = Progress { component, events: &self.events, bytes: offset, told: Instant::now(), total };
        pump((first, &mut opened.body), partial, self.largest, progress).await?;
        let length = partial.lock().length();
        match total {
            Some(total) if length < total => Err(Problem::Broken(format!("it ended after {length} of {total} bytes"))),
            _ => Ok(opened.html),
        }
    }

    /// Opens the source where the partial file ends, or empties that where this cannot be.
    async fn open(&self, site: &Site, partial: &Shared) -> Result<Opened, Problem> {
        let restart = async || partial.with(Partial::restart).await?.map_err(Problem::cache(None));
        if site.url.scheme() == "file" {
            restart().await?;
            let (body, total) = Body::open_file(&site.url).await?;
            return Ok(Opened { body, total, html: false });
        }
        let url = Digest::of(site.url.as_str().as_bytes());
        loop {
            let (offset, origin) = {
                let partial = partial.lock();
                (partial.length(), partial.origin())
            };
            let validator = origin.as_ref().filter(|origin| origin.url == url).and_then(|origin| origin.validator.clone());
            let range = (offset > 0).then(|| format!("bytes={offset}-"));
            let whole = Question::whole(site, self.stall);
            let answer = response::ask(&self.client, &Question { range, if_range: validator.as_deref(), ..whole }).await?;
            let (status, headers) = (answer.status(), answer.headers());
            let total = response::total(status, headers);
            match response::meaning(status, headers, offset) {
                // Another file's end does not belong here.
                Meaning::Rest if !response::continues(origin.as_ref().and_then(|origin| origin.total), headers) => {
                    restart().await?;
                    continue;
                }
                Meaning::Whole if offset > 0 => restart().await?,
                Meaning::Whole | Meaning::Rest => {}
                Meaning::Unsatisfiable => {
                    restart().await?;
                    continue;
                }
                Meaning::Refused => return Err(response::refusal(status, headers)),
            }
            if let Some(encoding) = response::encoding(answer.url(), headers) {
                return Err(Problem::Encoded(encoding));
            }
            let (html, validator) = (response::is_html(headers), response::validator(headers));
            let origin = Origin { url, validator, total };
            partial.with(move |partial| partial.note(origin)).await?.map_err(Problem::cache(total))?;
            return Ok(Opened { body: self.body(answer), total, html });
        }
    }
}

struct Opened {
    body: Body,
    /// The size of the whole file, where it is told.
    total: Option<u64>,
    /// The source says that it sends a page for people.
    html: bool,
}

enum Found {
    Verified(Whole),
    Partial(Shared),
}

/// Whether what was received is of no use: it is wrong, or it fills the disk.
fn leaves_nothing(problem: &Problem) -> bool {
    match problem {
        Problem::WrongDigest { .. } | Problem::TooLarge { .. } => true,
        Problem::Cache { error, .. } => {
            matches!(error.source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}
