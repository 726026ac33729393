//! The cluster's authority, discovered by token and hash from a server that speaks real TLS: the way that works, and each
//! way in which it must not. Signatures and hashes are openssl's, made as kubeadm's documentation says.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hostlet::{
    config::{CertificateAuthority, Datastore, FlannelIdentity, JoinCredential},
    model::Digest,
    output::Silent,
    pipeline::{self, Context, Failure},
    preflight::{Outcome, Subject},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api_server::{Answers, Authority, Running, start, start_at, subject_with_token, version},
    ns_preflight_apiserver::{REVIEWS, reviewed},
    ns_preflight_world::{ends, fails, on_a_fresh_host, passes},
};

const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const TOKEN: &str = "abcdef.0123456789abcdef";

fn openssl(script: &str) -> Vec<u8> {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `openssl x509 -pubkey …`: kubeadm's own recipe for the hash.
fn hash_of(authority: &Authority) -> Digest {
    fs::write("/mnt/ca.crt", authority.pem()).unwrap();
    let printed =
        openssl("openssl x509 -pubkey -noout -in /mnt/ca.crt | openssl pkey -pubin -outform der | openssl dgst -sha256 -r");
    String::from_utf8(printed).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// The ConfigMap that kubeadm makes, signed with this token.
fn cluster_info(authorities: &str, token: &str) -> (u16, String) {
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://10.0.1.1:6443\n  name: \"\"\n\
         contexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {{}}\nusers: null\n",
        STANDARD.encode(authorities)
    );
    let (id, secret) = token.split_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    fs::write("/mnt/signed", format!("{header}.{}", URL_SAFE_NO_PAD.encode(&kubeconfig))).unwrap();
    let signature = openssl(&format!("openssl dgst -sha256 -mac HMAC -macopt key:{secret} -binary /mnt/signed"));
    let signature = format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature));
    let key = format!("jws-kubeconfig-{id}");
    let map = serde_json::json!({
        "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": kubeconfig, key: signature },
    });
    (200, map.to_string())
}

/// A node that knows the token and the hash.
fn node(server: &Running, hash: Digest) -> Subject {
    let mut subject = subject_with_token(&server.url(), &Authority::new());
    subject.settings.cluster.as_mut().unwrap().certificate_authority = CertificateAuthority::Discovered(vec![hash]);
    subject
}

fn cluster(authority: &Authority, cluster_info: (u16, String)) -> Running {
    start(authority, Answers::from([("/version", version(36)), (PATH, cluster_info)]))
}

#[test]
fn ns_an_authority_that_the_token_signed_and_the_hash_names_is_discovered() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let server = cluster(&authority, cluster_info(&authority.pem(), TOKEN));
        passes(node(&server, hash_of(&authority)), "apiserver", "has version 1.36.1");
        passes(node(&server, hash_of(&authority)), "node-name-free", "there is no Node node-07");
    });
}

#[test]
fn ns_flannels_identity_is_looked_at_with_the_authority_that_preflight_discovers() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let with = |allowed| {
            let mut answers = Answers::from([("/version", version(36)), (PATH, cluster_info(&authority.pem(), TOKEN))]);
            answers.extend(REVIEWS.map(|review| (review, reviewed(allowed))));
            let mut subject = node(&start(&authority, answers), hash_of(&authority));
            let identity = FlannelIdentity::TokenFile("/mnt/host/token".into());
            subject.settings.flannel.as_mut().unwrap().datastore = Datastore::Kube(identity);
            subject
        };
        passes(with(true), "flannel-rbac", "get nodes, list nodes, watch nodes, patch nodes/status");
        fails(with(false), "flannel-rbac", "may not: get nodes");
        // What keeps it from being discovered is said once.
        let mut without = with(true);
        without.settings.cluster.as_mut().unwrap().credential = Some(JoinCredential::TokenFile("/mnt/none".into()));
        ends(without, "flannel-rbac", &Outcome::Warning, "not known: see apiserver");
    });
}

#[test]
fn ns_each_thing_that_could_be_wrong_with_a_discovery_is_told_and_trusted_by_nobody() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let other = Authority::new();
        let hash = hash_of(&authority);
        let good = cluster_info(&authority.pem(), TOKEN);
        for (what, served, said) in [
            (
                "the token has expired",
                cluster_info(&authority.pem(), "fedcba.0123456789abcdef"),
                "does not know the bootstrap token abcdef",
            ),
            (
                "the secret is another",
                cluster_info(&authority.pem(), "abcdef.fedcba9876543210"),
                "not signed with the secret half",
            ),
            ("an attacker knows the token", cluster_info(&other.pem(), TOKEN), "and cluster.ca-hash allows sha256:"),
            ("an attacker adds an authority", cluster_info(&(other.pem() + &authority.pem()), TOKEN), ""),
            ("it is not published", (404, r#"{"kind":"Status","code":404}"#.to_owned()), "answers 404 Not Found"),
            ("strangers may not read it", (403, r#"{"kind":"Status","code":403}"#.to_owned()), "answers 403 Forbidden"),
            ("a page for people", (200, "<html>Log in</html>".to_owned()), "no ConfigMap"),
            ("no kubeconfig", (200, r#"{"kind":"ConfigMap","data":{}}"#.to_owned()), "holds no kubeconfig"),
        ] {
            println!("{what}");
            // Whoever adds an authority of his own to the cluster's answers with its certificate.
            let answers_as = if said.is_empty() { &other } else { &authority };
            let server = cluster(answers_as, served);
            let said = if said.is_empty() { "has a certificate that the configured authority did not sign" } else { said };
            let finding = fails(node(&server, hash), "apiserver", said);
            assert!(!format!("{finding:?}").contains("0123456789abcdef"), "{finding:?}");
        }
        // The cluster's own words, and somebody else's TLS.
        let between = cluster(&other, good);
        fails(node(&between, hash), "apiserver", "has a certificate that the configured authority did not sign");
        let server = cluster(&authority, (200, String::new()));
        let mut without = node(&server, hash);
        without.settings.cluster.as_mut().unwrap().credential = Some(JoinCredential::TokenFile("/mnt/none".into()));
        fails(without, "apiserver", "there is none that can be read");
    });
}

#[test]
fn ns_flannels_identity_is_looked_at_with_the_authority_that_was_discovered() {
    on_a_fresh_host(|| {
        let (authority, other) = (Authority::new(), Authority::new());
        let mut answers = Answers::from([("/version", version(36)), (PATH, cluster_info(&authority.pem(), TOKEN))]);
        answers.extend(REVIEWS.map(|review| (review, reviewed(true))));
        let server = start(&authority, answers);
        let with = |hash| {
            let mut subject = node(&server, hash);
            let identity = FlannelIdentity::TokenFile("/mnt/host/token".into());
            subject.settings.flannel.as_mut().unwrap().datastore = Datastore::Kube(identity);
            subject
        };
        passes(with(hash_of(&authority)), "flannel-rbac", "list nodes");
        ends(with(hash_of(&other)), "flannel-rbac", &Outcome::Warning, "see apiserver");
    });
}

fn context(subject: &Subject, opt: &Path) -> Context {
    let mut context = Context::new(subject.settings.clone(), Arc::new(Silent), CancellationToken::new());
    opt.clone_into(&mut context.opt);
    context
}

fn settle(context: &Context) -> Result<String, Failure> {
    let settled = tokio::runtime::Runtime::new().unwrap().block_on(pipeline::discovered(context))?;
    match settled.settings.cluster.unwrap().certificate_authority {
        CertificateAuthority::Inline(pem) => Ok(pem),
        other => panic!("not settled: {other:?}"),
    }
}

#[test]
fn ns_an_installation_discovers_once_and_goes_by_its_generation_afterwards() {
    on_a_fresh_host(|| {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = cluster(&authority, cluster_info(&(authority.pem() + &other.pem()), TOKEN));
        let opt = Path::new("/mnt/opt");
        let subject = node(&server, hash_of(&authority));
        let discovered = settle(&context(&subject, opt)).unwrap();
        assert_eq!(
            discovered.replace('\r', ""),
            authority.pem().replace('\r', ""),
            "the other authority must not come with it"
        );
        // Neither network nor token are there any more.
        fs::create_dir_all(opt.join("current/etc")).unwrap();
        fs::write(opt.join("current/etc/ca.crt"), &discovered).unwrap();
        let mut later = subject.clone();
        let cluster = later.settings.cluster.as_mut().unwrap();
        (cluster.server, cluster.credential) = ("https://127.0.0.1:1".parse().unwrap(), None);
        assert_eq!(settle(&context(&later, opt)).unwrap(), discovered);
        let cluster = later.settings.cluster.as_mut().unwrap();
        // Another hash makes it ask again, and an API server that is not there is told.
        cluster.certificate_authority = CertificateAuthority::Discovered(vec![hash_of(&other)]);
        cluster.credential.clone_from(&subject.settings.cluster.as_ref().unwrap().credential);
        let error = settle(&context(&later, opt)).unwrap_err();
        assert_eq!(error.outcome().exit_code(), 3);
        assert!(error.to_string().contains("nothing listens there"), "{error}");
    });
}

#[test]
fn ns_a_discovery_waits_for_a_cluster_that_comes_up() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let good = cluster_info(&authority.pem(), TOKEN);
        let mut subject = subject_with_token(&format!("https://{address}"), &authority);
        subject.settings.cluster.as_mut().unwrap().certificate_authority =
            CertificateAuthority::Discovered(vec![hash_of(&authority)]);
        let patient = Context { wait: Duration::from_secs(10), ..context(&subject, Path::new("/mnt/none")) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                start_at(address, &authority, Answers::from([("/version", version(36)), (PATH, good)]));
            });
            settle(&patient).unwrap();
        });
    });
}
