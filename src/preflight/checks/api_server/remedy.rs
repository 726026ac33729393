//! What helps against each cause that keeps the API server from being asked.

use crate::{
    config::{CertificateAuthority, Cluster},
    host::{
        api_server::{NotDiscovered, Unreachable},
        resolver::Unresolved,
    },
};

/// What helps against what keeps the API server from being asked.
pub(super) fn remedy(why: &NotDiscovered, cluster: &Cluster) -> Option<String> {
    match why {
        NotDiscovered::Unreachable(why) => of_unreachable(why, cluster),
        _ => Some(why.remedy().to_owned()),
    }
}

fn of_unreachable(why: &Unreachable, cluster: &Cluster) -> Option<String> {
    let authority = match &cluster.certificate_authority {
        CertificateAuthority::File(path) => path.display().to_string(),
        CertificateAuthority::Inline(_) => "cluster.ca".to_owned(),
        CertificateAuthority::Discovered(_) => "cluster.ca-hash".to_owned(),
    };
    let host = cluster.server.host_str().unwrap_or_default();
    match why {
        Unreachable::Authority(_) => Some(format!("write /etc/kubernetes/pki/ca.crt of a control-plane node into {authority}")),
        Unreachable::NoAddress { why: Unresolved::Silent { .. }, .. } => {
            Some("name name servers that answer in /etc/resolv.conf, or open UDP port 53 to them".to_owned())
        }
        Unreachable::NoAddress { .. } => Some(format!(
            "add {host} to DNS or to /etc/hosts, or name other servers in /etc/resolv.conf; or set cluster.server to an address"
        )),
        Unreachable::NotAName { .. } => Some("set cluster.server to the API server's name or address".to_owned()),
        Unreachable::NoConnection(failed)
            if failed.iter().all(|(_, error)| error.kind() == std::io::ErrorKind::ConnectionRefused) =>
        {
            Some("start the API server, or correct the address and port in cluster.server".to_owned())
        }
        Unreachable::NoConnection(_) => Some("ip route get ADDRESS; add the route that is missing".to_owned()),
        Unreachable::ConnectionSilent { .. } => {
            Some("correct cluster.server, or open its port in the firewalls between".to_owned())
        }
        Unreachable::HandshakeSilent { .. } | Unreachable::AnswerSilent { .. } => {
            Some("look at the API server and at the load balancer before it: it has no backend that works".to_owned())
        }
        Unreachable::NotTls(_) | Unreachable::NotApiServer { .. } => {
            Some("set cluster.server to the API server's own address and port (usually 6443)".to_owned())
        }
        Unreachable::ForeignAuthority { .. } => Some(format!(
            "write the authority of this cluster into {authority}: kubectl config view --raw --minify \
             -o 'jsonpath={{.clusters[0].cluster.certificate-authority-data}}' | base64 -d"
        )),
        Unreachable::WrongName { presented, .. } => Some(format!(
            "set cluster.server to one of {}; or add {host} to apiServer.certSANs and renew the certificate",
            presented.join(", ")
        )),
        Unreachable::OutOfTime(found) => Some(match found.clocks_differ() {
            Some(true) => "set this host's clock: timedatectl set-ntp true, and see that NTP reaches its servers".to_owned(),
            Some(false) => "renew it on a control-plane node: kubeadm certs renew apiserver".to_owned(),
            None => "compare this host's clock (timedatectl); if it is right, kubeadm certs renew apiserver".to_owned(),
        }),
        Unreachable::Handshake { .. } | Unreachable::Broken { .. } => None,
    }
}
