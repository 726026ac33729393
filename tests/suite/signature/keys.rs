//! Signatures made with a key: by minisign itself, and as `cosign sign-blob --key` makes them.

use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use hostlet::{
    fetch::Wrong,
    model::{MinisignKey, Scheme, SignaturePolicy, Signer},
};
use rcgen::{KeyPair, PublicKeyData, SigningKey};

use super::bench::Stage;

/// A minisign key pair in a directory, made by minisign.
pub(crate) struct Minisign(tempfile::TempDir);

impl Minisign {
    pub(crate) fn new() -> Self {
        let key = Self(tempfile::tempdir().unwrap());
        key.run(&["-G", "-W", "-p", "key.pub", "-s", "key"]);
        key
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new("minisign").args(arguments).current_dir(self.0.path()).output();
        let output = output.expect("minisign is needed: packaging/install-tools installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn key(&self) -> MinisignKey {
        std::fs::read_to_string(self.0.path().join("key.pub")).unwrap().parse().unwrap()
    }

    fn signer(&self) -> Signer {
        Signer::Minisign(self.key())
    }

    pub(crate) fn sign(&self, content: &[u8], more: &[&str]) -> Vec<u8> {
        std::fs::write(self.0.path().join("file"), content).unwrap();
        self.run(&[&["-S", "-s", "key", "-m", "file"], more].concat());
        std::fs::read(self.0.path().join("file.minisig")).unwrap()
    }
}

#[tokio::test]
async fn what_minisign_signed_is_verified_and_kept() {
    let (stage, minisign) = (Stage::new().await, Minisign::new());
    let made = minisign.sign(&stage.kubelet, &["-H"]);
    stage.beside(".minisig", &made);
    let verified = stage.fetch(SignaturePolicy::Require(minisign.signer())).await.unwrap();
    let signed = verified.signature().signed().unwrap();
    assert!(signed.scheme == Scheme::Minisign && minisign.signer().made(signed), "{signed:?}");
    assert_eq!(std::fs::read(stage.evidence(".minisig")).unwrap(), made);
    stage.bench.server.put("/kubelet.minisig", b"no more", []);
    stage.fetch(SignaturePolicy::Require(minisign.signer())).await.unwrap();
}

#[tokio::test]
async fn another_file_another_key_and_the_old_format_are_refused() {
    let (stage, minisign, other) = (Stage::new().await, Minisign::new(), Minisign::new());
    stage.beside(".minisig", &other.sign(&stage.kubelet, &["-H"]));
    let wrong = stage.wrong(&minisign.signer()).await;
    assert!(matches!(wrong, Wrong::Signer { .. }), "{wrong}");
    stage.beside(".minisig", &minisign.sign(&stage.kubelet, &["-l"]));
    let wrong = stage.wrong(&minisign.signer()).await;
    assert!(matches!(wrong, Wrong::Unsupported(_)), "{wrong}");
    stage.beside(".minisig", b"untrusted comment: x\nRWQ\n");
    let wrong = stage.wrong(&minisign.signer()).await;
    assert!(matches!(wrong, Wrong::Malformed { .. }), "{wrong}");
    // Only the content tells: it is there by then, whole and right by its digest, and is not taken.
    stage.beside(".minisig", &minisign.sign(b"another kubelet", &["-H"]));
    let problem = stage.refused(SignaturePolicy::IfAvailable(minisign.signer())).await;
    assert!(problem.is_wrong() && problem.to_string().contains("does not belong to this file"), "{problem}");
    // Once the publisher has put the right one there, nothing is downloaded again.
    stage.beside(".minisig", &minisign.sign(&stage.kubelet, &["-H"]));
    let downloads = || stage.bench.server.seen().iter().filter(|seen| seen.path == "/kubelet").count();
    let before = downloads();
    stage.fetch(SignaturePolicy::Require(minisign.signer())).await.unwrap();
    assert_eq!(downloads(), before);
}

fn cosign_key() -> (KeyPair, Signer) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let public = STANDARD.encode(key.subject_public_key_info());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &public[..64], &public[64..]);
    (key, Signer::CosignKey(pem.parse().unwrap()))
}

#[tokio::test]
async fn what_cosign_signed_with_a_key_is_verified_before_the_download() {
    let (stage, (key, signer), (_, stranger)) = (Stage::new().await, cosign_key(), cosign_key());
    stage.beside(".sig", STANDARD.encode(key.sign(&stage.kubelet).unwrap()).as_bytes());
    let wrong = stage.wrong(&stranger).await;
    assert!(matches!(wrong, Wrong::File(_)), "{wrong}");
    let verified = stage.fetch(SignaturePolicy::Require(signer.clone())).await.unwrap();
    let found = verified.signature().signed().unwrap();
    assert!(found.scheme == Scheme::CosignKey && signer.made(found) && !stranger.made(found), "{found:?}");
    assert!(stage.evidence(".sig").exists() && stage.asked_log() == 0);
    for wrong in ["", "AAAA", "<html>"] {
        let stage = Stage::new().await;
        stage.beside(".sig", wrong.as_bytes());
        let problem = stage.refused(SignaturePolicy::Require(signer.clone())).await;
        assert!(stage.bench.cached().is_empty(), "{problem}");
    }
}
