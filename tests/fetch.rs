//! The client of `tests/measure-fetch`: fetches files as `hostlet install` does, and says when they were verified and how much
//! memory that took. Arguments: the cache's directory, the authority's PEM file, then a URL and a digest for each file.
//!
//! With `--floor DIRECTORY MEGABYTES` it does instead, one after the other and as simply as can be, what no client can do
//! without: receive, decrypt, hash and write so many bytes; and says how much of a processor each took.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout, reason = "it measures from outside")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hostlet::{
    config::{Site, Sources},
    fetch::{Fetcher, Request},
    model::{Architecture, Artifact, Component, DigestOrigin, Hasher, SignaturePolicy, Version},
    output::Silent,
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// What a TLS record carries at most.
const RECORD: usize = 16 * 1024;
/// What is hashed and written at once.
const PIECE: usize = 32 * 1024;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("--floor").is_some() {
        let directory = PathBuf::from(arguments.next().context("no directory")?);
        return floor(&directory, arguments.next().context("no size")?.parse::<usize>()? << 20);
    }
    let cache = PathBuf::from(arguments.next().context("no cache")?);
    let ca_file = arguments.next().map(PathBuf::from);
    let mut requests = Vec::new();
    while let (Some(url), Some(digest)) = (arguments.next(), arguments.next()) {
        let artifact = Artifact {
            component: Component::Kubelet,
            version: Version::new(1, 36, 4),
            architecture: Architecture::Amd64,
            digest: digest.parse()?,
            origin: DigestOrigin::Configuration,
        };
        requests.push(Request { artifact, sites: vec![Site::of(url.parse()?)], signature: SignaturePolicy::Off });
    }
    let sources = Sources { ca_file, components: BTreeMap::new(), ..Sources::default() };
    // As the program's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fetcher = Fetcher::new(&sources, cache, Arc::new(Silent))?;
    let kept = runtime.block_on(async {
        let obtained = fetcher.fetch_all(requests).await?;
        let verified = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok::<_, hostlet::fetch::FetchError>((verified, obtained.kept().await?.len()))
    });
    let (verified, files) = match kept {
        Ok(kept) => kept,
        Err(error) => bail!("{error}\n{}", error.remedy()),
    };
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    println!("{:.6} {files} {}", verified.as_secs_f64(), peak.trim());
    Ok(())
}

/// The processor time of this thread until now.
fn spent() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let of = |time: nix::sys::time::TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// Prints a line for each part: its name, and milliseconds of a processor.
fn floor(directory: &Path, size: usize) -> Result<()> {
    let measured = |name: &str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let before = spent()?;
        work()?;
        println!("{name} {}", spent()?.saturating_sub(before).as_millis());
        Ok(())
    };
    let mut piece = vec![7; PIECE];
    let mut stream = served(size)?;
    measured("receive", &mut || {
        while stream.read(&mut piece)? > 0 {}
        Ok(())
    })?;
    let key = UnboundKey::new(&AES_256_GCM, &[1; 32]).map(LessSafeKey::new).map_err(|_| anyhow::anyhow!("no AES-256-GCM"))?;
    let mut record = vec![7; RECORD];
    measured("decrypt", &mut || {
        // Counter mode: one way takes as long as the other.
        for _ in 0..size / RECORD {
            let (nonce, header) = (Nonce::assume_unique_for_key([0; 12]), Aad::from([0; 5]));
            let sealed = key.seal_in_place_separate_tag(nonce, header, &mut record);
            sealed.map(drop).map_err(|_| anyhow::anyhow!("cannot encrypt"))?;
        }
        Ok(())
    })?;
    let mut hasher = Hasher::default();
    measured("hash", &mut || {
        (0..size / PIECE).for_each(|_| hasher.update(&piece));
        Ok(())
    })?;
    let mut file = std::fs::File::create_new(directory.join("floor"))?;
    measured("write", &mut || (0..size / PIECE).try_for_each(|_| file.write_all(&piece)).map_err(Into::into))?;
    Ok(())
}

/// So many bytes come from it, as a server would send them.
fn served(size: usize) -> Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut client, _) = listener.accept()?;
    thread::spawn(move || {
        let record = vec![7; RECORD];
        (0..size / RECORD).try_for_each(|_| client.write_all(&record))
    });
    Ok(stream)
}
