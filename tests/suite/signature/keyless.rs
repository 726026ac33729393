//! Keyless signatures: a right one, and each way in which one can be wrong.

use hostlet::{
    config::Site,
    fetch::{Request, SignatureProblem, Wrong},
    model::{Component, Scheme, Signature},
};
use serde_json::{Value, json};

use super::{
    bench::{Stage, if_available, kubernetes, require},
    sigstore::{IDENTITY, ISSUER, Made, Sigstore, Wish},
};
use crate::fetch::bench::artifact;

#[tokio::test]
async fn what_kubernetes_publishes_is_verified_and_kept() {
    let stage = Stage::new().await;
    stage.publish(&stage.sign(&Wish::default()));
    let verified = stage.fetch(require()).await.unwrap();
    let signed = verified.signature().signed().unwrap().clone();
    assert_eq!((signed.scheme, signed.signer.as_str(), signed.issuer.as_deref()), (Scheme::Keyless, IDENTITY, Some(ISSUER)));
    assert_eq!(signed.log_index, Some(1_000_003));
    let year = jiff::SignedDuration::from_hours(365 * 24);
    let age = jiff::Timestamp::now().duration_since(signed.time.unwrap());
    assert!((age - year).abs() < jiff::SignedDuration::from_mins(1), "{age}");
    // The evidence is a bundle that says all of it again, to whom has no network.
    let kept = std::fs::read(stage.evidence(".sigstore.json")).unwrap();
    assert_eq!(verified.evidence().unwrap().content(), kept);
    let asked = stage.asked_log();
    stage.bench.server.put("/kubelet.sig", b"no more", []);
    std::fs::remove_file(verified.path()).unwrap();
    let again = stage.fetch(require()).await.unwrap();
    assert_eq!((again.signature(), stage.asked_log()), (verified.signature(), asked));
}

#[tokio::test]
async fn a_bundle_beside_the_file_needs_no_log() {
    let stage = Stage::new().await;
    stage.publish(&stage.sign(&Wish::default()));
    let evidence = stage.fetch(require()).await.unwrap().evidence().unwrap().content().to_vec();
    let other = Stage { sigstore: Sigstore::new(), ..Stage::new().await };
    std::fs::write(other.bench.sources.trust_root_file.as_ref().unwrap(), stage.sigstore.trust_root()).unwrap();
    other.beside(".sigstore.json", &evidence);
    assert!(other.fetch(require()).await.unwrap().signature().signed().is_some());
    assert_eq!(other.asked_log(), 0);
}

async fn wrong_by(wish: Wish) -> Wrong {
    let stage = Stage::new().await;
    stage.publish(&stage.sign(&wish));
    stage.wrong(&kubernetes()).await
}

/// Changes what the log says before it is published.
async fn wrong_entry(change: impl FnOnce(&mut Value)) -> Wrong {
    let stage = Stage::new().await;
    let mut made = stage.sign(&Wish::default());
    change(made.entry_mut());
    stage.publish(&made);
    stage.wrong(&kubernetes()).await
}

#[tokio::test]
async fn somebody_elses_signature_is_refused_with_their_name() {
    let wrong = wrong_by(Wish { identity: "mallory@example.com", ..Wish::default() }).await;
    assert!(matches!(&wrong, Wrong::Signer { found, .. } if found.contains("mallory@example.com")), "{wrong}");
    let wrong = wrong_by(Wish { issuer: "https://accounts.example.com", ..Wish::default() }).await;
    assert!(matches!(&wrong, Wrong::Signer { found, .. } if found.contains("https://accounts.example.com")), "{wrong}");
}

#[tokio::test]
async fn a_certificate_that_is_not_a_code_signers_or_not_logged_is_refused() {
    let wrong = wrong_by(Wish { code_signing: false, ..Wish::default() }).await;
    assert!(matches!(wrong, Wrong::Certificate(_)), "{wrong}");
    let wrong = wrong_by(Wish { timestamp: None, ..Wish::default() }).await;
    assert!(matches!(&wrong, Wrong::Certificate(found) if found.contains("missing SCT")), "{wrong}");
    let wrong = wrong_by(Wish { timestamp: Some(false), ..Wish::default() }).await;
    assert!(matches!(&wrong, Wrong::Certificate(found) if found.contains("SCT signature")), "{wrong}");
}

#[tokio::test]
async fn a_chain_to_another_root_is_refused() {
    let stage = Stage::new().await;
    stage.publish(&Sigstore::new().sign(&stage.kubelet, &Wish::default()));
    // Nothing of it is known: the log's promise is looked at first.
    let wrong = stage.wrong(&kubernetes()).await;
    assert!(matches!(wrong, Wrong::Log(_)), "{wrong}");
}

#[tokio::test]
async fn a_signing_time_outside_the_certificates_minutes_is_refused() {
    for after in [-60, 601, 86_400] {
        let wrong = wrong_by(Wish { logged_after: after, ..Wish::default() }).await;
        assert!(matches!(wrong, Wrong::Time(_) | Wrong::Certificate(_)), "{after}: {wrong}");
    }
    // Two years on: after now.
    let wrong = wrong_by(Wish { logged_after: 2 * 365 * 86_400, ..Wish::default() }).await;
    assert!(matches!(&wrong, Wrong::Time(found) if found.contains("future")), "{wrong}");
}

#[tokio::test]
async fn a_signature_of_another_file_is_refused() {
    let stage = Stage::new().await;
    stage.publish(&stage.sigstore.sign(b"another kubelet", &Wish::default()));
    assert!(matches!(stage.wrong(&kubernetes()).await, Wrong::File(_)));
    assert_eq!(stage.asked_log(), 0, "that needs no log");
}

#[tokio::test]
async fn a_signature_with_somebody_elses_certificate_is_refused() {
    let stage = Stage::new().await;
    let (made, other) = (stage.sign(&Wish::default()), stage.sign(&Wish::default()));
    stage.publish(&Made { certificate: other.certificate, ..made });
    assert!(matches!(stage.wrong(&kubernetes()).await, Wrong::File(_)));
}

#[tokio::test]
async fn an_entry_of_another_file_or_signature_is_no_entry_of_this_one() {
    let stage = Stage::new().await;
    let made = stage.sign(&Wish::default());
    for other in [stage.sign(&Wish::default()), stage.sigstore.sign(b"another kubelet", &Wish::default())] {
        stage.publish(&made);
        stage.log(&other.answer());
        assert!(matches!(stage.wrong(&kubernetes()).await, Wrong::NotLogged(_)));
    }
}

#[tokio::test]
async fn an_entry_that_was_tampered_with_is_refused() {
    let flip = |value: &mut Value| {
        let text = value.as_str().unwrap();
        let (first, rest) = text.split_at(1);
        let other = if first == "0" { "1" } else { "0" };
        *value = json!(format!("{other}{rest}"));
    };
    let proof = |entry: &mut Value| entry["verification"]["inclusionProof"].take();
    let (one, other) = (Sigstore::new(), Sigstore::new());
    let foreign = |name: &'static str| {
        let mut made = other.sign(b"x", &Wish::default());
        made.entry_mut()["verification"][name].take()
    };
    assert!(matches!(wrong_entry(|entry| entry["integratedTime"] = json!(1)).await, Wrong::Log(_)));
    assert!(matches!(wrong_entry(|entry| entry["logIndex"] = json!(1)).await, Wrong::Log(_)));
    let set = foreign("signedEntryTimestamp");
    assert!(matches!(wrong_entry(|entry| entry["verification"]["signedEntryTimestamp"] = set).await, Wrong::Log(_)));
    let foreign_proof = foreign("inclusionProof");
    assert!(matches!(wrong_entry(|entry| entry["verification"]["inclusionProof"] = foreign_proof).await, Wrong::Log(_)));
    let wrong = wrong_entry(|entry| flip(&mut entry["verification"]["inclusionProof"]["hashes"][0])).await;
    assert!(matches!(wrong, Wrong::Log(_)), "{wrong}");
    let wrong = wrong_entry(|entry| entry["verification"]["inclusionProof"]["logIndex"] = json!(2)).await;
    assert!(matches!(wrong, Wrong::Log(_)), "{wrong}");
    let wrong = wrong_entry(|entry| flip(&mut entry["verification"]["inclusionProof"]["rootHash"])).await;
    assert!(matches!(wrong, Wrong::Log(_) | Wrong::Malformed { .. }), "{wrong}");
    let wrong = wrong_entry(|entry| drop(proof(entry))).await;
    assert!(matches!(wrong, Wrong::Log(_)), "{wrong}");
    drop(one);
}

#[tokio::test]
async fn without_the_logs_own_signature_nothing_proves_the_time() {
    let wrong = wrong_entry(|entry| drop(entry["verification"]["signedEntryTimestamp"].take())).await;
    assert!(matches!(wrong, Wrong::Time(_)), "{wrong}");
}

#[tokio::test]
async fn a_signed_tree_head_of_another_log_is_refused() {
    let wrong = wrong_entry(|entry| {
        let checkpoint = entry["verification"]["inclusionProof"]["checkpoint"].as_str().unwrap();
        let (note, _) = checkpoint.split_once("\n\n").unwrap();
        let forged = format!("{note}\n\n\u{2014} rekor.test {}\n", "AAAAAAAA");
        entry["verification"]["inclusionProof"]["checkpoint"] = json!(forged);
    })
    .await;
    assert!(matches!(wrong, Wrong::Log(_) | Wrong::Malformed { .. }), "{wrong}");
}

#[tokio::test]
async fn what_is_no_signature_is_called_that() {
    let stage = Stage::new().await;
    let made = stage.sign(&Wish::default());
    for (suffix, content) in
        [(".sig", "not base64!"), (".cert", "not base64!"), (".cert", "AAAA"), (".sig", ""), (".sig", "AAAA")]
    {
        stage.publish(&made);
        stage.beside(suffix, content.as_bytes());
        let wrong = stage.wrong(&kubernetes()).await;
        assert!(matches!(wrong, Wrong::Malformed { .. } | Wrong::File(_)), "{suffix} {content:?}: {wrong}");
    }
}

#[tokio::test]
async fn a_missing_signature_is_refused_only_where_one_is_required() {
    let stage = Stage::new().await;
    let problem = stage.refused(require()).await;
    assert!(matches!(problem, SignatureProblem::Absent(_)), "{problem}");
    let verified = stage.fetch(if_available()).await.unwrap();
    let Signature::Unverified { reason } = verified.signature() else { panic!("{:?}", verified.signature()) };
    assert!(reason.contains("no signature was found") && verified.evidence().is_none(), "{reason}");
    assert!(stage.bench.warnings().iter().any(|text| text.contains("who signed it is not")), "{:?}", stage.bench.warnings());
    let quiet = stage.fetch(hostlet::model::SignaturePolicy::Off).await.unwrap();
    assert_eq!(*quiet.signature(), Signature::NotAsked);
}

#[tokio::test]
async fn evidence_in_the_cache_that_does_not_hold_goes_and_is_looked_for_again() {
    let stage = Stage::new().await;
    stage.publish(&stage.sign(&Wish::default()));
    stage.fetch(require()).await.unwrap();
    let (asked, kept) = (stage.asked_log(), stage.evidence(".sigstore.json"));
    std::fs::write(&kept, "{}").unwrap();
    stage.fetch(require()).await.unwrap();
    assert_eq!(stage.asked_log(), asked + 1);
    assert!(std::fs::read_to_string(&kept).unwrap().len() > 100);
    // Whoever trusts somebody else now does not take it either.
    let other = hostlet::model::Signer::Keyless { identity: "a@b.c".into(), issuer: ISSUER.into() };
    let problem = stage.refused(hostlet::model::SignaturePolicy::Require(other)).await;
    assert!(matches!(problem, SignatureProblem::Wrong { wrong: Wrong::Signer { .. }, .. }), "{problem}");
}

#[tokio::test]
async fn a_wrong_signature_at_one_source_is_told_and_a_right_one_at_another_counts() {
    let stage = Stage::new().await;
    let made = stage.sign(&Wish::default());
    stage.publish(&made);
    stage.beside(".sig", stage.sigstore.sign(b"another kubelet", &Wish::default()).signature.as_bytes());
    for (suffix, content) in
        [("", stage.kubelet.as_slice()), (".sig", made.signature.as_bytes()), (".cert", made.certificate.as_bytes())]
    {
        stage.bench.server.put(&format!("/second{suffix}"), content, []);
    }
    let sites = ["/kubelet", "/second"].map(|path| Site::of(stage.bench.server.url(path))).to_vec();
    let request = Request { artifact: artifact(Component::Kubelet, &stage.kubelet), sites, signature: require() };
    let verified = stage.bench.fetcher().fetch_all(vec![request]).await.unwrap().kept().await.unwrap();
    assert!(verified[0].signature().signed().is_some());
    let told = stage.bench.warnings();
    assert!(
        told.iter().any(|text| text.contains("/kubelet.sig is wrong") && text.contains("another source has a right one")),
        "{told:?}"
    );
}
