//! `[cluster]`

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use super::kubelet::within;

use crate::{
    config::{
        problems::Problems,
        raw::RawCluster,
        settings::{CertificateAuthority, Cluster, JoinCredential},
    },
    model::{Cidr, Digest},
};

pub(super) fn cluster(raw: RawCluster, problems: &mut Problems<'_>) -> Option<Cluster> {
    let server = problems.value(raw.server);
    let ca_file = problems.value(raw.ca_file).map(|path| CertificateAuthority::File(path.0));
    let ca_text = problems.value(raw.ca);
    let ca_hashes = problems.list(raw.ca_hash.0).into_iter().map(|(hash, _)| hash.0).collect();
    let token_file = problems.value(raw.token_file).map(|path| path.0);
    let kubeconfig = problems.value(raw.kubeconfig_file).map(|path| path.0);
    let certificate = problems.value(raw.client_certificate_file).map(|path| path.0);
    let key = problems.value(raw.client_key_file).map(|path| path.0);
    let dns: Vec<IpAddr> = problems.list(raw.dns.0).into_iter().map(|(address, _)| address.0).collect();
    let domain = problems.value(raw.domain).map_or_else(|| "cluster.local".to_owned(), |domain| domain.0);
    let service_cidr = problems.value(raw.service_cidr);
    let (least, most) = (Duration::from_secs(1), Duration::from_hours(24));
    let ready_timeout = within(raw.ready_timeout, Cluster::READY_TIMEOUT, least, most, problems);
    if !problems.mentioned("cluster") {
        return None;
    }
    if !problems.mentioned("cluster.server") {
        let problem = problems.add_at_key(&["cluster"], "[cluster] has no server");
        problem.help.push("give the API server's URL: server = \"https://10.0.1.1:6443\"".to_owned());
    }
    in_one_place(problems, "cluster.dns", "kubelet.config.clusterDNS");
    in_one_place(problems, "cluster.domain", "kubelet.config.clusterDomain");
    let certificate_authority = authority(ca_file, ca_text, ca_hashes, token_file.is_some(), problems);
    let credential = credential(token_file, kubeconfig, certificate.zip(key), problems);
    let dns = if dns.is_empty() { vec![default_dns(service_cidr)] } else { dns };
    Some(Cluster {
        server: server?.0,
        certificate_authority: certificate_authority?,
        credential,
        dns,
        domain,
        service_cidr,
        ready_timeout,
    })
}

/// At most one of the three ways.
fn credential(
    token_file: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    problems: &mut Problems<'_>,
) -> Option<JoinCredential> {
    let mentioned = |problems: &Problems<'_>, key: &str| problems.mentioned(&format!("cluster.{key}"));
    for (given, lacking) in [("client-certificate-file", "client-key-file"), ("client-key-file", "client-certificate-file")] {
        if mentioned(problems, given) && !mentioned(problems, lacking) {
            let problem = problems.add_at_key(&[&format!("cluster.{given}")], format!("{given} is given without {lacking}"));
            problem.help.push("give both: the certificate, and the key that it is for".to_owned());
        }
    }
    let keys = ["token-file", "kubeconfig-file", "client-certificate-file"];
    let given: Vec<&str> = keys.into_iter().filter(|key| mentioned(problems, key)).collect();
    if let [.., last] = given.as_slice()
        && given.len() > 1
    {
        let message = format!("{} are given, and a node bootstraps with one of them", given.join(" and "));
        problems.add_at_key(&[&format!("cluster.{last}")], message).help.push("give exactly one of them".to_owned());
        return None;
    }
    let certificate = certificate.map(|(certificate, key)| JoinCredential::Certificate { certificate, key });
    token_file.map(JoinCredential::TokenFile).or(kubeconfig.map(JoinCredential::Kubeconfig)).or(certificate)
}

/// Exactly one of the three ways.
fn authority(
    file: Option<CertificateAuthority>,
    text: Option<String>,
    hashes: Vec<Digest>,
    has_token: bool,
    problems: &mut Problems<'_>,
) -> Option<CertificateAuthority> {
    let given: Vec<&str> =
        ["ca-file", "ca", "ca-hash"].into_iter().filter(|key| problems.mentioned(&format!("cluster.{key}"))).collect();
    match given.as_slice() {
        [] => {
            let problem = problems.add_at_key(&["cluster"], "[cluster] has no certificate authority");
            problem.help.push(
                "give ca-file = \"/etc/kubernetes/pki/ca.crt\", the PEM text as ca, or the hash that `kubeadm token create \
                 --print-join-command` prints as ca-hash"
                    .to_owned(),
            );
            None
        }
        ["ca-file"] => file,
        ["ca"] => text.and_then(|text| pem(text, problems)),
        ["ca-hash"] if !has_token => {
            let problem =
                problems.add_at_key(&["cluster.ca-hash"], "an authority is discovered with a token, and there is none");
            problem
                .help
                .push("name the file that holds the bootstrap token: token-file = \"/etc/hostlet/bootstrap-token\"".to_owned());
            None
        }
        ["ca-hash"] => (!hashes.is_empty()).then_some(CertificateAuthority::Discovered(hashes)),
        several => {
            let last = several.last().copied().unwrap_or_default();
            let all = if several.len() == 2 { "both" } else { "all of" };
            let message = format!("{all} {} are given", several.join(" and "));
            problems.add_at_key(&[&format!("cluster.{last}")], message).help.push("give exactly one of them".to_owned());
            None
        }
    }
}

fn in_one_place(problems: &mut Problems<'_>, ours: &str, kubelets: &str) {
    if problems.mentioned(ours) && problems.mentioned(kubelets) {
        let problem = problems.add_at_key(&[kubelets], format!("this is given here and as {ours}"));
        problem.help.push("give it in one place".to_owned());
    }
}

/// The tenth address of the services' network, as kubeadm and kube-dns' manifests have it; kubeadm's own network when
/// none is given.
fn default_dns(service_cidr: Option<Cidr>) -> IpAddr {
    match service_cidr.map(Cidr::base) {
        Some(IpAddr::V4(base)) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().saturating_add(10))),
        Some(IpAddr::V6(base)) => IpAddr::V6((base.to_bits().saturating_add(10)).into()),
        None => IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
    }
}

fn pem(text: String, problems: &mut Problems<'_>) -> Option<CertificateAuthority> {
    let marked = |mark: &str| text.contains(&format!("-----{mark} CERTIFICATE-----"));
    if text.contains("PRIVATE KEY") {
        let problem = problems.add_at_key(&["cluster.ca"], "cluster.ca holds a private key");
        problem.help.push("give certificates only; the authority's key never leaves the control plane".to_owned());
        return None;
    }
    if !marked("BEGIN") || !marked("END") {
        let problem = problems.add_at_key(&["cluster.ca"], "cluster.ca is not a PEM certificate");
        problem.help.push("it starts with -----BEGIN CERTIFICATE-----; a file's path belongs into ca-file".to_owned());
        return None;
    }
    Some(CertificateAuthority::Inline(text))
}
