//! One artifact: from the cache, or from its source with as many attempts as it takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use url::Url;

use super::{
    FetchError, Problem, Request, SignatureProblem, Verified, Vouched,
    attempts::Attempts,
    body::Body,
    cache::Entry,
    client,
    fetcher::Inner,
    partial::Partial,
    pump::{Progress, Shared, pump},
    response::{self, Meaning},
    signature::Candidate,
    subject::Subject,
    verified::Whole,
};
use crate::{model::Artifact, output::Event};

/// How often a file that another download holds is looked at again.
const BUSY: Duration = Duration::from_millis(100);

impl Inner {
    /// Finds or fetches it, verified.
    pub(super) async fn obtain(&self, request: &Request, subject: &Subject) -> Result<Verified, FetchError> {
        let fail = |problem| FetchError::fetching(subject, 1, problem);
        client::accepted(&request.sites[0].url).map_err(fail)?;
        // The semaphore is never closed; were it, nothing would be lost but the limit.
        let _slot = self.slots.acquire().await.ok();
        let vouched = self.vouch(request, subject).await?;
        let (whole, cached) = match self.enter(&request.artifact, subject).await.map_err(fail)? {
            Found::Verified(verified) => (verified, true),
            Found::Partial(partial) => (self.download(request, subject, &partial).await?, false),
        };
        self.events.emit(Event::Fetched {
            component: request.artifact.component,
            digest: request.artifact.digest.to_string(),
            cached,
        });
        self.sign(whole, vouched, request, subject).await
    }

    /// What is asked of its signature: fulfilled before anything is downloaded, as far as that can be.
    async fn vouch(&self, request: &Request, subject: &Subject) -> Result<Vouched, FetchError> {
        let candidate = Candidate {
            what: subject.what.clone(),
            digest: &request.artifact.digest,
            policy: &request.signature,
            sources: &request.sites,
        };
        let vouched = self.signatures.vouch(&candidate, self).await;
        vouched.map_err(|problem| FetchError::signature(&request.artifact, &request.signature, problem))
    }

    async fn sign(&self, whole: Whole, vouched: Vouched, request: &Request, subject: &Subject) -> Result<Verified, FetchError> {
        let signatures = Arc::clone(&self.signatures);
        let signed = tokio::task::spawn_blocking(move || signatures.seal(whole, vouched)).await;
        let signed = signed.map_err(|error| FetchError::fetching(subject, 1, Problem::stopped(error)))?;
        match signed {
            Ok(Ok(verified)) => Ok(verified),
            Ok(Err(wrong)) => {
                let from = subject.url.clone();
                let problem = SignatureProblem::Wrong { from, wrong };
                Err(FetchError::signature(&request.artifact, &request.signature, problem))
            }
            Err(error) => Err(FetchError::fetching(subject, 1, Problem::cache(None)(error))),
        }
    }

    /// Waits while another download, of this process or another, has the same file under way.
    async fn enter(&self, artifact: &Artifact, subject: &Subject) -> Result<Found, Problem> {
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
                    self.events.emit(Event::Note { text: format!("waiting for another download of {}", subject.what) });
                }
            }
            tokio::time::sleep(BUSY).await;
        }
    }

    async fn download(&self, request: &Request, subject: &Subject, partial: &Shared) -> Result<Whole, FetchError> {
        let mut attempts = Attempts::new(subject, self.attempts, &self.events);
        let mut started = false;
        loop {
            let problem = match self.attempt(request, subject, partial, &mut started).await {
                Ok(Outcome::Verified(verified)) => return Ok(verified),
                // What an earlier attempt left was damaged or of another file. It is gone, so this happens once.
                Ok(Outcome::Restarted) => continue,
                Err(problem) => problem,
            };
            if leaves_nothing(&problem) {
                // The problem is the news, not that its leftover could not be removed.
                let _ = partial.with(Partial::remove).await;
            }
            attempts.after(problem).await?;
        }
    }

    /// One go at the bytes that are missing, and the comparison at the end.
    async fn attempt(
        &self,
        request: &Request,
        subject: &Subject,
        partial: &Shared,
        started: &mut bool,
    ) -> Result<Outcome, Problem> {
        partial.lock().begin();
        // A kill may have come between the last byte and the rename.
        let mut html = false;
        if partial.lock().digest() != request.artifact.digest {
            let (mut body, total, is_html) = self.open(&request.sites[0].url, partial).await?;
            html = is_html;
            if total.is_some_and(|total| total > self.largest) {
                return Err(Problem::TooLarge { announced: total, limit: self.largest });
            }
            if !std::mem::replace(started, true) {
                let component = request.artifact.component;
                self.events.emit(Event::FetchStarted { component, source: subject.url.clone(), total });
            }
            let progress = Progress {
                component: request.artifact.component,
                events: &self.events,
                bytes: partial.lock().length(),
                told: Instant::now(),
            };
            pump(&mut body, partial, (total, self.largest), progress).await?;
        }
        let (artifact, name) = (request.artifact.clone(), self.cache.verified_path(&request.artifact.digest));
        let published = partial.with(move |partial| Whole::publish(&artifact, partial, &name)).await?;
        let actual = match published.map_err(Problem::cache(None))? {
            Ok(verified) => return Ok(Outcome::Verified(verified)),
            Err(actual) => actual,
        };
        if partial.lock().resumed() {
            self.events.emit(Event::Warning {
                text: format!("what was resumed of {} does not fit together: it is fetched from its beginning", subject.what),
            });
            partial.with(Partial::restart).await?.map_err(Problem::cache(None))?;
            return Ok(Outcome::Restarted);
        }
        let partial = partial.lock();
        let html = html || partial.looks_like_html();
        Err(Problem::WrongDigest { expected: request.artifact.digest, actual, bytes: partial.length(), html })
    }

    /// Opens the source where the partial file ends, or empties that where this cannot be. Gives the whole size, and whether
    /// a page for people comes.
    async fn open(&self, url: &Url, partial: &Shared) -> Result<(Body, Option<u64>, bool), Problem> {
        let restart = async || partial.with(Partial::restart).await?.map_err(Problem::cache(None));
        if url.scheme() == "file" {
            restart().await?;
            let (body, size) = Body::open_file(url).await?;
            return Ok((body, size, false));
        }
        loop {
            let offset = partial.lock().length();
            let answer = response::ask(self.client.get().await?, url, offset, self.stall).await?;
            let (status, headers) = (answer.status(), answer.headers());
            match response::meaning(status, headers, offset) {
                Meaning::Whole if offset > 0 => restart().await?,
                Meaning::Whole | Meaning::Rest => {}
                Meaning::Unsatisfiable => {
                    restart().await?;
                    continue;
                }
                Meaning::Refused => return Err(response::refusal(status, headers)),
            }
            let (total, html) = (response::total(status, headers), response::is_html(headers));
            return Ok((Body::Http { response: Box::new(answer), stall: self.stall }, total, html));
        }
    }
}

enum Found {
    Verified(Whole),
    Partial(Shared),
}

enum Outcome {
    Verified(Whole),
    Restarted,
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
