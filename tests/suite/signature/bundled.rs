//! Signatures in bundles: what was verified where the bundle was made is verified again where it is used, without network.

use std::sync::Arc;

use hostlet::{
    config::{Bundle, Source, Sources},
    fetch::{self, FetchError, OpenBundle, SignatureProblem, Verified, Wrong},
    model::{Architecture, Artifact, Component, DigestOrigin, SignaturePolicy, Signer},
    output::Silent,
};

use super::{
    bench::{Stage, kubernetes, require},
    sigstore::{Sigstore, Wish},
};
use crate::fetch::bench::artifact;

fn source(signature: SignaturePolicy, trust_on_first_use: bool) -> Source {
    Source { locations: Vec::new(), digest: None, trust_on_first_use, signature }
}

struct Carried {
    stage: Stage,
    bundle: Bundle,
}

impl Carried {
    /// A bundle with the kubelet and its signature, made where there is internet.
    async fn new() -> Self {
        let stage = Stage::new().await;
        stage.publish(&stage.sign(&Wish::default()));
        let verified = stage.fetch(require()).await.unwrap();
        let path = stage.bench.directory.path().join("node.bundle");
        fetch::create(&path, &[(verified, "https://example.com/kubelet".to_owned())], "now").unwrap();
        Self { stage, bundle: Bundle { path, digest: None, key: None } }
    }

    /// Another host, without cache and without any way to the log.
    fn open(&self) -> Result<OpenBundle, FetchError> {
        let sources = Sources {
            trust_root_file: self.stage.bench.sources.trust_root_file.clone(),
            rekor_url: "https://127.0.0.1:1".parse().unwrap(),
            ..Sources::default()
        };
        let cache = self.stage.bench.directory.path().join("another");
        OpenBundle::open(&self.bundle, &sources, cache, Arc::new(Silent))
    }

    fn obtain(&self, policy: SignaturePolicy) -> Result<Verified, FetchError> {
        let wanted = [(artifact(Component::Kubelet, &self.stage.kubelet), policy)];
        Ok(self.open()?.obtain(&wanted)?.remove(0))
    }

    fn artifact(&self, policy: &SignaturePolicy) -> Result<Artifact, FetchError> {
        let source = source(policy.clone(), false);
        self.open()?.artifact(Component::Kubelet, &"1.36.4".parse().unwrap(), Architecture::Amd64, &source)
    }
}

#[tokio::test]
async fn a_signature_travels_with_its_file() {
    let carried = Carried::new().await;
    let asked = carried.stage.asked_log();
    let verified = carried.obtain(require()).unwrap();
    let signed = verified.signature().signed().unwrap();
    assert!(kubernetes().made(signed) && signed.time.is_some(), "{signed:?}");
    assert_eq!(carried.stage.asked_log(), asked);
    // Whoever looks later finds what proves it beside the executable, and where it says what is in force.
    let opt = carried.stage.bench.directory.path().join("opt");
    hostlet::generation::admit(&opt, &verified).unwrap();
    let stored = opt.join("store").join(verified.artifact().store_name()).join("kubelet.sigstore.json");
    assert_eq!(std::fs::read(stored).unwrap(), verified.evidence().unwrap().content());
    // A digest that nobody else knows counts, since the signature proves it.
    assert_eq!(carried.artifact(&require()).unwrap().origin, DigestOrigin::Bundle);
    let stranger = Signer::Keyless { identity: "a@b.c".into(), issuer: "https://d".into() };
    for policy in [SignaturePolicy::Off, SignaturePolicy::Require(stranger.clone())] {
        let error = carried.artifact(&policy).unwrap_err();
        assert!(error.to_string().contains("nobody but the bundle itself"), "{error}");
    }
    let error = carried.obtain(SignaturePolicy::Require(stranger)).unwrap_err();
    let wrong = matches!(&error, FetchError::Signature { problem, .. }
        if matches!(**problem, SignatureProblem::Wrong { wrong: Wrong::Signer { .. }, .. }));
    assert!(wrong && error.to_string().contains("node.bundle"), "{error}");
}

#[tokio::test]
async fn whoever_trusts_another_root_does_not_take_the_bundles_word() {
    let carried = Carried::new().await;
    std::fs::write(carried.stage.bench.sources.trust_root_file.as_ref().unwrap(), Sigstore::new().trust_root()).unwrap();
    for policy in [require(), super::bench::if_available()] {
        let error = carried.obtain(policy).unwrap_err();
        assert!(error.to_string().contains("entry in the transparency log does not hold"), "{error}");
    }
    assert!(carried.obtain(SignaturePolicy::Off).is_ok());
}

#[tokio::test]
async fn a_bundle_that_is_signed_itself_vouches_for_what_is_in_it() {
    let mut carried = Carried::new().await;
    let minisign = super::keys::Minisign::new();
    carried.bundle.key = Some(minisign.key());
    let error = carried.artifact(&SignaturePolicy::Off).unwrap_err();
    assert!(error.to_string().contains("node.bundle.minisig"), "{error}");
    let bundle = std::fs::read(&carried.bundle.path).unwrap();
    let beside = carried.bundle.path.with_extension("bundle.minisig");
    std::fs::write(&beside, minisign.sign(&bundle[..bundle.len() - 1], &["-H"])).unwrap();
    let error = carried.artifact(&SignaturePolicy::Off).unwrap_err();
    assert!(error.to_string().contains("does not belong to this file"), "{error}");
    assert!(error.remedy().contains("minisign -S -m"), "{}", error.remedy());
    std::fs::write(&beside, minisign.sign(&bundle, &["-H"])).unwrap();
    assert_eq!(carried.artifact(&SignaturePolicy::Off).unwrap().origin, DigestOrigin::Bundle);
}
