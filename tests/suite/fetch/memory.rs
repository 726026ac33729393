//! Memory does not grow with the files.

use std::{path::Path, process::Command};

use hostlet::{fetch::Request, model::Component};

use super::bench::{Bench, artifact, content};

/// The peak of this process's memory, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const TOLD: &str = "HOSTLET_TEST_FETCH_FROM";
const SIZE: usize = 100_000_000;

/// The process runs itself once more as the client, since the server has the content in its memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_files_of_100_mb_are_fetched_and_unpacked_in_less_than_32_mib() {
    if let Some(told) = std::env::var_os(TOLD) {
        return client(Path::new(&told)).await;
    }
    let bench = Bench::new().await;
    let body = content(SIZE);
    // Four digests, so that four files come at once.
    let mut lines = Vec::new();
    for number in 0..4_u8 {
        let mut body = body.clone();
        body[0] = number;
        let url = bench.server.put(&format!("/{number}"), &body, []);
        lines.push(format!("{url} {}", artifact(Component::Kubelet, &body).digest));
    }
    std::fs::write(bench.directory.path().join("sources"), lines.join("\n")).unwrap();
    let told = bench.directory.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "fetch::memory::four_files_of_100_mb_are_fetched_and_unpacked_in_less_than_32_mib",
                "--nocapture",
            ])
            .env(TOLD, told)
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown} {}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("peak of the client:"), "the client ran: {shown}");
    print!("{shown}");
}

async fn client(directory: &Path) {
    let sources = hostlet::config::Sources {
        ca_file: Some(directory.join("ca.pem")),
        stall_timeout: std::time::Duration::from_secs(30),
        attempts: 1,
        ..hostlet::config::Sources::default()
    };
    let events = std::sync::Arc::new(hostlet::output::Silent);
    let fetcher = hostlet::fetch::Fetcher::new(&sources, directory.join("cache"), events).unwrap();
    let text = std::fs::read_to_string(directory.join("sources")).unwrap();
    let requests = text.lines().map(|line| {
        let (url, digest) = line.split_once(' ').unwrap();
        let mut artifact = artifact(Component::Kubelet, b"");
        artifact.digest = digest.parse().unwrap();
        let sites = vec![hostlet::config::Site::of(url.parse().unwrap())];
        Request { artifact, sites, signature: hostlet::model::SignaturePolicy::Off }
    });
    let requests: Vec<_> = requests.collect();
    let before = peak();
    let begun = std::time::Instant::now();
    let files = fetcher.fetch_all(requests).await.unwrap().kept().await.unwrap();
    let took = begun.elapsed();
    assert_eq!(files.iter().map(hostlet::fetch::Verified::bytes).sum::<u64>(), 4 * SIZE as u64);
    files[0].unpack(directory).unwrap();
    let after = peak();
    println!("peak of the client: {after} KiB, {} KiB more than before; {took:?} for 400 MB", after - before);
    assert!(after - before < 32 * 1024, "{before} KiB before, {after} KiB after");
}
