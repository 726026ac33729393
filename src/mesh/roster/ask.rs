//! Asks the API server for the cluster's Nodes, as flannel: it may list them (facts: flanneld), and neither a bootstrap token
//! nor a kubelet may.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Gap, Roster};
use crate::{
    config::{CertificateAuthority, Cluster, Datastore, FlannelIdentity, Settings},
    host::{
        api_server::{self, Credential, Door, NodesAnswer, NotDiscovered, Unreachable},
        detached, files, kubeconfig,
    },
    model::{Digest, Secret},
};

/// How long one answer of all pages may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two tries, while there is time to wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks, and again while it may help and `patience` lasts.
pub async fn ask(settings: &Settings, patience: Duration) -> Roster {
    let (Some(cluster), Some(identity)) = (&settings.cluster, identity(settings)) else {
        return Roster::unknown(Gap {
            observed: "there is neither [cluster] nor an identity of flannel's to ask the API server with".to_owned(),
            remedy: "give [cluster] and [flannel] token-file, or list the nodes as mesh.peers".to_owned(),
        });
    };
    let begun = Instant::now();
    loop {
        match once(cluster, identity).await {
            Ok(roster) => return roster,
            Err(Failed { gap, transient }) => {
                if !transient || begun.elapsed() + PAUSE >= patience {
                    return Roster::unknown(gap);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn identity(settings: &Settings) -> Option<&FlannelIdentity> {
    match &settings.flannel.as_ref()?.datastore {
        Datastore::Kube(identity) => Some(identity),
        Datastore::Etcd { .. } => None,
    }
}

struct Failed {
    gap: Gap,
    transient: bool,
}

impl Failed {
    fn new(observed: String, remedy: impl Into<String>) -> Self {
        Self { gap: Gap { observed, remedy: remedy.into() }, transient: false }
    }
}

async fn once(cluster: &Cluster, identity: &FlannelIdentity) -> Result<Roster, Failed> {
    let path = match identity {
        FlannelIdentity::Kubeconfig(path) | FlannelIdentity::TokenFile(path) => path.display().to_string(),
    };
    let (authority, credential) = match credential(cluster, identity, LIMIT).await {
        Ok(known) => known,
        Err(Unusable::File(why)) => {
            return Err(Failed::new(why, format!("write the token of flannel's ServiceAccount into {path}: {TOKEN}")));
        }
        Err(Unusable::NotDiscovered(why)) => {
            let remedy = "the check apiserver tells what to do; or list the nodes as mesh.peers";
            return Err(Failed { transient: why.is_transient(), ..Failed::new(why.to_string(), remedy) });
        }
    };
    let door = Door { server: &cluster.server, authority: &authority, credential: Some(&credential) };
    match api_server::nodes(door, LIMIT).await {
        Ok(NodesAnswer::Listed(nodes)) => Ok(Roster::listed(nodes)),
        Ok(NodesAnswer::Unauthorized) => Err(Failed::new(
            format!("the API server does not take flannel's credential in {path} (401): it is wrong or has expired"),
            format!("write a new one into {path}: {TOKEN}"),
        )),
        Ok(NodesAnswer::Forbidden) => Err(Failed::new(
            format!("flannel's identity in {path} may not list Nodes (403)"),
            "bind it to flannel's ClusterRole, which has get, list and watch on nodes (kube-flannel.yml); to see: kubectl auth \
             can-i list nodes --as system:serviceaccount:kube-flannel:flannel",
        )),
        Ok(NodesAnswer::Unclear(why)) => Err(Failed { transient: true, ..Failed::new(why, "look at the API server's log") }),
        Err(why) => Err(Failed { transient: why.is_transient(), ..unreachable(cluster, &why) }),
    }
}

const TOKEN: &str = "kubectl -n kube-flannel create token flannel --duration 8760h";

fn unreachable(cluster: &Cluster, why: &Unreachable) -> Failed {
    Failed::new(format!("{}: {why}", cluster.server), "the check apiserver tells what to do; or list the nodes as mesh.peers")
}

/// Why flannel cannot ask the API server.
#[derive(Debug)]
pub enum Unusable {
    /// One of the files cannot be used.
    File(String),
    /// The cluster's authority is to be discovered, and is not.
    NotDiscovered(NotDiscovered),
}

/// The cluster's authority, discovered within the limit where only its hash is known, and who flannel is towards its API server.
///
/// # Errors
/// A file that cannot be used, or an authority that is not found.
pub async fn credential(
    cluster: &Cluster,
    identity: &FlannelIdentity,
    limit: Duration,
) -> Result<(Vec<u8>, Credential), Unusable> {
    let (wanted, who) = (cluster.clone(), identity.clone());
    let read = detached::run("credentials", move || read(&wanted, &who)).await;
    let (authority, credential) = read.map_err(|error| Unusable::File(error.to_string()))?.map_err(Unusable::File)?;
    let authority = match authority {
        Authority::Known(pem) => pem,
        Authority::Hashed(hashes, token) => {
            let token = token.ok_or(Unusable::NotDiscovered(NotDiscovered::NoToken))?;
            let found = api_server::discover(&cluster.server, &token, &hashes, limit).await;
            found.map_err(Unusable::NotDiscovered)?.into_bytes()
        }
    };
    Ok((authority, credential))
}

/// What the files say of the cluster's authority.
enum Authority {
    Known(Vec<u8>),
    /// The hashes that it may have, and the token to discover it with.
    Hashed(Vec<Digest>, Option<Secret<String>>),
}

fn read(cluster: &Cluster, identity: &FlannelIdentity) -> Result<(Authority, Credential), String> {
    let authority = match &cluster.certificate_authority {
        CertificateAuthority::Inline(pem) => Authority::Known(pem.clone().into_bytes()),
        CertificateAuthority::File(path) => Authority::Known(files::read(path).map_err(|error| error.to_string())?),
        CertificateAuthority::Discovered(hashes) => {
            let token = cluster.token_file().and_then(|path| files::read_text(path).ok());
            Authority::Hashed(hashes.clone(), token.map(|token| Secret::new(token.trim().to_owned())))
        }
    };
    let credential = match identity {
        FlannelIdentity::TokenFile(path) => token(path)?,
        FlannelIdentity::Kubeconfig(path) => kubeconfig::credential(path).map_err(|error| error.to_string())?,
    };
    Ok((authority, credential))
}

fn token(path: &Path) -> Result<Credential, String> {
    let token = files::read_text(path).map_err(|error| error.to_string())?;
    Ok(Credential::Token(Secret::new(token.trim().to_owned())))
}
