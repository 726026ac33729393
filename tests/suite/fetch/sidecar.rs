//! Checksum files over the wire.

use hostlet::{config::Site, model::Digest};

use super::{bench::Bench, server::Answer};

#[tokio::test]
async fn both_formats_are_read_and_a_server_error_is_tried_again() {
    let bench = Bench::new().await;
    let digest = Digest::of(b"x");
    let bare = bench.server.put("/kubelet.sha256", digest.to_string().as_bytes(), [Answer::Status(502, "")]);
    let lines = format!("{}  other.tgz\n{digest}  cni.tgz\n", Digest::of(b"y"));
    let gnu = bench.server.put("/cni.tgz.sha256", lines.as_bytes(), []);
    let fetcher = bench.fetcher();
    assert_eq!(fetcher.published_digest("kubelet", &[Site::of(bare)]).await.unwrap(), digest);
    assert_eq!(fetcher.published_digest("cni", &[Site::of(gnu)]).await.unwrap(), digest);
}

#[tokio::test]
async fn what_is_no_checksum_file_is_refused() {
    let bench = Bench::new().await;
    let fetcher = bench.fetcher();
    let endless = vec![b'a'; 100_000];
    for (url, expected) in [
        (bench.server.url("/absent"), "404 Not Found"),
        (bench.server.put("/endless", &endless, []), "larger than 65536 bytes"),
        (bench.server.always("/page", Answer::Instead("text/html", "<html>")), "an HTML page came instead"),
        (bench.server.put("/sha512", &endless[..128], []), "128 characters"),
        ("http://mirror.example/x".parse().unwrap(), "is plain http"),
    ] {
        let error = fetcher.published_digest("kubelet", &[Site::of(url)]).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.remedy().is_empty());
    }
}
