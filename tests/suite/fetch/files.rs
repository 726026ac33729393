//! `file://` sources.

use url::Url;

use super::bench::{Bench, content};

fn source(bench: &Bench, name: &str) -> (std::path::PathBuf, Url) {
    let path = bench.directory.path().join(name);
    let url = Url::from_file_path(&path).unwrap();
    (path, url)
}

#[tokio::test]
async fn a_file_of_this_host_is_copied_and_verified_like_any_other() {
    let bench = Bench::new().await;
    let body = content(3_000_000);
    let (path, url) = source(&bench, "my kubelet");
    std::fs::write(&path, &body).unwrap();
    bench.leave_partial(&body, b"an older attempt");
    let verified = bench.fetch(&body, &url).await.unwrap();
    assert_eq!(std::fs::read(verified.path()).unwrap(), body);
    std::fs::write(&path, "other").unwrap();
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("the digest is wrong"), "{error}");
    assert_eq!(bench.cached().len(), 1);
}

#[tokio::test]
async fn what_is_not_a_regular_file_is_refused_by_its_kind() {
    let bench = Bench::new().await;
    let (fifo, fifo_url) = source(&bench, "fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (directory, directory_url) = source(&bench, "directory");
    std::fs::create_dir(directory).unwrap();
    let zero = "file:///dev/zero".parse().unwrap();
    for (url, kind) in [(fifo_url, "a FIFO"), (directory_url, "a directory"), (zero, "a device")] {
        let error = bench.refused(b"x", &url).await;
        assert!(error.to_string().contains(&format!("is {kind}, not a regular file")), "{error}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let bench = Bench::new().await;
    let (path, url) = source(&bench, "nothing");
    let error = bench.refused(b"x", &url).await;
    assert!(error.to_string().contains("No such file") && error.remedy().contains(path.to_str().unwrap()), "{error}");
}
