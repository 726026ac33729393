//! Taking artifacts out of a bundle: into the cache, where they are as good as downloads.

use std::{
    fs::File,
    io::{Read, Seek},
    path::PathBuf,
    thread,
    time::Duration,
};

use super::{
    BundleError, Checked, Record,
    look::{is_pinned, open},
    manifest::Part,
    read::visit,
};
use crate::{
    config,
    fetch::{
        Evidence, FetchError, Problem, SignatureProblem, Verified, Vouched, Wrong,
        cache::{Cache, Entry},
        signature::Signatures,
        verified::Whole,
    },
    host::files::FileError,
    model::{Architecture, Artifact, Component, DigestOrigin, ObtainedFrom, SignaturePolicy, Version},
    output::{Event, Events},
};

/// Pieces of this size go from the bundle into the cache.
const PIECE: usize = 32 * 1024;

/// A bundle that was read whole and is what its manifest says, and the one that the user wants where that is said.
pub struct OpenBundle {
    path: PathBuf,
    file: File,
    checked: Checked,
    /// The user pins it, or has the key that signed it.
    vouched: bool,
    /// What the members with evidence hold.
    evidence: Vec<(String, Vec<u8>)>,
    signatures: Signatures,
    cache: Cache,
    events: Events,
}

impl OpenBundle {
    /// Reads all of it. Blocking.
    pub fn open(
        bundle: &config::Bundle,
        sources: &config::Sources,
        cache: PathBuf,
        events: Events,
    ) -> Result<Self, FetchError> {
        let fail = |problem| FetchError::bundle(&bundle.path)(problem);
        let signatures = Signatures::new(sources, cache.clone(), events.clone())?;
        let file = open(&bundle.path).map_err(fail)?;
        let mut evidence = Vec::new();
        let checked = visit(&file, |part, content| {
            if let Part::Evidence(of) = part {
                let mut held = Vec::new();
                content
                    .read_to_end(&mut held)
                    .map_err(|error| BundleError::Reading(FileError::doing("reading", &bundle.path)(error)))?;
                evidence.push((of.member.clone(), held));
            }
            Ok(())
        });
        let checked = checked.map_err(fail)?;
        is_pinned(bundle, &file, &checked).map_err(fail)?;
        let vouched = bundle.digest.is_some() || bundle.key.is_some();
        let cache = Cache::new(cache, events.clone());
        Ok(Self { path: bundle.path.clone(), file, checked, vouched, evidence, signatures, cache, events })
    }

    /// What is in it.
    #[must_use]
    pub const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// The artifact for which nobody else knows a digest: the bundle's word counts where somebody vouches for it, or where the
    /// user lets a digest be trusted on first use.
    pub fn artifact(
        &self,
        component: Component,
        version: &Version,
        architecture: Architecture,
        source: &config::Source,
    ) -> Result<Artifact, FetchError> {
        let fail = |problem| FetchError::bundle(&self.path)(problem);
        let named =
            |digest| Artifact { component, version: version.clone(), architecture, digest, origin: DigestOrigin::Bundle };
        let of = |record: &&Record| record.is_of(&named(record.digest));
        let record = self.checked.manifest.artifacts.iter().find(of);
        let missing = || fail(self.missing(&format!("{component} {version} ({architecture})")));
        let artifact = named(record.ok_or_else(missing)?.digest);
        if !self.vouched && !source.trust_on_first_use && !self.is_signed(record, &source.signature) {
            return Err(fail(BundleError::Unvouched(artifact.to_string())));
        }
        Ok(artifact)
    }

    /// Whether evidence in the bundle proves that the signer signed it.
    fn is_signed(&self, record: Option<&Record>, policy: &SignaturePolicy) -> bool {
        let Some((record, signer)) = record.zip(policy.signer()) else { return false };
        let (Some(evidence), Ok(authority)) = (self.evidence_of(record), self.signatures.authority()) else { return false };
        evidence.scheme() == signer.scheme() && evidence.vouch(signer, &authority, &record.digest).is_ok()
    }

    fn evidence_of(&self, record: &Record) -> Option<Evidence> {
        let of = record.evidence.as_ref()?;
        let (_, content) = self.evidence.iter().find(|(member, _)| *member == of.member)?;
        Some(Evidence::new(of.scheme, content.clone()))
    }

    fn missing(&self, what: &str) -> BundleError {
        let held: Vec<String> = self.checked.manifest.artifacts.iter().map(ToString::to_string).collect();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
        BundleError::Missing { what: what.to_owned(), held }
    }

    /// Obtains all of these, in their order. Nothing is asked over the network. Blocking.
    pub fn obtain(&self, wanted: &[(Artifact, SignaturePolicy)]) -> Result<Vec<Verified>, FetchError> {
        let fail = |problem| FetchError::bundle(&self.path)(problem);
        let mut vouched = Vec::new();
        for (artifact, policy) in wanted {
            self.is_the_one(artifact).map_err(fail)?;
            let found = self.vouch(artifact, policy).map_err(|problem| FetchError::signature(artifact, policy, problem))?;
            vouched.push(found);
        }
        let mut whole: Vec<Option<Whole>> = wanted.iter().map(|_| None).collect();
        (&self.file).rewind().map_err(|error| fail(BundleError::Reading(FileError::doing("reading", &self.path)(error))))?;
        let taken = visit(&self.file, |part, content| {
            let Part::Artifact(record) = part else { return Ok(()) };
            let Some(position) = wanted.iter().position(|(artifact, _)| record.is_of(artifact)) else { return Ok(()) };
            whole[position] = Some(self.take(&wanted[position].0, content)?);
            Ok(())
        });
        taken.map_err(fail)?;
        let mut obtained = Vec::new();
        for (((artifact, policy), whole), vouched) in wanted.iter().zip(whole).zip(vouched) {
            let whole = whole.ok_or_else(|| fail(self.missing(&artifact.to_string())))?;
            let sealed = self.signatures.seal(whole, vouched);
            let sealed = sealed.map_err(|error| fail(BundleError::Cache(Box::new(Problem::cache(None)(error)))))?;
            obtained.push(sealed.map_err(|wrong| FetchError::signature(artifact, policy, self.wrong(wrong)))?);
        }
        Ok(obtained)
    }

    /// Whether the bundle has the very file that is wanted.
    fn is_the_one(&self, artifact: &Artifact) -> Result<(), BundleError> {
        let record = self.checked.manifest.artifacts.iter().find(|record| record.is_of(artifact));
        let record = record.ok_or_else(|| self.missing(&artifact.to_string()))?;
        if record.digest == artifact.digest {
            return Ok(());
        }
        let (what, found) = (artifact.to_string(), record.digest);
        Err(BundleError::Conflict { what, found, expected: artifact.digest, origin: artifact.origin })
    }

    fn vouch(&self, artifact: &Artifact, policy: &SignaturePolicy) -> Result<Vouched, SignatureProblem> {
        let absent = || SignatureProblem::Absent("the bundle holds none".to_owned());
        let Some(signer) = policy.signer() else {
            return Vouched::not_asked(policy, &artifact.digest).ok_or_else(absent);
        };
        let record = self.checked.manifest.artifacts.iter().find(|record| record.is_of(artifact));
        let evidence = record.and_then(|record| self.evidence_of(record)).filter(|found| found.scheme() == signer.scheme());
        if let Some(evidence) = evidence {
            let authority = self.signatures.authority().map_err(|wrong| self.wrong(wrong))?;
            return evidence.vouch(signer, &authority, &artifact.digest).map_err(|wrong| self.wrong(wrong));
        }
        if let Some(kept) = self.signatures.kept(&artifact.digest, signer).map_err(SignatureProblem::Cache)? {
            return Ok(kept);
        }
        let vouched = Vouched::without(policy, &artifact.digest, absent())?;
        let text = format!("{artifact}: {}; its digest is verified, who signed it is not", absent());
        self.events.emit(Event::Warning { text });
        Ok(vouched)
    }

    fn wrong(&self, wrong: Wrong) -> SignatureProblem {
        SignatureProblem::Wrong { from: format!("the bundle {}", self.path.display()), wrong }
    }

    /// Into the cache, under its digest, if it is not there already.
    fn take(&self, artifact: &Artifact, content: &mut dyn Read) -> Result<Whole, BundleError> {
        let cache = |problem| BundleError::Cache(Box::new(problem));
        let wrong = |error| cache(Problem::cache(None)(error));
        let (component, digest) = (artifact.component, artifact.digest.to_string());
        let mut partial = loop {
            match self.cache.enter(artifact).map_err(wrong)? {
                Entry::Verified(whole) => {
                    self.events.emit(Event::Fetched { component, digest, cached: true });
                    return Ok(whole);
                }
                Entry::Partial(partial) => break partial,
                // Another run has it under way.
                Entry::Busy => thread::sleep(Duration::from_millis(100)),
            }
        };
        partial.restart().map_err(wrong)?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = content
                .read(&mut buffer)
                .map_err(|error| BundleError::Reading(FileError::doing("reading", &self.path)(error)))?;
            if count == 0 {
                break;
            }
            if let Err(error) = partial.append(&buffer[..count]) {
                // A disk that is full shall not stay so for our sake; that it is full is the news.
                let _ = partial.remove();
                return Err(wrong(error));
            }
            partial.write_back();
        }
        let bytes = partial.length();
        let from = ObtainedFrom::Bundle { path: self.path.clone() };
        let path = self.cache.verified_path(&artifact.digest);
        match Whole::received(artifact, from, &partial, &path) {
            Ok(whole) => {
                partial.publish(&path).map_err(wrong)?;
                self.events.emit(Event::Fetched { component, digest, cached: false });
                Ok(whole)
            }
            Err(actual) => {
                partial.remove().map_err(wrong)?;
                Err(cache(Problem::WrongDigest { expected: artifact.digest, actual, bytes, html: false }))
            }
        }
    }
}
