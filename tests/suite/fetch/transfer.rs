//! Transfers that succeed, at the first attempt or a later one.

use std::{
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use hostlet::{
    config::Site,
    fetch::{Request, Verified},
    model::{Component, Digest},
    output::Event,
};
use tokio::sync::{Barrier, Notify};

use super::{
    bench::{Bench, artifact, content, request, until},
    server::Answer,
};

#[tokio::test]
async fn a_file_is_fetched_verified_and_told_about() {
    let bench = Bench::new().await;
    let body = content(1_000_000);
    let url = bench.server.put("/kubelet", &body, []);
    let verified = bench.fetch(&body, &url).await.unwrap();
    assert_eq!(std::fs::read(verified.path()).unwrap(), body);
    assert_eq!(verified.bytes(), 1_000_000);
    assert_eq!(bench.cached(), [Digest::of(&body).to_string()]);
    assert_eq!(std::fs::metadata(bench.cache()).unwrap().permissions().mode() & 0o7777, 0o700);
    let events = bench.events();
    let source = url.to_string();
    assert_eq!(events[0], Event::FetchStarted { component: Component::Kubelet, source, total: Some(1_000_000) });
    assert!(events.contains(&Event::FetchProgress { component: Component::Kubelet, bytes: 1_000_000, total: Some(1_000_000) }));
    let digest = Digest::of(&body).to_string();
    assert_eq!(events.last(), Some(&Event::Fetched { component: Component::Kubelet, digest, cached: false }));
    assert!(events.len() < 30, "progress is throttled: {}", events.len());
}

#[tokio::test]
async fn an_empty_file_can_be_fetched() {
    let bench = Bench::new().await;
    let url = bench.server.put("/kubelet", b"", []);
    assert_eq!(bench.fetch(b"", &url).await.unwrap().bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_files_are_fetched_at_the_same_time_and_come_in_the_order_of_the_requests() {
    let bench = Bench::new().await;
    let barrier = Arc::new(Barrier::new(4));
    let bodies: Vec<_> = (1..=4).map(|number| content(number * 100_000)).collect();
    let requests = Component::ALL.iter().zip(&bodies).map(|(component, body)| Request {
        artifact: artifact(*component, body),
        sites: vec![Site::of(bench.server.put(&format!("/{component}"), body, [Answer::Meet(barrier.clone())]))],
        signature: hostlet::model::SignaturePolicy::Off,
    });
    let fetched = bench.fetcher().fetch_all(requests.collect()).await.unwrap().kept().await.unwrap();
    let sizes: Vec<_> = fetched.iter().map(Verified::bytes).collect();
    assert_eq!(sizes, [100_000, 200_000, 300_000, 400_000]);
}

#[tokio::test]
async fn one_digest_asked_for_twice_at_once_is_transferred_once() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let url = bench.server.put("/kubelet", &body, []);
    let (one, other) = (bench.fetcher(), bench.fetcher());
    let twice = || vec![request(&body, &url), request(&body, &url)];
    let (one, other) = tokio::join!(one.fetch_all(twice()), other.fetch_all(twice()));
    assert_eq!((one.unwrap().verified.len(), other.unwrap().verified.len()), (2, 2));
    assert_eq!(bench.server.seen().len(), 1);
}

#[tokio::test]
async fn nothing_has_its_name_before_it_is_verified() {
    let bench = Bench::new().await;
    let body = content(400_000);
    let go_on = Arc::new(Notify::new());
    let url = bench.server.put("/kubelet", &body, [Answer::HoldAfter(399_999, go_on.clone())]);
    let watch = async {
        let partial = bench.partial(&body);
        until("all but one byte is on the disk", || std::fs::metadata(&partial).is_ok_and(|found| found.len() == 399_999))
            .await;
        assert_eq!(bench.cached(), [format!("{}.partial", Digest::of(&body))]);
        go_on.notify_one();
    };
    let (fetched, ()) = tokio::join!(bench.fetch(&body, &url), watch);
    fetched.unwrap();
    assert_eq!(bench.cached(), [Digest::of(&body).to_string()]);
}

#[tokio::test]
async fn a_server_error_is_tried_again() {
    let bench = Bench::new().await;
    let body = content(1000);
    let url = bench.server.put("/kubelet", &body, [Answer::Status(500, ""), Answer::Status(503, "")]);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.server.seen().len(), 3);
    assert!(bench.warnings()[0].contains("500 Internal Server Error; attempt 2 of 4"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_source_that_asks_for_patience_gets_it() {
    let bench = Bench::new().await;
    let body = content(1000);
    let url = bench.server.put("/kubelet", &body, [Answer::Status(429, "Retry-After: 1")]);
    let begun = Instant::now();
    bench.fetch(&body, &url).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_redirect_to_https_is_followed_and_credentials_stay_behind() {
    let bench = Bench::new().await;
    let other = super::server::Server::start().await;
    let both = format!("{}{}", bench.server.authority, other.authority);
    std::fs::write(bench.sources.ca_file.as_ref().unwrap(), both).unwrap();
    let body = content(1000);
    let target = other.put("/stored", &body, []);
    let mut url = bench.server.put("/kubelet", b"", [Answer::Redirect(format!("{target}?signature=abc"))]);
    url.set_username("user").unwrap();
    url.set_password(Some("password")).unwrap();
    url.set_query(Some("token=secret"));
    bench.fetch(&body, &url).await.unwrap();
    assert!(bench.server.seen()[0].head.to_lowercase().contains("authorization: basic"));
    let head = other.seen()[0].head.to_lowercase();
    assert!(!head.contains("authorization") && !head.contains("referer") && !head.contains("secret"), "{head}");
}

#[tokio::test]
async fn bytes_are_asked_for_as_they_are() {
    let bench = Bench::new().await;
    let body = content(10);
    let url = bench.server.put("/kubelet", &body, []);
    bench.fetch(&body, &url).await.unwrap();
    assert!(bench.server.seen()[0].head.to_lowercase().contains("accept-encoding: identity"));
}
