//! Finding what proves a signature: in the cache, or beside the file at its sources and in the transparency log.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use url::Url;

use super::{Authority, Evidence, SignatureProblem, TrustRootError, Vouched, Wrong, source::too_slow};
use crate::{
    config::{self, Site},
    fetch::{Problem, Verified, rounds::Jitter, verified::Whole},
    host::files::{self, FileError},
    model::{Digest, Scheme, SignaturePolicy, Signer},
    output::{Event, Events},
};

/// Where a signature may be missing, nobody waits longer for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What all signatures of a run share.
pub(in crate::fetch) struct Signatures {
    authority: OnceLock<Arc<Authority>>,
    pub(super) rekor: Url,
    cache: PathBuf,
    events: Events,
    pub(super) stall: Duration,
    attempts: u32,
}

/// How small files and the transparency log are reached.
pub(in crate::fetch) trait Reach {
    /// A small file, whole.
    async fn nearby(&self, site: &Site, limit: u64) -> Result<Vec<u8>, Problem>;
    /// The client for the transparency log.
    async fn client(&self) -> Result<&reqwest::Client, Problem>;
}

/// A file that may be signed.
pub(in crate::fetch) struct Candidate<'a> {
    /// In words.
    pub(in crate::fetch) what: String,
    pub(in crate::fetch) digest: &'a Digest,
    pub(in crate::fetch) policy: &'a SignaturePolicy,
    /// Where it is fetched from, in order: signatures lie beside it.
    pub(in crate::fetch) sources: &'a [Site],
}

impl Signatures {
    /// Reads `sources.trust-root-file`, where there is one.
    pub(in crate::fetch) fn new(sources: &config::Sources, cache: PathBuf, events: Events) -> Result<Self, TrustRootError> {
        let authority = OnceLock::new();
        if let Some(path) = &sources.trust_root_file {
            let _ = authority.set(Arc::new(Authority::new(Some(path))?));
        }
        Ok(Self {
            authority,
            rekor: sources.rekor_url.clone(),
            cache,
            events,
            stall: sources.stall_timeout,
            attempts: sources.attempts,
        })
    }

    /// The trust root, read when the first signature is there.
    pub(in crate::fetch) fn authority(&self) -> Result<Arc<Authority>, Wrong> {
        if let Some(authority) = self.authority.get() {
            return Ok(Arc::clone(authority));
        }
        let built_in = Authority::new(None).map_err(|error| Wrong::Unsupported(error.to_string()))?;
        Ok(Arc::clone(self.authority.get_or_init(|| Arc::new(built_in))))
    }

    /// Fulfils the policy, or says why it cannot be.
    pub(in crate::fetch) async fn vouch(
        &self,
        candidate: &Candidate<'_>,
        reach: &impl Reach,
    ) -> Result<Vouched, SignatureProblem> {
        let (policy, digest) = (candidate.policy, candidate.digest);
        let Some(signer) = policy.signer() else {
            let bug = || SignatureProblem::Absent("nobody says who shall have signed".to_owned());
            return Vouched::not_asked(policy, digest).ok_or_else(bug);
        };
        if let Some(kept) = self.kept(digest, signer).map_err(SignatureProblem::Cache)? {
            return Ok(kept);
        }
        let mut made = 1;
        let problem = loop {
            match self.search(candidate, signer, reach).await {
                Ok(vouched) => return Ok(vouched),
                Err(problem) if self.ends(candidate, &problem, made) => break problem,
                Err(problem) => {
                    let pause = Jitter::draw().pause(made, &Problem::Broken(String::new()));
                    made += 1;
                    let text = format!("{}: {problem}; attempt {made} in {:.1} s", candidate.what, pause.as_secs_f32());
                    self.events.emit(Event::Warning { text });
                    tokio::time::sleep(pause).await;
                }
            }
        };
        let text = format!("{}: {problem}", candidate.what);
        let vouched = Vouched::without(policy, digest, problem)?;
        self.events.emit(Event::Warning { text: format!("{text}; its digest is verified, who signed it is not") });
        Ok(vouched)
    }

    /// Whether nobody tries again. Who can do without a signature does not wait for it.
    fn ends(&self, candidate: &Candidate<'_>, problem: &SignatureProblem, made: u32) -> bool {
        !matches!(candidate.policy, SignaturePolicy::Require(_)) || !problem.is_transient() || made >= self.attempts
    }

    /// Asks each source once.
    async fn search(
        &self,
        candidate: &Candidate<'_>,
        signer: &Signer,
        reach: &impl Reach,
    ) -> Result<Vouched, SignatureProblem> {
        let mut worst: Option<SignatureProblem> = None;
        for source in candidate.sources {
            let asked = self.ask(source, signer, candidate.digest, reach);
            let asked = match candidate.policy {
                SignaturePolicy::Require(_) => asked.await,
                _ => tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(too_slow(source))),
            };
            match asked {
                Ok(vouched) => {
                    self.told(candidate, &vouched, worst.as_ref());
                    return Ok(vouched);
                }
                Err(problem) if worst.as_ref().is_none_or(|worst| problem.rank() > worst.rank()) => worst = Some(problem),
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or_else(|| SignatureProblem::Absent("it has no source".to_owned())))
    }

    /// What an earlier run or a bundle left in the cache, verified again. What does not hold goes.
    pub(in crate::fetch) fn kept(&self, digest: &Digest, signer: &Signer) -> Result<Option<Vouched>, FileError> {
        let path = evidence_path(&self.cache, digest, signer.scheme());
        let Some(content) = files::if_present(files::read(&path))? else { return Ok(None) };
        let evidence = Evidence::new(signer.scheme(), content);
        let vouched = self.authority().and_then(|authority| evidence.vouch(signer, &authority, digest));
        match vouched {
            Ok(vouched) => Ok(Some(vouched)),
            Err(wrong) => {
                let text = format!("{}: {wrong}: it is removed and looked for again", path.display());
                self.events.emit(Event::Warning { text });
                files::if_present(files::remove_file(&path))?;
                Ok(None)
            }
        }
    }

    /// The file and its signature together: the evidence stays once both are proved, and goes where the file shows it wrong.
    /// Blocking.
    pub(in crate::fetch) fn seal(&self, whole: Whole, vouched: Vouched) -> Result<Result<Verified, Wrong>, FileError> {
        let again = vouched.clone();
        let verified = Verified::new(whole, vouched)?;
        if verified.is_ok() {
            self.keep(&again)?;
        } else {
            self.discard(&again)?;
        }
        Ok(verified)
    }

    /// Keeps what proves the signature of a file that is there. Blocking.
    fn keep(&self, vouched: &Vouched) -> Result<(), FileError> {
        let Some(evidence) = vouched.evidence() else { return Ok(()) };
        let path = evidence_path(&self.cache, vouched.digest(), evidence.scheme());
        if files::if_present(files::read(&path))?.is_some_and(|kept| kept == evidence.content()) {
            return Ok(());
        }
        files::write(&path, evidence.content(), 0o600)
    }

    /// Lets go of what turned out wrong once the file was there. Blocking.
    fn discard(&self, vouched: &Vouched) -> Result<(), FileError> {
        let Some(evidence) = vouched.evidence() else { return Ok(()) };
        let path = evidence_path(&self.cache, vouched.digest(), evidence.scheme());
        files::if_present(files::remove_file(&path)).map(drop)
    }

    fn told(&self, candidate: &Candidate<'_>, vouched: &Vouched, before: Option<&SignatureProblem>) {
        if let Some(problem) = before {
            let text = format!("{}: {problem}; another source has a right one", candidate.what);
            self.events.emit(Event::Warning { text });
        }
        if let Some(signed) = vouched.signature().signed() {
            self.events.emit(Event::Note { text: format!("{}: {signed}", candidate.what) });
        }
    }
}

/// Where evidence for a file lies in the cache.
pub(in crate::fetch) fn evidence_path(cache: &Path, digest: &Digest, scheme: Scheme) -> PathBuf {
    cache.join(format!("{digest}{}", Evidence::suffix(scheme)))
}
