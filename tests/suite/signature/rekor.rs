//! A transparency log that is down, slow, or not one.

use std::time::{Duration, Instant};

use hostlet::{
    fetch::SignatureProblem,
    model::{Signature, SignaturePolicy},
};

use super::{
    bench::{INDEX, RETRIEVE, Stage, if_available, require},
    sigstore::Wish,
};
use crate::fetch::server::Answer;

/// Whoever requires a signature is refused; whoever does not goes on and remembers why.
async fn unreachable(answer: Option<Answer>, expected: &str) -> Duration {
    let mut stage = Stage::new().await;
    stage.publish(&stage.sign(&Wish::default()));
    stage.bench.sources.attempts = 2;
    match answer {
        Some(answer) => stage.rekor(&answer),
        None => stage.bench.sources.rekor_url = "https://127.0.0.1:1".parse().unwrap(),
    }
    let begun = Instant::now();
    let problem = stage.refused(require()).await;
    let took = begun.elapsed();
    assert!(matches!(&problem, SignatureProblem::Unreachable { found, .. } if found.contains(expected)), "{problem}");
    assert!(stage.bench.cached().is_empty(), "nothing is downloaded for nothing");
    let verified = stage.fetch(if_available()).await.unwrap();
    let Signature::Unverified { reason } = verified.signature() else { panic!("{:?}", verified.signature()) };
    assert!(reason.contains(expected), "{reason}");
    assert_eq!(stage.bench.warnings().iter().filter(|text| text.contains("who signed it is not")).count(), 1);
    took
}

#[tokio::test]
async fn a_log_that_is_down_or_answers_something_else_is_unreachable() {
    unreachable(None, "no connection").await;
    unreachable(Some(Answer::Status(404, "")), "404").await;
    unreachable(Some(Answer::Status(503, "Retry-After: 1")), "503").await;
    unreachable(Some(Answer::Instead("text/html", "<!DOCTYPE html><p>Please log in")), "an HTML page").await;
    unreachable(Some(Answer::Instead("application/json", "{\"code\":1}")), "no answer of Rekor's").await;
    unreachable(Some(Answer::CutAfter(10)), "broke off").await;
}

#[tokio::test]
async fn a_log_that_says_nothing_is_not_waited_for_without_end() {
    let took = unreachable(Some(Answer::StallAfter(10)), "no answer within").await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_taken_in() {
    let stage = Stage::new().await;
    stage.publish(&stage.sign(&Wish::default()));
    stage.bench.server.put(RETRIEVE, &vec![b' '; 5 << 20], []);
    let problem = stage.refused(require()).await;
    assert!(problem.to_string().contains("more than 4194304 bytes"), "{problem}");
}

#[tokio::test]
async fn a_required_signature_is_worth_another_attempt() {
    let stage = Stage::new().await;
    let made = stage.sign(&Wish::default());
    stage.publish(&made);
    stage.bench.server.put(RETRIEVE, made.answer().as_bytes(), [Answer::Status(503, ""), Answer::CutAfter(20)]);
    assert!(stage.fetch(require()).await.unwrap().signature().signed().is_some());
}

#[tokio::test]
async fn an_entry_that_is_found_by_the_digest_only_is_found() {
    let stage = Stage::new().await;
    let made = stage.sign(&Wish::default());
    stage.publish(&made);
    // The certificate's text is another than it was when it was logged.
    stage.bench.server.put(RETRIEVE, made.answer().as_bytes(), [Answer::Instead("application/json", "[]")]);
    stage.bench.server.put(INDEX, br#"["24296fb24b8ad77a"]"#, []);
    assert!(stage.fetch(require()).await.unwrap().signature().signed().is_some());
    let bodies: Vec<String> =
        stage.bench.server.seen().iter().map(|seen| seen.body.clone()).filter(|body| !body.is_empty()).collect();
    let digest = hostlet::model::Digest::of(&stage.kubelet).to_string();
    assert!(bodies[0].contains("hashedrekord") && bodies[0].contains(&digest), "{bodies:?}");
    assert!(bodies[1].contains(&format!("sha256:{digest}")) && bodies[2].contains("24296fb24b8ad77a"), "{bodies:?}");
}

#[tokio::test]
async fn a_trust_root_that_cannot_be_used_ends_the_run_whatever_is_asked() {
    let stage = Stage::new().await;
    std::fs::write(stage.bench.sources.trust_root_file.as_ref().unwrap(), "{").unwrap();
    let events = std::sync::Arc::new(hostlet::output::Silent);
    let fetcher = hostlet::fetch::Fetcher::new(&stage.bench.sources, stage.bench.cache(), events);
    let error = fetcher.err().unwrap();
    assert!(error.to_string().contains("trusted_root.json cannot be used"), "{error}");
    assert!(error.remedy().contains("sources.trust-root-file"), "{}", error.remedy());
    let _ = SignaturePolicy::Off;
}
