//! What the cache already has.

use std::sync::Arc;

use hostlet::{model::Digest, output::Event};
use tokio::sync::Notify;

use super::{
    bench::{Bench, content, request, until},
    server::Answer,
};

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
    bench.fetch(&body, &url).await.unwrap();
    let mut rotten = body.clone();
    rotten[5000] ^= 1;
    // Disks rot; and what a disk makes of a power cut, whatever was asked of it: nothing, half of it, zeroes.
    let damaged = [rotten, Vec::new(), body[..4096].to_vec(), vec![0; body.len()]];
    for (number, content) in damaged.iter().enumerate() {
        std::fs::write(bench.cache().join(Digest::of(&body).to_string()), content).unwrap();
        let again = bench.fetch(&body, &url).await.unwrap();
        assert_eq!(std::fs::read(again.path()).unwrap(), body);
        assert_eq!(bench.server.seen().len(), number + 2);
        assert!(bench.warnings()[number].contains("is damaged (its digest is sha256:"), "{:?}", bench.warnings());
    }
}

#[tokio::test]
async fn what_was_verified_is_used_before_it_is_kept_and_whatever_has_its_name() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, []);
    let fetched = bench.fetcher().fetch_all(vec![request(&body, &url)]).await.unwrap();
    let into = tempfile::tempdir().unwrap();
    assert_eq!(fetched.verified[0].unpack(into.path()).unwrap()[0].digest, Digest::of(&body));
    let verified = fetched.kept().await.unwrap().remove(0);
    assert_eq!(bench.cached(), [Digest::of(&body).to_string()]);
    std::fs::remove_file(verified.path()).unwrap();
    std::fs::write(verified.path(), b"another").unwrap();
    let into = tempfile::tempdir().unwrap();
    assert_eq!(verified.unpack(into.path()).unwrap()[0].digest, Digest::of(&body));
}

#[tokio::test]
async fn what_cannot_be_kept_is_an_error_and_what_was_received_stays() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let go_on = Arc::new(Notify::new());
    let url = bench.server.put("/kubelet", &body, [Answer::HoldAfter(9_999, go_on.clone())]);
    let fetcher = bench.fetcher();
    let requests = vec![request(&body, &url)];
    let running = tokio::spawn(async move { fetcher.fetch_all(requests).await });
    until("most of it is there", || std::fs::metadata(bench.partial(&body)).is_ok_and(|found| found.len() == 9_999)).await;
    // Something is in the way of its name.
    let name = bench.cache().join(Digest::of(&body).to_string());
    std::fs::create_dir(&name).unwrap();
    go_on.notify_one();
    let error = running.await.unwrap().unwrap().kept().await.unwrap_err();
    assert!(error.to_string().contains(&format!("renaming to {}", name.display())), "{error}");
    assert_eq!(hostlet::pipeline::Failure::from(error).outcome().exit_code(), 4);
    // The next run completes it from what is there.
    std::fs::remove_dir(&name).unwrap();
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!((bench.server.seen().len(), bench.cached()), (1, vec![Digest::of(&body).to_string()]));
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
