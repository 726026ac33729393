//! A signature that was really made: with cosign, at sigstore's public instance, verified with the trust root that is built in.
//!
//! `cosign-v3-blob.sigstore.json` and the text that it signs are test data of sigstore-rust (github.com/sigstore/sigstore-rust,
//! crates/sigstore-verify/test_data/bundles, Apache-2.0), signed on 3 December 2025. Kubernetes' own signatures cannot be had
//! where these tests run; theirs are made by the same tool at the same instance.

use base64::{Engine, engine::general_purpose::STANDARD};
use hostlet::{
    config::Site,
    fetch::{Request, Wrong},
    model::{Component, SignaturePolicy, Signer},
};
use serde_json::{Value, json};

use super::{
    bench::{Stage, kubernetes},
    sigstore::hex,
};
use crate::fetch::bench::artifact;

const BUNDLE: &str = include_str!("recorded/cosign-v3-blob.sigstore.json");
const SIGNED: &[u8] = include_bytes!("recorded/cosign-v3-blob.txt");

fn signer() -> Signer {
    Signer::Keyless { identity: "w.vollprecht@gmail.com".to_owned(), issuer: "https://github.com/login/oauth".to_owned() }
}

async fn stage() -> Stage {
    let mut stage = Stage::new().await;
    stage.kubelet = SIGNED.to_vec();
    stage.bench.server.put("/kubelet", SIGNED, []);
    stage.bench.sources.trust_root_file = None;
    stage
}

#[tokio::test]
async fn a_bundle_of_cosigns_is_verified() {
    let stage = stage().await;
    stage.beside(".sigstore.json", BUNDLE.as_bytes());
    let verified = stage.fetch(SignaturePolicy::Require(signer())).await.unwrap();
    let signed = verified.signature().signed().unwrap();
    assert_eq!(signed.time.unwrap().to_string(), "2025-12-03T18:36:43Z");
    let wrong = stage_wrong(&stage).await;
    assert!(matches!(wrong, Wrong::Signer { .. }), "{wrong}");
    let request = Request {
        artifact: artifact(Component::Kubelet, b"another file"),
        sites: vec![Site::of(stage.bench.server.url("/kubelet"))],
        signature: SignaturePolicy::Require(signer()),
    };
    let error = stage.bench.fetcher().fetch_all(vec![request]).await.unwrap_err();
    assert!(error.to_string().contains("does not belong to this file"), "{error}");
}

async fn stage_wrong(stage: &Stage) -> Wrong {
    std::fs::remove_dir_all(stage.bench.cache()).unwrap();
    stage.wrong(&kubernetes()).await
}

/// The same signature as Kubernetes publishes its own: `.sig`, `.cert`, and an entry that Rekor's API tells of.
#[tokio::test]
async fn the_same_signature_as_kubernetes_publishes_its_own_is_verified() {
    let stage = stage().await;
    let bundle: Value = serde_json::from_str(BUNDLE).unwrap();
    let material = &bundle["verificationMaterial"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entry = &material["tlogEntries"][0];
    let (proof, hex) = (&entry["inclusionProof"], |value: &Value| hex(&STANDARD.decode(text(value)).unwrap()));
    let number = |value: &Value| text(value).parse::<i64>().unwrap();
    let answer = json!([{ "24296fb24b8ad77a": {
        "body": entry["canonicalizedBody"], "integratedTime": number(&entry["integratedTime"]),
        "logID": hex(&entry["logId"]["keyId"]), "logIndex": number(&entry["logIndex"]),
        "verification": {
            "inclusionProof": {
                "checkpoint": proof["checkpoint"]["envelope"],
                "hashes": proof["hashes"].as_array().unwrap().iter().map(hex).collect::<Vec<_>>(),
                "logIndex": number(&proof["logIndex"]), "rootHash": hex(&proof["rootHash"]),
                "treeSize": number(&proof["treeSize"]),
            },
            "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        },
    }}]);
    let der = text(&material["certificate"]["rawBytes"]);
    let lines: Vec<&str> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    stage.beside(".sig", text(&bundle["messageSignature"]["signature"]).as_bytes());
    stage.beside(".cert", STANDARD.encode(&pem).as_bytes());
    stage.log(&answer.to_string());
    let verified = stage.fetch(SignaturePolicy::Require(signer())).await.unwrap();
    let signed = verified.signature().signed().unwrap();
    assert_eq!((signed.time.unwrap().to_string().as_str(), stage.asked_log()), ("2025-12-03T18:36:43Z", 1));
}
