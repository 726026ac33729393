//! `hostlet bundle`, as people run it: against a real server, through pipes, with real tar beside it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use hostlet::model::Digest;
use serde_json::Value;

use crate::fetch::{
    bench::{Bench, content},
    server::Answer,
};

struct Scene {
    bench: Bench,
    kubelet: Vec<u8>,
    plugins: Vec<u8>,
}

impl Scene {
    /// A kubelet and CNI plugins at a server, and a configuration that wants them.
    async fn new() -> Self {
        let bench = Bench::new().await;
        let (kubelet, plugins) = (content(300_000), content(70_001));
        let scene = Self { bench, kubelet, plugins };
        scene.bench.server.put("/kubelet", &scene.kubelet, []);
        scene.bench.server.put("/plugins.tgz", &scene.plugins, []);
        scene.configure("");
        scene
    }

    fn configure(&self, more: &str) {
        let source = |component: &str, path: &str, content: &[u8]| {
            format!("[sources.{component}]\nurl = \"{}\"\ndigest = \"{}\"\n", self.bench.server.url(path), Digest::of(content))
        };
        let text = format!(
            "[flannel]\nenabled = false\n[sources]\nca-file = \"{}\"\nattempts = 1\n{}{}{more}",
            self.path("ca.pem").display(),
            source("cni-plugins", "/plugins.tgz", &self.plugins),
            source("kubelet", "/kubelet", &self.kubelet),
        );
        std::fs::write(self.path("hostlet.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostlet"));
        command.arg("--config").arg(self.path("hostlet.toml")).args(arguments).current_dir(self.bench.directory.path());
        command
    }

    /// Runs it, while the server goes on.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn create(&self, more: &[&str]) -> Output {
        self.run(&[&["bundle", "create", "-o", "node.bundle", "--arch", "amd64", "--cache", "kept"], more].concat()).await
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

#[track_caller]
fn refused(output: &Output, code: i32, expected: &str) {
    let text = said(output);
    assert!(output.status.code() == Some(code) && text.contains(expected), "{:?} {text}", output.status);
}

fn verify_piped(scene: &Scene, bundle: &Path, more: &[&str]) -> Output {
    let mut command = scene.command(&[&["bundle", "verify", "-", "--output", "json"], more].concat());
    command.stdin(Stdio::from(std::fs::File::open(bundle).unwrap())).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_made_verified_listed_and_read_by_tar() {
    let scene = Scene::new().await;
    let text = succeeds(&scene.create(&[]).await);
    let bundle = scene.path("node.bundle");
    let listed = Command::new("tar").arg("tf").arg(&bundle).output().unwrap();
    let members = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(members, "manifest.json\nkubelet-1.36.4-linux-amd64\ncni-plugins-1.9.1-linux-amd64\n");
    let verified = verify_piped(&scene, &bundle, &[]);
    let json: Value = serde_json::from_str(succeeds(&verified).lines().last().unwrap()).unwrap();
    let digest = json["manifest-digest"].as_str().unwrap();
    assert!(text.contains(&format!("sources.bundle-digest = \"{digest}\"")), "{text}");
    assert_eq!(json["size"], std::fs::metadata(&bundle).unwrap().len());
    assert_eq!(json["manifest"]["artifacts"][0]["origin"], "configuration");
    assert!(json["manifest"]["artifacts"][0]["source"].as_str().unwrap().ends_with("/kubelet"), "{json:#}");
    let list = succeeds(&scene.run(&["bundle", "list", "node.bundle"]).await);
    assert!(list.contains("cni-plugins  1.9.1") && list.contains("70001 bytes") && list.contains(digest), "{list}");
    succeeds(&verify_piped(&scene, &bundle, &["--digest", digest]));
    refused(&verify_piped(&scene, &bundle, &["--digest", &"0".repeat(64)]), 4, "another than the one that is pinned");
    // Through a pipe it is the same file, but for the time at which it was made.
    let streamed = scene.run(&["bundle", "create", "-o", "-", "--arch", "amd64", "--cache", "kept"]).await;
    assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
    std::fs::write(scene.path("streamed"), &streamed.stdout).unwrap();
    succeeds(&verify_piped(&scene, &scene.path("streamed"), &[]));
    refused(&scene.run(&["bundle", "create", "-o", "-", "--output", "json"]).await, 2, "cannot carry both");
    let downloads = scene.bench.server.seen().iter().filter(|seen| seen.path == "/kubelet").count();
    assert_eq!(downloads, 1, "the cache is kept where one is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_bundle_is_refused_with_what_to_do() {
    let scene = Scene::new().await;
    succeeds(&scene.create(&[]).await);
    let bundle = scene.path("node.bundle");
    let whole = std::fs::read(&bundle).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&bundle, &flipped).unwrap();
    let output = scene.run(&["bundle", "verify", "node.bundle"]).await;
    refused(&output, 4, "is not what its manifest says");
    assert!(said(&output).contains("Copy it here again"), "{}", said(&output));
    std::fs::write(&bundle, &whole[..whole.len() - 2000]).unwrap();
    refused(&scene.run(&["bundle", "verify", "node.bundle"]).await, 4, "it is cut off");
    refused(&scene.run(&["bundle", "list", "nothing"]).await, 4, "No such file");
    std::fs::write(&bundle, "<html>").unwrap();
    refused(&scene.run(&["bundle", "verify", "node.bundle"]).await, 4, "no bundle of hostlet's");
    refused(&verify_piped(&scene, &bundle, &["--minisign-key", "RWQ"]), 2, "minisign");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_or_verified_makes_no_bundle() {
    let scene = Scene::new().await;
    scene.configure("signature = \"require\"\n");
    refused(&scene.create(&[]).await, 4, "no signature was found");
    scene.configure("");
    std::fs::remove_dir_all(scene.path("kept")).unwrap();
    scene.bench.server.put("/plugins.tgz", b"another", []);
    refused(&scene.create(&[]).await, 4, "the digest is wrong");
    scene.bench.server.always("/plugins.tgz", Answer::Status(404, ""));
    refused(&scene.create(&[]).await, 4, "404");
    refused(&scene.create(&["--arch", "arm64"]).await, 2, "is of one processor's file");
    assert!(!scene.path("node.bundle").exists());
    let left: Vec<String> = crate::fetch::bench::names(scene.bench.directory.path());
    assert!(!left.iter().any(|name| name.contains("hostlet-")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_travels_with_its_signature() {
    let (scene, minisign) = (Scene::new().await, crate::signature::keys::Minisign::new());
    scene.configure(&format!("minisign-key = \"{}\"\n", minisign.key()));
    refused(&scene.create(&[]).await, 4, "no signature was found beside it (.minisig)");
    scene.bench.server.put("/kubelet.minisig", &minisign.sign(b"another kubelet", &["-H"]), []);
    refused(&scene.create(&[]).await, 4, "does not belong to this file");
    let made = minisign.sign(&scene.kubelet, &["-H"]);
    scene.bench.server.put("/kubelet.minisig", &made, []);
    let text = succeeds(&scene.create(&[]).await);
    assert!(text.contains(&format!("signed by {}", minisign.key())), "{text}");
    let mut tar = Command::new("tar");
    tar.arg("xOf").arg(scene.path("node.bundle")).arg("kubelet-1.36.4-linux-amd64.minisig");
    assert_eq!(tar.output().unwrap().stdout, made);
}
