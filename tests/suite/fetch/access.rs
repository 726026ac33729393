//! Credentials: they reach the source that they are for, nobody else, and no eye.

use std::sync::Arc;

use hostlet::{
    config::{ClientIdentity, Site},
    fetch::{Fetcher, Request},
    model::{Component, SignaturePolicy},
    output::Silent,
};

use super::{
    bench::{Bench, artifact, content, open_to},
    server::{Answer, Server},
};

const SECRETS: [&str; 3] = ["us3r", "passw0rd", "t0ken"];

async fn fetch(bench: &Bench, body: &[u8], site: Site) -> Result<(), String> {
    let request = Request { artifact: artifact(Component::Kubelet, body), sites: vec![site], signature: SignaturePolicy::Off };
    let outcome = bench.fetcher().fetch_all(vec![request]).await;
    outcome.map(drop).map_err(|error| format!("{error} {error:?} {}", error.remedy()))
}

#[tokio::test]
async fn a_sources_headers_and_login_are_not_sent_where_it_redirects_to() {
    let mut bench = Bench::new().await;
    let other = Server::start().await;
    let both = format!("{}{}", bench.server.authority, other.authority);
    std::fs::write(bench.sources.ca_file.as_ref().unwrap(), both).unwrap();
    // The other server has the same address and another port: netrc knows hosts alone.
    let netrc = bench.secret("netrc", &format!("machine 127.0.0.1 login {} password {}\n", SECRETS[0], SECRETS[1]));
    let header_file = bench.secret("header", &format!("PRIVATE-TOKEN: {}\n", SECRETS[2]));
    bench.sources.netrc_file = Some(netrc);
    let body = content(1000);
    let target = other.put("/stored", &body, []);
    let url = bench.server.put("/kubelet", &body, [Answer::Redirect(target.to_string())]);
    let site = Site { header_file: Some(header_file), ..Site::of(url) };
    fetch(&bench, &body, site.clone()).await.unwrap();
    let head = bench.server.seen()[0].head.to_lowercase();
    assert!(head.contains("authorization: basic dxmzcjpwyxnzdzbyza==") && head.contains("private-token: t0ken"), "{head}");
    let head = other.seen()[0].head.to_lowercase();
    assert!(!head.contains("authorization") && !head.contains("token"), "{head}");

    let error = fetch(&bench, b"other", site).await.unwrap_err();
    let shown = format!("{error} {:?} {:?}", bench.events(), bench.fetcher().fetch_all(Vec::new()).await);
    assert!(error.contains("the digest is wrong"), "{error}");
    assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
}

#[tokio::test]
async fn files_with_credentials_that_do_not_hold_what_they_should_are_named_and_not_shown() {
    let mut bench = Bench::new().await;
    let body = content(10);
    let path = bench.secret("file", "machine a login t0ken t0ken t0ken");
    let refused = |sources: &hostlet::config::Sources| {
        let error = Fetcher::new(sources, bench.cache(), Arc::new(Silent)).err().unwrap();
        let shown = format!("{error} {error:?} {}", error.remedy());
        assert!(shown.contains(path.to_str().unwrap()) && !shown.contains("t0ken"), "{shown}");
        shown
    };
    let mut sources = bench.sources.clone();
    sources.netrc_file = Some(path.clone());
    assert!(refused(&sources).contains("line 1: neither machine"));
    sources.netrc_file = None;
    std::fs::write(&path, &bench.server.authority).unwrap();
    sources.client_identity = Some(ClientIdentity { certificate_file: path.clone(), key_file: path.clone() });
    assert!(refused(&sources).contains("holds no PEM private key"));
    std::fs::write(&path, "t0ken").unwrap();
    assert!(refused(&sources).contains("holds no PEM certificate"));

    bench.sources.attempts = 1;
    let url = bench.server.put("/kubelet", &body, []);
    let error = fetch(&bench, &body, Site { header_file: Some(path), ..Site::of(url) }).await.unwrap_err();
    assert!(error.contains("line 1 is not \\\"Name: value\\\"") || error.contains("line 1 is not \"Name"), "{error}");
    assert!(!error.contains("t0ken"), "{error}");
    assert!(bench.server.seen().is_empty());
}

#[tokio::test]
async fn files_with_credentials_that_others_may_read_or_change_are_refused_before_anything_is_sent() {
    let mut bench = Bench::new().await;
    bench.sources.attempts = 1;
    let body = content(10);
    let url = bench.server.put("/kubelet", &body, []);
    let netrc = bench.secret("netrc", "machine 127.0.0.1 login us3r password passw0rd");
    let key = bench.secret("key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let header_file = bench.secret("header", "PRIVATE-TOKEN: t0ken");
    for mode in [0o644, 0o640, 0o620, 0o602] {
        let named = |said: &str, path: &std::path::Path, configured: &str| {
            let remedy = format!("chmod 0600 {}", path.display());
            let complete = [configured, &format!("mode {mode:04o}"), &remedy].iter().all(|part| said.contains(part));
            assert!(complete && SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
        };
        let mut sources = bench.sources.clone();
        let refused = |sources: &hostlet::config::Sources| {
            let error = Fetcher::new(sources, bench.cache(), Arc::new(Silent)).err().unwrap();
            format!("{error} {}", error.remedy())
        };
        open_to(&netrc, mode);
        sources.netrc_file = Some(netrc.clone());
        named(&refused(&sources), &netrc, "sources.netrc-file");
        sources.netrc_file = None;
        open_to(&key, mode);
        // The certificate is no secret, and its file may be open to all.
        let certificate_file = sources.ca_file.clone().unwrap();
        sources.client_identity = Some(ClientIdentity { certificate_file, key_file: key.clone() });
        named(&refused(&sources), &key, "sources.client-key-file");
        open_to(&header_file, mode);
        let site = Site { header_file: Some(header_file.clone()), ..Site::of(url.clone()) };
        named(&fetch(&bench, &body, site).await.unwrap_err(), &header_file, "header-file");
    }
    std::os::unix::fs::chown(&netrc, Some(12_345), None).unwrap();
    open_to(&netrc, 0o600);
    bench.sources.netrc_file = Some(netrc);
    let error = Fetcher::new(&bench.sources, bench.cache(), Arc::new(Silent)).err().unwrap();
    assert!(error.to_string().contains("belongs to user 12345: others can read or change it"), "{error}");
    assert!(bench.server.seen().is_empty());
}
