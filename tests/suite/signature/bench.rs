//! A kubelet at a server, with what lies beside it, and a transparency log that answers as it is told.

use std::path::PathBuf;

use hostlet::{
    config::Site,
    fetch::{FetchError, Request, SignatureProblem, Verified, Wrong},
    model::{Component, SignaturePolicy, Signer},
};

use super::sigstore::{IDENTITY, ISSUER, Made, Sigstore, Wish};
use crate::fetch::{
    bench::{Bench, artifact, content},
    server::Answer,
};

pub(super) const RETRIEVE: &str = "/api/v1/log/entries/retrieve";
pub(super) const INDEX: &str = "/api/v1/index/retrieve";
const KUBELET: &str = "/kubelet";

pub(super) struct Stage {
    pub(super) bench: Bench,
    pub(super) sigstore: Sigstore,
    pub(super) kubelet: Vec<u8>,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let mut bench = Bench::new().await;
        let sigstore = Sigstore::new();
        let root = bench.directory.path().join("trusted_root.json");
        std::fs::write(&root, sigstore.trust_root()).unwrap();
        bench.sources.trust_root_file = Some(root);
        bench.sources.rekor_url = bench.server.url("/");
        let kubelet = content(100_000);
        bench.server.put(KUBELET, &kubelet, []);
        Self { bench, sigstore, kubelet }
    }

    /// Puts a signature beside the kubelet, and its entry into the log.
    pub(super) fn publish(&self, made: &Made) {
        self.beside(".sig", made.signature.as_bytes());
        self.beside(".cert", made.certificate.as_bytes());
        self.log(&made.answer());
    }

    pub(super) fn beside(&self, suffix: &str, content: &[u8]) {
        self.bench.server.put(&format!("{KUBELET}{suffix}"), content, []);
    }

    /// What the log answers.
    pub(super) fn log(&self, answer: &str) {
        self.bench.server.put(RETRIEVE, answer.as_bytes(), []);
        self.bench.server.put(INDEX, b"[]", []);
    }

    pub(super) fn rekor(&self, answer: &Answer) {
        self.bench.server.always(RETRIEVE, answer.clone());
    }

    pub(super) fn sign(&self, wish: &Wish) -> Made {
        self.sigstore.sign(&self.kubelet, wish)
    }

    pub(super) async fn fetch(&self, signature: SignaturePolicy) -> Result<Verified, FetchError> {
        let request = self.request(signature);
        Ok(self.bench.fetcher().fetch_all(vec![request]).await?.kept().await?.remove(0))
    }

    fn request(&self, signature: SignaturePolicy) -> Request {
        let sites = vec![Site::of(self.bench.server.url(KUBELET))];
        Request { artifact: artifact(Component::Kubelet, &self.kubelet), sites, signature }
    }

    /// Fetches where a signature is required, and says why that is refused. Nothing that was asked for lies in the cache.
    pub(super) async fn refused(&self, policy: SignaturePolicy) -> SignatureProblem {
        let error = self.fetch(policy).await.unwrap_err();
        assert!(error.to_string().starts_with("kubelet 1.36.4 (amd64): "), "{error}");
        assert!(error.remedy().contains("sources.kubelet.signature") || error.remedy().contains("rekor"), "{}", error.remedy());
        match error {
            FetchError::Signature { problem, .. } => *problem,
            other => panic!("{other}"),
        }
    }

    /// What is wrong with the signature: for those who require one as for those who could do without.
    pub(super) async fn wrong(&self, signer: &Signer) -> Wrong {
        let problem = self.refused(SignaturePolicy::IfAvailable(signer.clone())).await;
        let SignatureProblem::Wrong { wrong, .. } = self.refused(SignaturePolicy::Require(signer.clone())).await else {
            panic!("{problem}")
        };
        assert!(
            matches!(&problem, SignatureProblem::Wrong { wrong: same, .. } if std::mem::discriminant(same) == std::mem::discriminant(&wrong)),
            "{problem}"
        );
        assert!(self.bench.cached().is_empty(), "{:?}", self.bench.cached());
        wrong
    }

    pub(super) fn evidence(&self, suffix: &str) -> PathBuf {
        let digest = hostlet::model::Digest::of(&self.kubelet);
        self.bench.cache().join(format!("{digest}{suffix}"))
    }

    /// How often the log was asked.
    pub(super) fn asked_log(&self) -> usize {
        self.bench.server.seen().iter().filter(|seen| seen.path.starts_with("/api/")).count()
    }
}

/// Kubernetes' own.
pub(super) fn kubernetes() -> Signer {
    Signer::Keyless { identity: IDENTITY.to_owned(), issuer: ISSUER.to_owned() }
}

pub(super) fn require() -> SignaturePolicy {
    SignaturePolicy::Require(kubernetes())
}

pub(super) fn if_available() -> SignaturePolicy {
    SignaturePolicy::IfAvailable(kubernetes())
}
