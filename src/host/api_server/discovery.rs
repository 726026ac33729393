//! Discovery of a cluster's authority by a bootstrap token and the hash of its public key, as `kubeadm join` does it.
//!
//! Promise: an authority is believed when the token's secret half signed it and its public key has a hash that the user
//! gave; then it vouches for the server in a second connection, which must say the same. Nothing secret is sent: the token
//! is the key of a signature and stays here. Source: kubeadm's design, "Discovery by token".

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;
use url::Url;
use webpki::EndEntityCert;

use super::{
    Progress, Unreachable,
    cluster_info::{self, Halves},
    connection::{Connection, Response},
    trust::{self, Authorities},
};
use crate::model::{Digest, Secret};

/// Why a cluster's authority was not found.
#[derive(Debug, thiserror::Error)]
pub enum NotDiscovered {
    /// The API server cannot be asked.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// There is no token to discover it with.
    #[error("the cluster's authority is discovered with a bootstrap token, and there is none that can be read")]
    NoToken,
    /// The token is no bootstrap token.
    #[error("the bootstrap token is not of the form abcdef.0123456789abcdef")]
    NotAToken,
    /// The cluster does not publish itself.
    #[error("it answers {0} for the ConfigMap cluster-info in kube-public")]
    NotPublished(http::StatusCode),
    /// Nothing there is signed with the token.
    #[error(
        "the cluster does not know the bootstrap token {id}: nothing in the ConfigMap cluster-info is signed with it ({others} \
         other tokens are); it has expired, or is another cluster's"
    )]
    NotSigned {
        /// The token's public half.
        id: String,
        /// How many others are known.
        others: usize,
    },
    /// It is signed with another secret.
    #[error(
        "the ConfigMap cluster-info is not signed with the secret half of the bootstrap token {id}: the token is wrong, or somebody answers in the \
         cluster's place"
    )]
    WrongSecret {
        /// The token's public half.
        id: String,
    },
    /// It cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The authority is another one.
    #[error("the cluster's authority has the public key sha256:{found}, and cluster.ca-hash allows {}", allowed(wanted))]
    OtherAuthority {
        /// Its hash.
        found: String,
        /// Those that are allowed.
        wanted: Vec<Digest>,
    },
    /// What the verified server says is not what was discovered.
    #[error("the API server that the discovered authority vouches for publishes another cluster-info")]
    Changed,
}

fn allowed(wanted: &[Digest]) -> String {
    wanted.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>().join(", ")
}

impl NotDiscovered {
    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(why) => why.is_transient(),
            // kubeadm waits for both, too: the controller signs a moment after a token was made.
            Self::NotPublished(_) | Self::NotSigned { .. } | Self::Changed => true,
            Self::NoToken | Self::NotAToken | Self::WrongSecret { .. } | Self::Unusable(_) | Self::OtherAuthority { .. } => {
                false
            }
        }
    }

    /// What to do about it, where it is not the connection.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "set cluster.server to the API server's URL, and open the way to it",
            Self::NoToken | Self::NotAToken | Self::NotSigned { .. } | Self::WrongSecret { .. } => {
                "on a control-plane node: kubeadm token create; write what it prints into the file that cluster.token-file names"
            }
            Self::NotPublished(_) | Self::Unusable(_) | Self::Changed => {
                "on a control-plane node: kubeadm init phase bootstrap-token publishes cluster-info; or give the authority itself with \
                 cluster.ca-file"
            }
            Self::OtherAuthority { .. } => {
                "kubeadm token create --print-join-command, on a control-plane node of this cluster, prints the hash; if it is \
                 the one you have given, somebody answers in the cluster's place"
            }
        }
    }
}

/// Finds the authority, as PEM, within the limit.
pub async fn discover(
    server: &Url,
    token: &Secret<String>,
    wanted: &[Digest],
    limit: Duration,
) -> Result<String, NotDiscovered> {
    let progress = Progress::new();
    let found = timeout(limit, run(server, token.expose(), wanted, &progress)).await;
    found.unwrap_or_else(|_| Err(progress.out_of_time(server, limit).into()))
}

async fn run(server: &Url, token: &str, wanted: &[Digest], progress: &Progress) -> Result<String, NotDiscovered> {
    let token = Halves::of(token).ok_or(NotDiscovered::NotAToken)?;
    let mut stranger = Connection::open(server, trust::anyone()?, progress).await?;
    let told = published(&stranger.get(server, cluster_info::PATH, None).await?, &token)?;
    let authority = cluster_info::authority(&told)?;
    let authority = pinned(&authority, wanted)?;
    let authorities = Authorities::parse(authority.as_bytes(), Timestamp::now())?;
    let mut vouched = Connection::open(server, authorities.client(None, None)?, progress).await?;
    let again = published(&vouched.get(server, cluster_info::PATH, None).await?, &token)?;
    if again == told { Ok(authority) } else { Err(NotDiscovered::Changed) }
}

fn published(response: &Response, token: &Halves<'_>) -> Result<String, NotDiscovered> {
    if response.status != http::StatusCode::OK {
        return Err(NotDiscovered::NotPublished(response.status));
    }
    cluster_info::verified(&response.body, token)
}

/// Only the certificates of the bundle that were pinned: kubeadm takes a bundle for one pin in it, and then trusts all.
pub fn pinned(bundle: &str, wanted: &[Digest]) -> Result<String, NotDiscovered> {
    let unusable =
        |why: &dyn std::fmt::Display| NotDiscovered::Unusable(format!("its certificate authority cannot be read: {why}"));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect();
    let (mut kept, mut found) = (String::new(), Vec::new());
    for certificate in certificates.map_err(|error| unusable(&error))? {
        let parsed = EndEntityCert::try_from(&certificate).map_err(|error| unusable(&error))?;
        let hash = Digest::of(&parsed.subject_public_key_info());
        if wanted.contains(&hash) {
            kept.push_str(&pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec())));
        }
        found.push(hash.to_string());
    }
    if kept.is_empty() {
        let found = if found.is_empty() { "of no certificate".to_owned() } else { found.join(", sha256:") };
        return Err(NotDiscovered::OtherAuthority { found, wanted: wanted.to_vec() });
    }
    Ok(kept)
}
