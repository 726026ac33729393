//! A process that is killed in the middle of a download, and the next one.

use std::{path::Path, process::Command, sync::Arc};

use hostlet::model::{Component, Digest};
use tokio::sync::Notify;

use super::{
    bench::{Bench, artifact, content, request, until},
    server::Answer,
};

const TOLD: &str = "HOSTLET_TEST_FETCH_AND_BE_KILLED";
const SIZE: usize = 20_000_000;

/// The process runs itself once more as the client that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_90_percent_costs_less_than_15_percent_again() {
    if let Some(told) = std::env::var_os(TOLD) {
        return client(Path::new(&told)).await;
    }
    let bench = Bench::new().await;
    let body = content(SIZE);
    bench.server.tag("/kubelet", "\"one\"");
    let url = bench.server.put("/kubelet", &body, [Answer::HoldAfter(SIZE / 10 * 9, Arc::new(Notify::new()))]);
    let digest = artifact(Component::Kubelet, &body).digest;
    std::fs::write(bench.directory.path().join("source"), format!("{url} {digest}")).unwrap();
    let mut killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fetch::kill::a_process_killed_at_90_percent_costs_less_than_15_percent_again"])
        .env(TOLD, bench.directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let partial = bench.partial(&body);
    until("90% are there", || std::fs::metadata(&partial).is_ok_and(|found| found.len() >= SIZE as u64 / 10 * 9)).await;
    // Child::kill is SIGKILL.
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(bench.cached(), [format!("{}.partial", Digest::of(&body))]);
    let fetched = bench.fetcher().fetch_all(vec![request(&body, &url)]).await.unwrap().kept().await.unwrap();
    assert_eq!(std::fs::read(fetched[0].path()).unwrap(), body);
    let sent: usize = bench.server.seen()[1..].iter().map(|seen| seen.sent).sum();
    println!("after a kill at 90%: {sent} of {SIZE} bytes were sent again, {}%", sent * 100 / SIZE);
    assert!(sent * 100 <= SIZE * 15, "{sent} bytes");
}

async fn client(directory: &Path) {
    let sources = hostlet::config::Sources { ca_file: Some(directory.join("ca.pem")), ..hostlet::config::Sources::default() };
    let events = Arc::new(hostlet::output::Silent);
    let fetcher = hostlet::fetch::Fetcher::new(&sources, directory.join("cache"), events).unwrap();
    let text = std::fs::read_to_string(directory.join("source")).unwrap();
    let (url, digest) = text.split_once(' ').unwrap();
    let mut request = request(b"", &url.parse().unwrap());
    request.artifact.digest = digest.parse().unwrap();
    fetcher.fetch_all(vec![request]).await.unwrap().kept().await.unwrap();
}
