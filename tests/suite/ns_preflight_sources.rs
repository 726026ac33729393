//! Sources of artifacts: those that answer, those that do not, and those that nobody has to ask.

use std::{fs, path::Path, time::Instant};

use hostlet::{
    config::{Location, Source, UrlTemplate},
    model::{Component, Digest, SignaturePolicy},
    preflight::{Outcome, Subject},
};

use crate::{
    api_server::{Answers, Authority, serve, start, start_mute},
    ns_preflight_world::{ends, fails, name_of, on_a_fresh_host, passes, sh, subject, through},
};

fn digest() -> Digest {
    Digest::of(b"a kubelet")
}

/// The kubelet comes from there, and nothing else is fetched.
fn kubelet_from(url: &str) -> Subject {
    let mut subject = subject();
    let url: UrlTemplate = url.parse().unwrap();
    let source = Source {
        locations: vec![Location::of(url)],
        digest: Some(digest()),
        trust_on_first_use: false,
        signature: SignaturePolicy::Off,
    };
    subject.settings.sources.components.insert(Component::Kubelet, source);
    subject
}

/// The kubelet comes from the first of these that has it.
fn kubelet_from_any(urls: &[&str]) -> Subject {
    let mut subject = kubelet_from(urls[0]);
    let source = subject.settings.sources.components.get_mut(&Component::Kubelet).unwrap();
    source.locations = urls.iter().map(|url| Location::of(url.parse().unwrap())).collect();
    subject
}

/// The same, from a mirror with an authority of its own.
fn from_mirror(url: &str, authority: &Authority) -> Subject {
    let mut subject = kubelet_from(url);
    fs::write("/mnt/host/mirror-ca.crt", authority.pem()).unwrap();
    subject.settings.sources.ca_file = Some("/mnt/host/mirror-ca.crt".into());
    subject
}

#[test]
fn ns_a_source_that_answers_passes_also_where_it_refuses_head() {
    on_a_fresh_host(|| {
        passes(subject(), "sources", "nothing has to be fetched");
        let authority = Authority::with("mirror", |_| ());
        let file = || ("/v1.36.4/kubelet", (200, "a kubelet".to_owned()));
        let server = start(&authority, Answers::from([file()]));
        let url = |server: &crate::api_server::Running| format!("{}/v{{version}}/kubelet", server.url());
        passes(from_mirror(&url(&server), &authority), "sources", "kubelet answer");
        let server = start(&authority, Answers::from([file(), ("HEAD /v1.36.4/kubelet", (403, String::new()))]));
        passes(from_mirror(&url(&server), &authority), "sources", "kubelet answer");
    });
}

#[test]
fn ns_a_source_that_does_not_answer_is_named_with_the_cause() {
    on_a_fresh_host(|| {
        let authority = Authority::with("mirror", |_| ());
        let server = start(&authority, Answers::new());
        let url = format!("{}/kubelet", server.url());
        fails(from_mirror(&url, &authority), "sources", "kubelet: https://127.0.0.1:");
        fails(from_mirror(&url, &authority), "sources", "the source answered 404");
        let found = fails(kubelet_from(&url), "sources", "the source cannot be trusted");
        assert!(found.remedy.unwrap().contains("sources.ca-file"));
        fails(kubelet_from("https://127.0.0.1:1/kubelet"), "sources", "no connection: ");
    });
}

#[test]
fn ns_a_source_that_hangs_costs_two_seconds_at_most() {
    on_a_fresh_host(|| {
        let authority = Authority::with("mirror", |_| ());
        let mute = start_mute(&authority);
        let silent = serve(|stream| {
            std::thread::park();
            drop(stream);
        });
        for (what, server) in [("that completes TLS and says nothing", &mute), ("that accepts and says nothing", &silent)] {
            let begun = Instant::now();
            let found = fails(from_mirror(&format!("{}/kubelet", server.url()), &authority), "sources", "kubelet: ");
            println!("a source {what}: the whole preflight took {} ms", begun.elapsed().as_millis());
            assert!(found.observed.contains("sent nothing"), "{found:#?}");
            assert!(found.remedy.unwrap().contains("waive sources"));
        }
    });
}

#[test]
fn ns_a_source_is_asked_through_the_proxy_of_the_environment_and_the_proxy_is_named() {
    on_a_fresh_host(|| {
        let through_a_proxy = || {
            let found =
                fails(kubelet_from("https://mirror.test/kubelet"), "sources", "(through the proxy http://127.0.0.1:3128/)");
            assert!(found.observed.contains("https://mirror.test/kubelet") && !found.observed.contains("secret"), "{found:#?}");
        };
        through("env", &["HTTPS_PROXY=http://user:secret@127.0.0.1:3128"], name_of(&through_a_proxy), through_a_proxy);
    });
}

#[test]
fn ns_what_is_in_the_store_or_among_the_downloads_is_not_asked_for() {
    on_a_fresh_host(|| {
        let nowhere = || kubelet_from("https://127.0.0.1:1/kubelet");
        fails(nowhere(), "sources", "kubelet: ");
        fs::create_dir_all("/mnt/host/cache").unwrap();
        fs::write(Path::new("/mnt/host/cache").join(digest().to_string()), "a kubelet").unwrap();
        passes(nowhere(), "sources", "nothing has to be fetched");
        sh("rm -r /mnt/host/cache");
        fs::create_dir_all(Path::new("/mnt/host/home/store").join(format!("{}-kubelet-1.36.4", digest()))).unwrap();
        passes(nowhere(), "sources", "nothing has to be fetched");
    });
}

#[test]
fn ns_a_file_source_must_be_a_file_that_can_be_read() {
    on_a_fresh_host(|| {
        fails(kubelet_from("file:///mnt/host/kubelet-{version}"), "sources", "/mnt/host/kubelet-1.36.4");
        fs::write("/mnt/host/kubelet-1.36.4", "a kubelet").unwrap();
        passes(kubelet_from("file:///mnt/host/kubelet-{version}"), "sources", "kubelet answer");
        sh("mkfifo /mnt/host/fifo");
        fails(kubelet_from("file:///mnt/host/fifo"), "sources", "is a FIFO, not a regular file");
    });
}

#[test]
fn ns_a_source_that_sends_a_page_for_people_is_a_warning() {
    on_a_fresh_host(|| {
        let authority = Authority::with("mirror", |_| ());
        let server = start(&authority, Answers::from([("/kubelet.html", (200, "<html>".to_owned()))]));
        ends(from_mirror(&format!("{}/kubelet.html", server.url()), &authority), "sources", &Outcome::Warning, "an HTML page");
    });
}

#[test]
fn ns_one_source_of_several_that_answers_is_enough_and_the_others_are_told() {
    on_a_fresh_host(|| {
        fs::write("/mnt/host/kubelet", "a kubelet").unwrap();
        let (down, up) = ("https://127.0.0.1:1/kubelet", "file:///mnt/host/kubelet");
        passes(kubelet_from_any(&[down, up]), "sources", "kubelet also comes from https://127.0.0.1:1/kubelet: no connection");
        let found = fails(kubelet_from_any(&[down, "file:///mnt/host/absent"]), "sources", "no connection: ");
        assert!(
            found.observed.contains("/mnt/host/absent") && found.remedy.unwrap().lines().count() == 2,
            "{}",
            found.observed
        );
    });
}
