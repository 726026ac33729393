//! The cluster's authority, where the configuration has its hash alone: from the generation in force, or from the cluster.

use std::time::{Duration, Instant};

use super::{Context, Failure};
use crate::{
    config::{CertificateAuthority, Cluster},
    facts,
    host::{api_server, files},
    model::Digest,
    output::Event,
};

/// One look at the cluster takes no longer.
const LOOK: Duration = Duration::from_millis(1_500);
/// Between two looks of one that waits.
const PAUSE: Duration = Duration::from_millis(250);

/// The same context, with an authority that was discovered in the place of its hash.
pub async fn discovered(context: &Context) -> Result<Context, Failure> {
    let Some((cluster, hashes)) = wanted(context) else { return Ok(context.clone()) };
    match kept(context)? {
        Some(settled) => Ok(settled),
        None => Ok(with(context, ask(context, cluster, hashes).await?)),
    }
}

/// The same with what an earlier run discovered: a later one needs neither token nor network for it.
pub(super) fn kept(context: &Context) -> Result<Option<Context>, Failure> {
    let Some((_, hashes)) = wanted(context) else { return Ok(None) };
    let bundle = files::if_present(files::read_text(&context.opt.join("current/etc/ca.crt")))?;
    let authority = bundle.and_then(|bundle| api_server::pinned(&bundle, hashes).ok());
    Ok(authority.map(|authority| with(context, authority)))
}

fn wanted(context: &Context) -> Option<(&Cluster, &[Digest])> {
    let cluster = context.settings.cluster.as_ref()?;
    match &cluster.certificate_authority {
        CertificateAuthority::Discovered(hashes) => Some((cluster, hashes)),
        CertificateAuthority::File(_) | CertificateAuthority::Inline(_) => None,
    }
}

fn with(context: &Context, authority: String) -> Context {
    let mut settled = context.clone();
    if let Some(cluster) = &mut settled.settings.cluster {
        cluster.certificate_authority = CertificateAuthority::Inline(authority);
    }
    settled
}

async fn ask(context: &Context, cluster: &Cluster, hashes: &[Digest]) -> Result<String, Failure> {
    let token = facts::bootstrap_token(cluster)?;
    let begun = Instant::now();
    loop {
        let error = match api_server::discover(&cluster.server, &token, hashes, LOOK).await {
            Ok(authority) => {
                let text =
                    format!("the authority of {} is discovered, and its public key is one that was given", cluster.server);
                context.events.emit(Event::Note { text });
                return Ok(authority);
            }
            Err(error) => error,
        };
        if !error.is_transient() || begun.elapsed() >= context.wait {
            return Err(Failure::NotDiscovered { server: cluster.server.to_string(), error: Box::new(error) });
        }
        tokio::select! {
            () = context.stop.cancelled() => return Err(Failure::Interrupted),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
