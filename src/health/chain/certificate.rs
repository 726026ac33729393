//! The first link: the kubelet's client certificate, or why it has none.

use std::{path::Path, time::Duration};

use http::Method;
use jiff::Timestamp;

use super::{Expectation, Link, Obstacle};
use crate::{
    host::{
        api_server::{self, Call, ClientCertificate, Clocks, Credential, Door, Listed, SigningRequest, State, Unreachable},
        kubeconfig, look,
    },
    model::layout,
};

/// How long the API server may take for one answer.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
const KUBELET: &str = "kubelet.service";

/// The certificate, and what is told of it. Where there is none that is valid, what time it is here and there may be why.
pub(super) async fn certificate(
    expectation: &Expectation,
    clocks: &mut Option<Clocks>,
) -> Result<(ClientCertificate, String), Obstacle> {
    let path = expectation.certificate();
    // A link to a file that is gone is no certificate.
    if !path.is_file() {
        return Err(bootstrap(expectation, clocks).await);
    }
    let certificate = ClientCertificate::read(&path).map_err(|error| {
        let remedy =
            format!("remove {} and restart kubelet.service: with a bootstrap credential it gets another one", path.display());
        Obstacle::new(Link::Certificate, error.to_string(), remedy)
    })?;
    if let Some(obstacle) = another_name(expectation.node.as_str(), &path, &certificate) {
        return Err(obstacle);
    }
    match judge(&path, &certificate, Timestamp::now()) {
        Ok(seen) => Ok((certificate, seen)),
        Err(obstacle) => {
            *clocks = both_clocks().await;
            Err(match clocks {
                // It may be the clock's end, and not the certificate's.
                Some(clocks) if clocks.differ() => Obstacle { remedy: SET_CLOCK.to_owned(), settled: false, ..obstacle },
                _ => obstacle,
            })
        }
    }
}

/// The node was renamed after it joined: the API server lets its certificate speak for the old name alone.
fn another_name(node: &str, path: &Path, certificate: &ClientCertificate) -> Option<Obstacle> {
    let (name, path) = (certificate.common_name()?, path.display());
    let old = name.strip_prefix("system:node:").filter(|old| *old != node)?;
    let found = format!("{path} is for the Node {old}, and this node is called {node}");
    let remedy = format!(
        "set node.name = \"{old}\"; or, to rename it: kubectl delete node {old}, remove {path}, and run hostlet install with a \
         bootstrap token"
    );
    Some(Obstacle::new(Link::Certificate, found, remedy).settled())
}

/// Whether the certificate is valid now. One that is not yet is used all the same: the kubelet does, and it is the API
/// server's clock that decides.
fn judge(path: &Path, certificate: &ClientCertificate, now: Timestamp) -> Result<String, Obstacle> {
    let Some(validity) = certificate.validity() else {
        return Err(Obstacle::new(Link::Certificate, format!("{} holds no X.509 certificate", path.display()), RENEW));
    };
    let path = path.display();
    if now > validity.not_after {
        let found = format!("{path} has expired at {}; this host's clock: {}", validity.not_after, shown(now));
        return Err(Obstacle::new(Link::Certificate, found, RENEW).settled());
    }
    let early = format!("; by this host's clock ({}) not before {}", shown(now), validity.not_before);
    let early = if now < validity.not_before { early } else { String::new() };
    Ok(format!("valid until {}{early}", validity.not_after))
}

const RENEW: &str = "give the node a bootstrap token once more: on a control-plane node: kubeadm token create; write what it \
                     prints into the file of cluster.token-file, and run hostlet install";
const SET_CLOCK: &str = "set this host's clock: timedatectl set-ntp true, and see that NTP reaches its servers";

/// What is said of clocks that contradict each other.
pub(super) fn clock_skew(clocks: Clocks) -> String {
    format!("the clocks differ, so that certificates seem not valid yet, or not any more: {clocks}; {SET_CLOCK}")
}

/// Why there is no certificate yet, as whoever may bootstrap can find out.
async fn bootstrap(expectation: &Expectation, clocks: &mut Option<Clocks>) -> Obstacle {
    let path = Path::new(layout::BOOTSTRAP_KUBECONFIG);
    if !look::exists(path) {
        let found = format!("the kubelet has no client certificate, and {} is not there to get one with", path.display());
        return Obstacle::new(Link::Certificate, found, RENEW).settled();
    }
    let read = || Ok::<_, kubeconfig::KubeconfigError>((kubeconfig::server(path)?, kubeconfig::credential(path)?));
    let (server, credential) = match read() {
        Ok(read) => read,
        Err(error) => return Obstacle::new(Link::Certificate, error.to_string(), "run hostlet install"),
    };
    let door = Door { server: &server.url, authority: &server.authority, credential: Some(&credential) };
    match api_server::signing_requests(door, ANSWER).await {
        Err(error) => unreachable(Link::Certificate, &error),
        Ok((listed, told)) => {
            *clocks = told;
            explain(expectation.node.as_str(), &credential, listed)
        }
    }
}

/// As anybody may ask where the kubelet's kubeconfig leads.
async fn both_clocks() -> Option<Clocks> {
    let server = kubeconfig::server(layout::KUBELET_KUBECONFIG.as_ref()).ok()?;
    let door = Door { server: &server.url, authority: &server.authority, credential: None };
    let call = Call { method: Method::GET, path: "/version", body: None };
    api_server::call(door, &call, ANSWER).await.ok()?.clocks
}

fn explain(node: &str, credential: &Credential, listed: Listed) -> Obstacle {
    let obstacle = |found: String, remedy: &str| Obstacle::new(Link::Certificate, found, remedy);
    let what = match credential {
        Credential::Token(_) => "bootstrap token",
        Credential::Certificate(_) => "client certificate to bootstrap with",
    };
    let requests = match listed {
        Listed::Unauthorized => {
            let found = format!("the API server does not take the {what} (401): it is wrong or has expired");
            return obstacle(found, RENEW).settled();
        }
        Listed::Forbidden => {
            let found = format!("the {what} may not ask for certificates (403): its groups have no role for that");
            return obstacle(
                found,
                "kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper \
                 --group=system:bootstrappers (kubeadm binds system:bootstrappers:kubeadm:default-node-token)",
            )
            .settled();
        }
        Listed::Unclear(found) => return obstacle(found, "look at the API server's log"),
        Listed::Requests(requests) => requests,
    };
    let wanted = format!("system:node:{node}");
    let own = requests.into_iter().filter(|request| request.common_name == wanted).max_by(|a, b| a.created.cmp(&b.created));
    let Some(SigningRequest { name, created, state, .. }) = own else {
        let found = format!("the kubelet has not asked for a certificate: there is no CertificateSigningRequest of {wanted}");
        return obstacle(found, "look at why: journalctl -u kubelet").of_unit(KUBELET);
    };
    let request = format!("the CertificateSigningRequest {name}");
    match state {
        State::Pending => obstacle(
            format!("{request} waits for somebody to approve it, since {created}"),
            &format!(
                "kubectl certificate approve {name}; to have that done by itself: kubectl create clusterrolebinding \
                 node-autoapprove-bootstrap --clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient \
                 --group=system:bootstrappers"
            ),
        ),
        State::Approved => obstacle(
            format!("{request} is approved, and nobody signs it"),
            "does kube-controller-manager run, with its csrsigning controller and with --cluster-signing-cert-file and \
             --cluster-signing-key-file?",
        ),
        State::Signed => obstacle(format!("{request} is signed, and the kubelet has not fetched it"), "journalctl -u kubelet")
            .of_unit(KUBELET),
        State::Denied(why) => obstacle(
            format!("{request} was denied ({why})"),
            &format!("ask who denied it; then kubectl delete csr {name}, and systemctl restart kubelet asks again"),
        )
        .settled(),
        State::Failed(why) => obstacle(
            format!("{request} could not be signed ({why})"),
            &format!("mend what the signer says, kubectl delete csr {name}, and systemctl restart kubelet"),
        )
        .settled(),
    }
}

/// What keeps the API server from being asked, which keeps the kubelet from it, too.
pub(super) fn unreachable(link: Link, why: &Unreachable) -> Obstacle {
    let remedy = match why {
        Unreachable::OutOfTime(found) if found.clocks_differ() != Some(false) => SET_CLOCK,
        Unreachable::OutOfTime(_) => "renew it on a control-plane node: kubeadm certs renew apiserver",
        Unreachable::ForeignAuthority { .. } | Unreachable::WrongName { .. } | Unreachable::Authority(_) => {
            "correct cluster.server, or the authority (cluster.ca-file, ca or ca-hash), and run hostlet install"
        }
        _ => "open the way to the API server; `hostlet preflight` tells more",
    };
    Obstacle::new(link, format!("the API server cannot be asked: {why}"), remedy)
}

fn shown(time: Timestamp) -> Timestamp {
    time.round(jiff::Unit::Second).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn said(listed: Listed) -> Obstacle {
        explain("node-07", &Credential::Token(Secret::new("abcdef.0123456789abcdef".to_owned())), listed)
    }

    fn request(name: &str, of: &str, created: &str, state: State) -> SigningRequest {
        let (name, created) = (name.to_owned(), created.to_owned());
        SigningRequest { name, created, common_name: format!("system:node:{of}"), state }
    }

    #[test]
    fn each_state_of_the_newest_own_request_is_named_with_what_to_do() {
        let why = || "Why: because".to_owned();
        for (state, found, remedy, settled) in [
            (
                State::Pending,
                "csr-2 waits for somebody to approve it, since 2026-11-25",
                "kubectl certificate approve csr-2",
                false,
            ),
            (State::Approved, "csr-2 is approved, and nobody signs it", "--cluster-signing-cert-file", false),
            (State::Signed, "csr-2 is signed", "journalctl -u kubelet", false),
            (State::Denied(why()), "csr-2 was denied (Why: because)", "kubectl delete csr csr-2", true),
            (State::Failed(why()), "csr-2 could not be signed (Why: because)", "kubectl delete csr csr-2", true),
        ] {
            let obstacle = said(Listed::Requests(vec![
                request("csr-2", "node-07", "2026-11-25T09:00:00Z", state),
                request("csr-1", "node-07", "2026-11-24T09:00:00Z", State::Signed),
                request("csr-9", "node-08", "2026-11-26T09:00:00Z", State::Pending),
            ]));
            assert!(obstacle.found.contains(found) && obstacle.remedy.contains(remedy), "{obstacle:?}");
            assert_eq!(obstacle.settled, settled, "{obstacle:?}");
        }
    }

    #[test]
    fn a_token_that_is_not_taken_or_not_allowed_and_a_kubelet_that_never_asked_are_told_apart() {
        for (listed, found, remedy) in [
            (Listed::Unauthorized, "does not take the bootstrap token (401)", "kubeadm token create"),
            (Listed::Forbidden, "may not ask for certificates (403)", "system:node-bootstrapper"),
            (Listed::Requests(Vec::new()), "has not asked for a certificate", "journalctl -u kubelet"),
            (Listed::Unclear("it answers 500".to_owned()), "it answers 500", "log"),
        ] {
            let obstacle = said(listed);
            assert!(obstacle.found.contains(found) && obstacle.remedy.contains(remedy), "{obstacle:?}");
        }
    }

    #[test]
    fn clocks_that_contradict_each_other_are_told_with_what_to_do() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let said = clock_skew(Clocks { ours: time("2026-11-25T09:00:00Z"), theirs: time("2026-11-25T10:00:00Z") });
        assert!(said.contains("09:00:00Z") && said.contains("10:00:00Z") && said.contains("timedatectl"), "{said}");
    }

    #[test]
    fn a_certificate_of_another_name_is_told_with_both_ways_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet-client-current.pem");
        let of = |name: &str| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
            crate::host::files::write(&path, pem.as_bytes(), 0o600).unwrap();
            another_name("node-07", &path, &ClientCertificate::read(&path).unwrap())
        };
        assert_eq!(of("system:node:node-07"), None);
        let renamed = of("system:node:node-06").unwrap();
        assert!(renamed.found.contains("is for the Node node-06, and this node is called node-07") && renamed.settled);
        assert!(
            renamed.remedy.contains("set node.name = \"node-06\"") && renamed.remedy.contains("kubectl delete node node-06")
        );
    }

    #[test]
    fn a_certificate_is_judged_by_the_clock_of_this_host() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet-client-current.pem");
        crate::host::files::write(&path, pem.as_bytes(), 0o600).unwrap();
        let certificate = ClientCertificate::read(&path).unwrap();
        let at = |time: &str| judge(&path, &certificate, time.parse().unwrap());
        assert_eq!(at("2026-06-01T00:00:00Z").unwrap(), "valid until 2027-01-01T00:00:00Z");
        let early = at("1970-01-01T00:05:00Z").unwrap();
        assert!(early.contains("by this host's clock (1970-01-01T00:05:00Z) not before 2026-01-01"), "{early}");
        let late = at("2027-06-01T00:00:00Z").unwrap_err();
        assert!(late.found.contains("expired") && late.settled, "{late:?}");
    }
}
