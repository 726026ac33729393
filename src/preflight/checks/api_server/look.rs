//! The look at the API server that the checks share, and what it is asked with.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{CertificateAuthority, Cluster},
    facts,
    host::{
        api_server::{self, Answers, ClientCertificate, Credential, Door, NotDiscovered, Question},
        detached, files, look,
    },
    model::{Digest, layout},
    preflight::{Subject, check::Unclear, subject::Seen},
};

/// What is left of the deadline for saying what was seen last.
const TO_ANSWER: Duration = Duration::from_millis(200);
/// A look that ended so long ago is over: who looks again wants to know how it is now.
const FRESH: Duration = Duration::from_millis(150);
pub(super) fn certificate_path(subject: &Subject) -> PathBuf {
    subject.settings.kubelet.root_directory.join("pki/kubelet-client-current.pem")
}

/// Without its kubeconfig the kubelet does not use the certificate.
pub(super) fn has_certificate(subject: &Subject) -> bool {
    certificate_path(subject).is_file() && look::exists(Path::new(layout::KUBELET_KUBECONFIG))
}

/// The node's own certificate, or else what it bootstraps with: as the kubelet itself does.
pub(super) fn credential(subject: &Subject, cluster: &Cluster) -> Result<Option<Credential>, String> {
    if has_certificate(subject) {
        let read = ClientCertificate::read(&certificate_path(subject));
        return read.map(|read| Some(Credential::Certificate(read))).map_err(|error| error.to_string());
    }
    let Some(credential) = &cluster.credential else { return Ok(None) };
    let identity = facts::identity(credential).map_err(|error| error.to_string())?;
    identity.credential().map(Some)
}

/// What has to be known before the API server is asked. Reading files may block.
struct Known {
    /// The cluster's authority, or the hashes of those that may be discovered.
    authority: Result<Vec<u8>, Vec<Digest>>,
    credential: Option<Credential>,
}

fn read(subject: &Subject, cluster: &Cluster) -> Result<Known, Unclear> {
    let authority = match &cluster.certificate_authority {
        CertificateAuthority::Inline(pem) => Ok(pem.clone().into_bytes()),
        CertificateAuthority::File(path) => Ok(files::read(path)?),
        CertificateAuthority::Discovered(hashes) => Err(hashes.clone()),
    };
    // A credential that cannot be used is node-name-free's finding.
    Ok(Known { authority, credential: credential(subject, cluster).unwrap_or_default() })
}

async fn look(subject: &Subject, cluster: &Cluster, known: &Known, until: Instant) -> Result<(Answers, String), NotDiscovered> {
    let left = || until.saturating_duration_since(Instant::now()).saturating_sub(TO_ANSWER);
    let authority = match (&known.authority, &known.credential) {
        (Ok(authority), _) => Cow::Borrowed(authority),
        (Err(hashes), Some(Credential::Token(token))) => {
            Cow::Owned(api_server::discover(&cluster.server, token, hashes, left()).await?.into_bytes())
        }
        (Err(_), _) => return Err(NotDiscovered::NoToken),
    };
    let door = Door { server: &cluster.server, authority: &authority, credential: known.credential.as_ref() };
    let question = Question { door, node: subject.identity.name.as_str() };
    let answers = api_server::ask(&question, left()).await?;
    Ok((answers, String::from_utf8_lossy(&authority).into_owned()))
}

/// The one look, by whichever of the three comes first. What went well is not looked at again.
pub(super) async fn answers(
    subject: &Arc<Subject>,
    cluster: &Cluster,
    until: Instant,
) -> Result<Arc<Result<Answers, NotDiscovered>>, Unclear> {
    let begun = Instant::now();
    let mut last = subject.looks.api_server.lock().await;
    if let Some(seen) = last.as_ref().filter(|seen| seen.answers.is_ok() || seen.ended + FRESH >= begun) {
        return Ok(Arc::clone(&seen.answers));
    }
    let (reader, wanted) = (Arc::clone(subject), cluster.clone());
    let known = detached::run("credentials", move || read(&reader, &wanted)).await??;
    let (answers, authority) = match look(subject, cluster, &known, until).await {
        Ok((answers, authority)) => (Ok(answers), Some(authority)),
        Err(why) => (Err(why), None),
    };
    let answers = Arc::new(answers);
    *last = Some(Seen { ended: Instant::now(), answers: Arc::clone(&answers), authority });
    Ok(answers)
}
