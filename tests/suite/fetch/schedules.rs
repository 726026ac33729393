//! Sources that fail at random: the file is right, or the run fails with exit code 4 and says why; nothing else.

use std::{path::Path, sync::Arc, time::Duration};

use hostlet::{
    config::{Site, Sources},
    fetch::{Fetcher, Request, Verified},
    model::{Component, Digest, SignaturePolicy},
    output::Silent,
    pipeline::Failure,
};

use super::{
    bench::{artifact, content, names},
    server::{Answer, Server},
};

/// So many schedules; `HOSTLET_SCHEDULES=500` for the figures.
const SCHEDULES: u64 = 24;
/// So many run at once: most of their time they wait.
const AT_ONCE: usize = 12;

/// Numbers from a seed (SplitMix64), so that a schedule can be had again.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn fault(&mut self, size: usize) -> Answer {
        let at = self.below(size);
        match self.below(14) {
            0..=2 => Answer::CutAfter(at),
            3 => Answer::StallAfter(at),
            4 => Answer::IgnoreRange,
            5 => Answer::Corrupt(at),
            6 => Answer::WrongRange(1 + at),
            7 => Answer::LyingRange,
            8 => Answer::Short(1 + at),
            9 => Answer::Long(1 + at),
            10 => Answer::Encoded,
            11 => Answer::Status([404, 429, 500, 503][self.below(4)], ""),
            12 => Answer::Garbage,
            _ => Answer::Instead("text/html", "<!doctype html><title>Portal</title>"),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    right: u32,
    refused: u32,
    requests: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_sources_do_the_file_is_right_or_the_run_fails_with_exit_code_4() {
    let count =
        std::env::var("HOSTLET_SCHEDULES").map_or(SCHEDULES, |text| text.parse().expect("HOSTLET_SCHEDULES is a number"));
    let first = std::env::var("HOSTLET_SCHEDULE").map_or(0, |text| text.parse().expect("HOSTLET_SCHEDULE is a number"));
    let mut running = tokio::task::JoinSet::new();
    let mut tally = Tally::default();
    let mut add = |(right, requests): (bool, usize)| {
        tally.requests += requests;
        if right { tally.right += 1 } else { tally.refused += 1 }
    };
    for seed in first..first + count {
        if running.len() == AT_ONCE {
            add(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(schedule(seed));
    }
    while let Some(done) = running.join_next().await {
        add(done.unwrap());
    }
    println!("{count} schedules: {} files right, {} runs refused, {} requests", tally.right, tally.refused, tally.requests);
    assert!(tally.right > 0 && (tally.refused > 0 || count < 20), "the dice are not loaded: {tally:?}");
}

/// Says whether the file came, and how many requests that took.
async fn schedule(seed: u64) -> (bool, usize) {
    let mut dice = Dice(seed);
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, &server.authority).unwrap();
    let body = content(1000 + dice.below(300_000));
    let sites = (0..=dice.below(3)).map(|number| {
        let path = format!("/{number}");
        let script: Vec<_> = (0..dice.below(6)).map(|_| dice.fault(body.len())).collect();
        let url = server.put(&path, &body, script);
        if dice.below(4) == 0 {
            server.always(&path, dice.fault(body.len()));
        }
        Site::of(url)
    });
    let request =
        Request { artifact: artifact(Component::Kubelet, &body), sites: sites.collect(), signature: SignaturePolicy::Off };
    let cache = directory.path().join("cache");
    if dice.below(4) == 0 {
        std::fs::create_dir(&cache).unwrap();
        let partial = cache.join(format!("{}.partial", Digest::of(&body)));
        let kept = dice.below(body.len());
        // What a killed run left: of this file, or of another.
        std::fs::write(partial, &content(body.len() + 8)[8 * dice.below(2)..][..kept]).unwrap();
    }
    let stall_timeout = Duration::from_millis(400);
    let sources = Sources { ca_file: Some(ca_file), stall_timeout, ..Sources::default() };
    let client = Fetcher::new(&sources, cache.clone(), Arc::new(Silent)).unwrap();
    let outcome = tokio::select! {
        outcome = async { client.fetch_all(vec![request]).await?.kept().await } => outcome,
        () = watch(&cache, &body) => unreachable!(),
    };
    no_wrong_byte(&cache, &body);
    match outcome {
        Ok(fetched) => {
            assert_eq!(std::fs::read(fetched.first().map(Verified::path).unwrap()).unwrap(), body, "schedule {seed}");
            assert!(!names(&cache).iter().any(|name| name.contains(".partial") || name.contains(".origin")), "schedule {seed}");
            (true, server.seen().len())
        }
        Err(error) => {
            assert!(!error.remedy().is_empty(), "schedule {seed}: {error}");
            let failure = Failure::from(error);
            assert_eq!(failure.outcome().exit_code(), 4, "schedule {seed}: {failure}");
            assert!(!cache.join(Digest::of(&body).to_string()).exists(), "schedule {seed}: {failure}");
            (false, server.seen().len())
        }
    }
}

/// What has a final name is right at every moment.
async fn watch(cache: &Path, body: &[u8]) {
    loop {
        no_wrong_byte(cache, body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn no_wrong_byte(cache: &Path, body: &[u8]) {
    for name in names(cache) {
        if name.parse::<Digest>().is_ok() {
            assert!(std::fs::read(cache.join(&name)).unwrap() == body, "{name} is visible and wrong");
        }
    }
}
