//! Several sources for one file: who is asked, in which order, and what is said of each.

use std::time::{Duration, Instant};

use hostlet::{
    config::Site,
    fetch::{FetchError, Request, Verified},
    model::{Component, Digest, SignaturePolicy},
};
use url::Url;

use super::{
    bench::{Bench, artifact, content},
    server::{Answer, Server},
};

pub(super) async fn fetch_from(bench: &Bench, content: &[u8], urls: &[&Url]) -> Result<Verified, FetchError> {
    let sites = urls.iter().map(|url| Site::of((*url).clone())).collect();
    let request = Request { artifact: artifact(Component::Kubelet, content), sites, signature: SignaturePolicy::Off };
    Ok(bench.fetcher().fetch_all(vec![request]).await?.kept().await?.remove(0))
}

#[tokio::test]
async fn whatever_is_wrong_with_a_source_the_next_one_has_it_without_a_pause() {
    let bench = Bench::new().await;
    let body = content(200_000);
    let page = Answer::Instead("text/html", "<!DOCTYPE html><title>Log in</title>");
    for (number, answer, said) in [
        (0, Answer::Status(404, ""), "404 Not Found"),
        (1, Answer::Status(500, ""), "500 Internal Server Error"),
        (2, Answer::CutAfter(100), "the transfer broke off"),
        (3, Answer::StallAfter(100), "sent nothing for 0.7 s"),
        (4, Answer::Corrupt(1000), "the digest is wrong"),
        (5, Answer::Encoded, "with the encoding gzip"),
        (6, Answer::Redirect("http://portal.example/".to_owned()), "redirects to http://portal.example/"),
        (7, page, "an HTML page came instead of the file (\"Log in\")"),
        (8, Answer::Trickle(Duration::from_millis(100)), "bytes a second over"),
        (9, Answer::Short(10), "the digest is wrong"),
        (10, Answer::Long(10), "the transfer broke off"),
        (11, Answer::Garbage, "broke off"),
        (12, Answer::Announce(2 << 30), "announced"),
    ] {
        let mut body = body.clone();
        body[0] = number;
        let good = bench.server.put(&format!("/good-{number}"), &body, []);
        let bad = bench.server.put(&format!("/bad-{number}"), &body, []);
        bench.server.always(&format!("/bad-{number}"), answer);
        let before = bench.warnings().len();
        let begun = Instant::now();
        let fetched = fetch_from(&bench, &body, &[&bad, &good]).await.unwrap_or_else(|error| panic!("{said}: {error}"));
        assert_eq!(std::fs::read(fetched.path()).unwrap(), body);
        assert!(begun.elapsed() < Duration::from_millis(1900), "{said}: {:?}", begun.elapsed());
        let warnings = bench.warnings()[before..].join("\n");
        assert!(warnings.contains(said) && warnings.contains(&format!("; trying {good}")), "{said} is not in {warnings}");
    }
}

#[tokio::test]
async fn what_one_source_began_another_goes_on_with() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let first = bench.server.put("/first", &body, []);
    bench.server.always("/first", Answer::CutAfter(400_000));
    let second = bench.server.put("/second", &body, []);
    fetch_from(&bench, &body, &[&first, &second]).await.unwrap();
    let seen = bench.server.seen();
    assert_eq!((seen[1].path.as_str(), seen[1].from, seen[1].sent), ("/second", Some(400_000), 100_000));
}

#[tokio::test]
async fn what_a_lying_source_began_is_dropped_when_the_whole_does_not_match() {
    let bench = Bench::new().await;
    let body = content(500_000);
    let liar = bench.server.put("/liar", &content(500_008)[8..], [Answer::CutAfter(400_000)]);
    let honest = bench.server.put("/honest", &body, []);
    let fetched = fetch_from(&bench, &body, &[&liar, &honest]).await.unwrap();
    assert_eq!(std::fs::read(fetched.path()).unwrap(), body);
    assert!(bench.warnings().join("\n").contains("does not fit together"));
}

#[tokio::test]
async fn a_source_that_is_down_is_asked_last_by_the_next_run() {
    let bench = Bench::new().await;
    let body = content(1000);
    let other = Server::start().await;
    let both = format!("{}{}", bench.server.authority, other.authority);
    std::fs::write(bench.sources.ca_file.as_ref().unwrap(), both).unwrap();
    let down = other.put("/kubelet", &body, []);
    other.always("/kubelet", Answer::Status(503, ""));
    let up = bench.server.put("/kubelet", &body, []);
    fetch_from(&bench, &body, &[&down, &up]).await.unwrap();
    assert_eq!(other.seen().len(), 1);
    let body = content(2000);
    let down = other.put("/again", &body, []);
    let up = bench.server.put("/again", &body, []);
    fetch_from(&bench, &body, &[&down, &up]).await.unwrap();
    assert_eq!(other.seen().len(), 1, "it is not asked before one that works");
}

#[tokio::test]
async fn when_all_have_failed_each_is_told_with_its_reason_and_what_to_do() {
    let mut bench = Bench::new().await;
    bench.sources.attempts = 2;
    let body = content(1000);
    let wrong = bench.server.put("/wrong", &content(999), []);
    let absent = bench.server.url("/absent");
    let cut = bench.server.put("/cut", &body, []);
    bench.server.always("/cut", Answer::CutAfter(0));
    let error = fetch_from(&bench, &body, &[&wrong, &absent, &cut]).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "fetching kubelet 1.36.4 (amd64) from any of its sources:".to_owned(),
        format!("{wrong}: the digest is wrong: expected sha256:{}, found sha256:", Digest::of(&body)),
        format!("{absent}: the source answered 404 Not Found"),
        format!("{cut}: the transfer broke off"),
        "(after 2 attempts)".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    assert_eq!(error.remedy().lines().count(), 3, "{}", error.remedy());
    assert_eq!(bench.server.seen().len(), 4, "a final word is not asked for twice");
    assert_eq!(bench.cached(), [""; 0]);
}

#[tokio::test]
async fn a_directory_of_this_host_stands_in_for_a_mirror_that_is_down() {
    let bench = Bench::new().await;
    let body = content(10_000);
    let path = bench.directory.path().join("kubelet");
    std::fs::write(&path, &body).unwrap();
    let absent = Url::from_file_path(bench.directory.path().join("absent")).unwrap();
    let local = Url::from_file_path(&path).unwrap();
    fetch_from(&bench, &body, &[&absent, &bench.server.url("/absent"), &local]).await.unwrap();
    assert_eq!(bench.warnings().len(), 2, "{:?}", bench.warnings());
}

#[tokio::test]
async fn a_file_that_changed_at_its_source_comes_afresh() {
    let bench = Bench::new().await;
    let body = content(500_000);
    bench.server.tag("/kubelet", "\"one\"");
    let url = bench.server.put("/kubelet", &content(400_000), [Answer::CutAfter(300_000)]);
    let mut impatient = bench.fetcher();
    let mut sources = bench.sources.clone();
    sources.attempts = 1;
    impatient.clone_from(
        &hostlet::fetch::Fetcher::new(&sources, bench.cache(), std::sync::Arc::new(hostlet::output::Silent)).unwrap(),
    );
    impatient.fetch_all(vec![super::bench::request(&body, &url)]).await.unwrap_err();
    bench.server.put("/kubelet", &body, []);
    bench.server.tag("/kubelet", "\"two\"");
    bench.fetch(&body, &url).await.unwrap();
    let seen = bench.server.seen();
    assert!(seen[1].head.contains("if-range: \"one\""), "{}", seen[1].head);
    assert_eq!(seen[1].sent, 500_000, "in one answer, and nothing of the old one is used");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_206_of_another_range_is_never_appended() {
    for answer in [Answer::WrongRange(7), Answer::LyingRange] {
        let bench = Bench::new().await;
        let body = content(100_000);
        let url = bench.server.put("/kubelet", &body, [Answer::CutAfter(60_000), answer]);
        let fetched = bench.fetch(&body, &url).await.unwrap();
        assert_eq!(std::fs::read(fetched.path()).unwrap(), body);
        assert_eq!(bench.asked_from(), [None, Some(60_000), None]);
    }
}

#[tokio::test]
async fn an_archives_own_compression_may_be_called_an_encoding() {
    let bench = Bench::new().await;
    let body = content(1000);
    let url = bench.server.put("/cni.tgz", &body, [Answer::Encoded]);
    bench.fetch(&body, &url).await.unwrap();
}
