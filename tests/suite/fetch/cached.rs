//! What the cache already has.

use hostlet::{model::Digest, output::Event};

use super::bench::{Bench, content};

#[tokio::test]
async fn a_file_in_the_cache_is_not_asked_for_again() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, []);
    bench.fetch(&body, &url).await.unwrap();
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.server.seen().len(), 1);
    assert!(matches!(bench.events().last(), Some(Event::Fetched { cached: true, .. })));
}

#[tokio::test]
async fn a_damaged_file_in_the_cache_is_removed_with_a_warning_and_fetched_again() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, []);
    let first = bench.fetch(&body, &url).await.unwrap();
    let mut rotten = body.clone();
    rotten[5000] ^= 1;
    std::fs::write(first.path(), rotten).unwrap();
    let second = bench.fetch(&body, &url).await.unwrap();
    assert_eq!(std::fs::read(second.path()).unwrap(), body);
    assert_eq!(bench.server.seen().len(), 2);
    assert!(bench.warnings()[0].contains("is damaged (its digest is sha256:"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_dangling_link_in_the_place_of_the_file_or_of_the_partial_one_is_not_followed() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, []);
    std::fs::create_dir(bench.cache()).unwrap();
    let outside = bench.directory.path().join("outside");
    std::os::unix::fs::symlink(&outside, bench.partial(&body)).unwrap();
    let error = bench.refused(&body, &url).await;
    assert!(error.to_string().contains(".partial"), "{error}");
    std::fs::remove_file(bench.partial(&body)).unwrap();
    std::os::unix::fs::symlink(&outside, bench.cache().join(Digest::of(&body).to_string())).unwrap();
    bench.fetch(&body, &url).await.unwrap();
    assert!(!outside.exists());
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_verified_is_not_unpacked() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, []);
    let verified = bench.fetch(&body, &url).await.unwrap();
    let into = tempfile::tempdir().unwrap();
    std::fs::write(verified.path(), content(9_999)).unwrap();
    let error = verified.unpack(into.path()).unwrap_err();
    assert!(error.to_string().contains("changed after it was verified"), "{error}");
    assert_eq!(super::bench::names(into.path()), [""; 0]);
    std::fs::write(verified.path(), &body).unwrap();
    assert_eq!(verified.unpack(into.path()).unwrap()[0].digest, Digest::of(&body));
}
