//! Transfers that are cut off, and go on.

use std::time::Duration;

use hostlet::model::Digest;

use super::{
    bench::{Bench, content, request, until},
    server::Answer,
};

#[tokio::test]
async fn a_transfer_that_breaks_off_goes_on_where_it_ended() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let url = bench.server.put("/kubelet", &body, [Answer::CutAfter(300_000)]);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.asked_from(), [None, Some(300_000)]);
    assert_eq!(bench.server.seen()[1].sent, 200_000);
    assert!(bench.warnings()[0].contains("the transfer broke off"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_transfer_that_stalls_goes_on_over_a_new_connection() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let url = bench.server.put("/kubelet", &body, [Answer::StallAfter(100_000)]);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.asked_from(), [None, Some(100_000)]);
    assert!(bench.warnings()[0].contains("the source sent nothing for 0.7 s"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_source_that_ignores_the_range_is_read_from_its_beginning() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let url = bench.server.put("/kubelet", &body, [Answer::CutAfter(300_000), Answer::IgnoreRange]);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.server.seen()[1].sent, 500_000);
}

#[tokio::test]
async fn a_run_that_was_killed_is_continued_by_the_next() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let url = bench.server.put("/kubelet", &body, [Answer::StallAfter(123_456)]);
    let partial = bench.partial(&body);
    tokio::select! {
        _ = bench.fetch(&body, &url) => panic!("it stalls"),
        () = until("all that was sent is on the disk", || std::fs::metadata(&partial).is_ok_and(|found| found.len() == 123_456)) => {}
    }
    assert_eq!(bench.cached(), [format!("{}.partial", Digest::of(&body))]);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.asked_from(), [None, Some(123_456)]);
    assert_eq!(bench.cached(), [Digest::of(&body).to_string()]);
}

#[tokio::test]
async fn a_kill_between_the_last_byte_and_the_rename_costs_no_request() {
    let bench = Bench::new().await;
    let body = content(10_000);
    bench.leave_partial(&body, &body);
    let url = bench.server.put("/kubelet", &body, []);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.server.seen().len(), 0);
}

#[tokio::test]
async fn a_partial_file_of_something_else_is_dropped_and_the_file_fetched_from_its_beginning() {
    let bench = Bench::new().await;
    let body = content(10_000);
    bench.leave_partial(&body, &[7; 4000]);
    let url = bench.server.put("/kubelet", &body, []);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.asked_from(), [Some(4000), None]);
    assert!(bench.warnings()[0].contains("does not fit together"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_wrong_file_is_wrong_also_after_what_was_resumed_was_dropped() {
    let bench = Bench::new().await;
    let body = content(10_000);
    bench.leave_partial(&body, &[7; 4000]);
    let url = bench.server.put("/kubelet", &content(9000), []);
    let error = bench.refused(&body, &url).await;
    assert!(error.to_string().contains(&Digest::of(&content(9000)).to_string()), "of the file, not of a mixture: {error}");
    assert_eq!(bench.asked_from(), [Some(4000), None]);
    assert_eq!(bench.cached(), [""; 0]);
}

#[tokio::test]
async fn a_partial_file_that_is_too_long_is_dropped_too() {
    let bench = Bench::new().await;
    let body = content(10_000);
    bench.leave_partial(&body, &[7; 10_001]);
    let url = bench.server.put("/kubelet", &body, []);
    bench.fetch(&body, &url).await.unwrap();
    assert_eq!(bench.asked_from(), [Some(10_001), None]);
}

#[tokio::test]
async fn attempts_end_and_what_was_transferred_stays() {
    let mut bench = Bench::new().await;
    bench.sources.attempts = 2;
    let body = content(10_000);
    let url = bench.server.put("/kubelet", &body, [Answer::CutAfter(1000), Answer::CutAfter(1000)]);
    let error = bench.refused(&body, &url).await;
    assert!(error.to_string().ends_with("(after 2 attempts)"), "{error}");
    assert_eq!(std::fs::metadata(bench.partial(&body)).unwrap().len(), 2000);
}

#[tokio::test]
async fn the_first_failure_ends_the_others_and_what_they_have_stays() {
    let mut bench = Bench::new().await;
    bench.sources.stall_timeout = Duration::from_mins(1);
    let body = content(10_000);
    let slow = bench.server.put("/slow", &body, [Answer::StallAfter(5000)]);
    let partial = bench.partial(&body);
    let absent = bench.server.always("/absent", Answer::Status(404, ""));
    let fetcher = bench.fetcher();
    let running = tokio::spawn(async move {
        let requests = vec![request(&content(10_000), &slow)];
        fetcher.fetch_all(requests).await
    });
    until("half of it is there", || std::fs::metadata(&partial).is_ok_and(|found| found.len() == 5000)).await;
    running.abort();
    let both = vec![request(&body, &bench.server.put("/slow", &body, [Answer::StallAfter(0)])), request(b"x", &absent)];
    let failed = tokio::time::timeout(Duration::from_secs(10), bench.fetcher().fetch_all(both)).await.unwrap();
    assert!(failed.unwrap_err().to_string().contains("404 Not Found"));
    assert_eq!(std::fs::metadata(&partial).unwrap().len(), 5000);
}
