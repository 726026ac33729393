//! The client of `tests/measure-fetch`: fetches files as `hostlet install` does, and says how much memory that took.
//! Arguments: the cache's directory, the authority's PEM file, then a URL and a digest for each file.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures from outside")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use hostlet::{
    config::{Site, Sources},
    fetch::{Fetcher, Request},
    model::{Architecture, Artifact, Component, DigestOrigin, SignaturePolicy, Version},
    output::Silent,
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
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
    let fetched = runtime.block_on(Fetcher::new(&sources, cache, Arc::new(Silent))?.fetch_all(requests));
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => bail!("{error}\n{}", error.remedy()),
    };
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    println!("{} {}", fetched.len(), peak.trim());
    Ok(())
}
