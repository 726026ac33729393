//! `hostlet bundle`

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Done, absolute, context_of, settings};
use crate::{
    cli::{BundleCommand, Global, OutputFormat},
    config::Bundle,
    facts,
    fetch::{self, BundleError, Checked, FetchError},
    host::capabilities,
    model::{Architecture, Signature, layout},
    output::{self, Events},
    pipeline::{Context, Failure, collect_for_bundle},
};

/// Standard output, or standard input.
const STREAM: &str = "-";

pub(super) async fn run(global: &Global, events: Events, command: BundleCommand) -> Result<Done, Failure> {
    match command {
        BundleCommand::Create { to, arch, cache } => create(global, events, &to, arch, cache).await,
        BundleCommand::Verify { file, digest, minisign_key: key } => {
            let bundle = Bundle { path: file, digest, key };
            let (checked, path) = look(bundle).await?;
            let text = format!(
                "{} is whole: {} artifacts, {} bytes\nmanifest sha256:{}\n",
                path.display(),
                checked.manifest.artifacts.len(),
                checked.size,
                checked.digest
            );
            Done::new(&text, &described(&checked))
        }
        BundleCommand::List { file } => {
            let (checked, _) = look(Bundle { path: file, digest: None, key: None }).await?;
            Done::new(&table(&checked), &described(&checked))
        }
    }
}

async fn look(bundle: Bundle) -> Result<(Checked, PathBuf), Failure> {
    let path = bundle.path.clone();
    let fail = FetchError::bundle(&path);
    let looked = tokio::task::spawn_blocking(move || {
        if bundle.path != Path::new(STREAM) {
            return fetch::look(&bundle);
        }
        if bundle.key.is_some() {
            let found = "a stream has no signature beside it: name the file".to_owned();
            return Err(BundleError::NotABundle(found));
        }
        fetch::look_at_stream(io::stdin().lock(), bundle.digest)
    });
    let looked = looked.await.map_err(|error| Failure::Bug(error.to_string()))?;
    Ok((looked.map_err(fail)?, path))
}

async fn create(
    global: &Global,
    events: Events,
    to: &Path,
    arch: Vec<Architecture>,
    cache: Option<PathBuf>,
) -> Result<Done, Failure> {
    if to == Path::new(STREAM) && matches!(global.output, OutputFormat::Json) {
        return Err(Failure::StreamWithJson);
    }
    let arch = if arch.is_empty() { vec![this_machines()?] } else { arch };
    // Somebody who is not root may make a bundle, too: with downloads that go again.
    let temporary = (cache.is_none() && !capabilities::is_root()).then(tempfile::tempdir).transpose();
    let temporary = temporary.map_err(|error| Failure::Bug(format!("making a temporary directory: {error}")))?;
    let kept = temporary.as_ref().map_or_else(|| layout::CACHE.into(), |directory| directory.path().to_owned());
    let context = Context { cache: absolute(&cache.unwrap_or(kept))?, ..context_of(settings(global)?, events) };
    let (artifacts, keeping) = collect_for_bundle(&context, &arch).await?;
    let created = jiff::Timestamp::now().to_string();
    let target = if to == Path::new(STREAM) { to.to_owned() } else { absolute(to)? };
    let fail = FetchError::bundle(to);
    let written = tokio::task::spawn_blocking(move || {
        if target == Path::new(STREAM) {
            let digest = fetch::stream(io::stdout().lock(), &artifacts, &created)?;
            return Ok((digest, None));
        }
        fetch::create(&target, &artifacts, &created).map(|checked| (checked.digest, Some(checked)))
    });
    let written = written.await.map_err(|error| Failure::Bug(error.to_string()))?;
    let (digest, checked) = written.map_err(fail)?;
    keeping.finish().await?;
    let Some(checked) = checked else {
        // Standard output is the bundle.
        output::print_message(&format!("manifest sha256:{digest}"));
        return Done::new(&"", &json!({ "manifest-digest": digest })).map(Done::silent);
    };
    let text = format!(
        "{}\n{} has {} bytes. Pin it where it is installed: sources.bundle-digest = \"{digest}\"\n",
        table(&checked),
        to.display(),
        checked.size
    );
    Done::new(&text, &described(&checked))
}

fn this_machines() -> Result<Architecture, Failure> {
    let machine = facts::node().machine;
    let unknown = || Failure::Bug(format!("this machine is a {machine}: name --arch amd64 or arm64"));
    Architecture::from_machine(&machine).ok_or_else(unknown)
}

fn described(checked: &Checked) -> serde_json::Value {
    json!({ "manifest-digest": checked.digest, "size": checked.size, "manifest": checked.manifest })
}

fn table(checked: &Checked) -> String {
    let mut text = String::new();
    for record in &checked.manifest.artifacts {
        let signature = match &record.signature {
            Signature::Verified(signed) => signed.to_string(),
            Signature::Unverified { reason } => format!("who signed it is not verified: {reason}"),
            Signature::NotAsked => "no signature was asked for".to_owned(),
        };
        text.push_str(&format!(
            "{:<12} {:<16} {} {:>10} bytes  sha256 {}\n{:13}{signature}\n",
            record.component.to_string(),
            record.version.to_string(),
            record.architecture,
            record.size,
            record.digest,
            ""
        ));
    }
    text.push_str(&format!("manifest sha256:{}\n", checked.digest));
    text
}
