//! The API server, in every state it can be found in: each cause told apart, and the whole preflight over in two seconds.

use std::{
    fs,
    io::Write,
    net::{TcpListener, UdpSocket},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hostlet::{
    model::Version,
    output::{Events, Silent},
    preflight::{Outcome, Subject, run},
};
use rcgen::date_time_ymd;

use crate::{
    api_server::{Answers, Authority, serve, start, start_at, start_mute, start_with, subject_of, subject_with_token, version},
    ns_preflight_world::{ends, fails, on_a_fresh_host, passes, preflight, printed, sh},
};

/// How long the whole preflight takes while something hangs.
fn timed(what: &str, check: impl FnOnce()) {
    let begun = Instant::now();
    check();
    println!("{what}: the whole preflight took {} ms", begun.elapsed().as_millis());
}

#[test]
fn ns_an_api_server_is_asked_everything_over_one_connection() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let server = start(&authority, Answers::from([("/version", version(36))]));
        let report = preflight(subject_with_token(&server.url(), &authority));
        for (id, said) in [
            ("apiserver", "has version 1.36.1"),
            ("version-skew", "kubelet 1.36.4, API server 1.36.1"),
            ("node-name-free", "there is no Node node-07"),
        ] {
            let finding = report.findings.iter().find(|finding| finding.id == id).unwrap();
            assert!(finding.outcome == Outcome::Pass && finding.observed.contains(said), "{finding:#?}");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn ns_an_api_server_that_comes_up_is_waited_for_by_all_that_ask_it() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let patient =
            || Subject { wait: Duration::from_secs(8), ..subject_with_token(&format!("https://{address}"), &authority) };
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(900));
                start_at(address, &authority, Answers::from([("/version", version(35))]));
            });
            let events: Events = Arc::new(Silent);
            tokio::runtime::Runtime::new().unwrap().block_on(run(Arc::new(patient()), &events))
        });
        let ended = |id: &str| report.findings.iter().find(|finding| finding.id == id).unwrap().outcome.clone();
        // What blocks is found out about, and not left at "see apiserver".
        assert_eq!(
            [ended("apiserver"), ended("version-skew"), ended("node-name-free")],
            [Outcome::Pass, Outcome::Failure, Outcome::Pass]
        );
    });
}

#[test]
fn ns_without_a_cluster_nobody_is_asked() {
    for id in ["apiserver", "version-skew", "node-name-free"] {
        passes(crate::ns_preflight_world::subject(), id, "no cluster is configured");
    }
}

#[test]
fn ns_an_api_server_that_hides_its_version_from_strangers_passes() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        for status in [401, 403] {
            let server = start(&authority, Answers::from([("/version", (status, String::new()))]));
            let without = subject_of(&server.url(), &authority);
            passes(without.clone(), "apiserver", &format!("answers {status}"));
            ends(without, "version-skew", &Outcome::Warning, &format!("not known: it answered {status}"));
            // Whoever is known may read it.
            let answers = Answers::from([("/version", (status, String::new())), ("/version with token", version(36))]);
            let server = start(&authority, answers);
            passes(subject_with_token(&server.url(), &authority), "version-skew", "API server 1.36.1");
        }
    });
}

/// A name server that says of every name that there is none, as a resolver does: NXDOMAIN.
fn name_server_without_names() {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            query[2] |= 0x80;
            query[3] = 0x83;
            socket.send_to(&query[..length], from).unwrap();
        }
    });
}

#[test]
fn ns_a_name_is_resolved_by_hosts_and_dns_and_what_is_wrong_with_either_is_told() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let server = start_with(&authority, &["api.test"], |_| (), Answers::from([("/version", version(36))]));
        let named = || subject_of(&format!("https://api.test:{}", server.address.port()), &authority);
        sh("rm -f /etc/resolv.conf; echo 'nameserver 127.0.0.1' > /etc/resolv.conf; echo '127.0.0.1 localhost' > /etc/hosts");
        fails(named(), "apiserver", "api.test does not resolve: /etc/hosts does not know it, and DNS");
        name_server_without_names();
        fails(named(), "apiserver", "api.test does not resolve: neither /etc/hosts nor DNS (127.0.0.1) knows it");
        sh("echo '127.0.0.1 api.test' >> /etc/hosts");
        passes(named(), "apiserver", "has version 1.36.1");
    });
}

#[test]
fn ns_name_servers_that_swallow_every_question_cost_two_seconds_at_most() {
    on_a_fresh_host(|| {
        let _hole = UdpSocket::bind("127.0.0.2:53").unwrap();
        sh("rm -f /etc/resolv.conf; echo 'nameserver 127.0.0.2' > /etc/resolv.conf");
        let authority = Authority::new();
        timed("a DNS black hole", || {
            let found =
                fails(subject_of("https://api.test:6443", &authority), "apiserver", "DNS (127.0.0.2) did not answer within");
            assert!(found.remedy.unwrap().contains("/etc/resolv.conf"));
        });
    });
}

#[test]
fn ns_refused_no_route_and_no_answer_are_told_apart() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let at = |server: &str| subject_of(server, &authority);
        fails(at("https://127.0.0.1:1"), "apiserver", "127.0.0.1:1 refuses the connection: nothing listens there");
        timed("an address that nobody has", || {
            fails(at("https://10.0.1.99:6443"), "apiserver", "no answer from 10.0.1.99:6443 within");
        });
        sh("ip route delete default");
        fails(at("https://203.0.113.1:6443"), "apiserver", "there is no route to 203.0.113.1:6443");
    });
}

#[test]
fn ns_a_server_that_takes_connections_and_says_nothing_costs_two_seconds_at_most() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let silent = serve(|stream| {
            std::thread::park();
            drop(stream);
        });
        timed("an API server that accepts and says nothing", || {
            fails(
                subject_of(&silent.url(), &authority),
                "apiserver",
                "takes connections and does not answer the TLS handshake",
            );
        });
        let mute = start_mute(&authority);
        timed("an API server that completes TLS and says nothing", || {
            fails(subject_of(&mute.url(), &authority), "apiserver", "completes TLS and does not answer a request");
        });
    });
}

#[test]
fn ns_a_certificate_of_another_authority_is_refused() {
    on_a_fresh_host(|| {
        let ours = Authority::new();
        // Another kubeadm cluster's has the same name.
        for (theirs, said) in
            [(Authority::new(), "another cluster's authority"), (Authority::with("proxy", |_| ()), "unknown issuer")]
        {
            let server = start(&theirs, Answers::from([("/version", version(36))]));
            let found = fails(subject_of(&server.url(), &ours), "apiserver", said);
            assert!(found.observed.contains("that the configured authority did not sign"));
            assert!(found.remedy.unwrap().contains("certificate-authority-data"));
        }
    });
}

#[test]
fn ns_a_certificate_outside_of_its_time_is_told_with_both_clocks() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let answers = || Answers::from([("/version", version(36))]);
        let expired = start_with(&authority, &["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 2, 3), answers());
        let found = fails(subject_of(&expired.url(), &authority), "apiserver", "expired at 2020-02-03T00:00:00Z");
        let year = printed("date -u +%Y-%m-%d");
        assert_eq!(found.observed.matches(year.trim()).count(), 2, "{}", found.observed);
        assert!(found.remedy.unwrap().contains("kubeadm certs renew"), "the clocks agree, so it is the certificate");
        let early = start_with(&authority, &["127.0.0.1"], |params| params.not_before = date_time_ymd(2090, 2, 3), answers());
        fails(subject_of(&early.url(), &authority), "apiserver", "is not valid before 2090-02-03T00:00:00Z");
        // Go looks at the authority's time as well.
        let old = Authority::with("kubernetes", |params| params.not_after = date_time_ymd(2021, 1, 1));
        let server = start(&old, answers());
        fails(subject_of(&server.url(), &old), "apiserver", "the cluster's authority (127.0.0.1:");
    });
}

#[test]
fn ns_a_certificate_for_another_name_is_told_with_the_names_it_has() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let server = start_with(&authority, &["api.example", "10.0.0.1"], |_| (), Answers::new());
        let found = fails(subject_of(&server.url(), &authority), "apiserver", "not for 127.0.0.1");
        assert!(found.observed.contains("api.example") && found.observed.contains("10.0.0.1"), "{}", found.observed);
    });
}

#[test]
fn ns_what_answers_and_is_no_api_server_is_told() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let web = start(&authority, Answers::from([("/version", (200, "<html>Hello</html>".to_owned()))]));
        fails(
            subject_of(&web.url(), &authority),
            "apiserver",
            "but not as an API server: what it answers for /version tells no",
        );
        let other = start(&authority, Answers::new());
        fails(subject_of(&other.url(), &authority), "apiserver", "but not as an API server: it answers 404");
        let plain = serve(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        });
        fails(subject_of(&plain.url(), &authority), "apiserver", "does not speak TLS");
    });
}

#[test]
fn ns_the_kubelet_may_be_three_minor_versions_older_than_the_api_server_and_not_newer() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let under = |minor| {
            let server = start(&authority, Answers::from([("/version", version(minor))]));
            let mut subject = subject_of(&server.url(), &authority);
            subject.settings.kubelet.version = Version::new(1, 36, 4);
            subject
        };
        for minor in [36, 37, 39] {
            passes(under(minor), "version-skew", &format!("kubelet 1.36.4, API server 1.{minor}.1"));
        }
        let found = fails(under(35), "version-skew", "kubelet 1.36.4, API server 1.35.1");
        assert!(found.remedy.unwrap().contains("upgrade the control plane first"));
        fails(under(40), "version-skew", "at most three minor versions older");
    });
}

/// A Node of this name, with the ids of a machine.
fn node(ready: &str, machine: &str, boot: &str) -> (u16, String) {
    let node = format!(
        r#"{{"kind":"Node","status":{{"addresses":[{{"type":"InternalIP","address":"10.0.1.8"}}],
        "conditions":[{{"type":"Ready","status":"{ready}"}}],"nodeInfo":{{"machineID":"{machine}","bootID":"{boot}"}}}}}}"#
    );
    (200, node)
}

#[test]
fn ns_a_ready_node_of_the_same_name_blocks_unless_it_is_this_machine() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        fs::write("/etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n").unwrap();
        let with = |node| {
            let answers = Answers::from([("/version", version(36)), ("/api/v1/nodes/node-07 with token", node)]);
            subject_with_token(&start(&authority, answers).url(), &authority)
        };
        let other = "00000000000000000000000000000001";
        let found = fails(with(node("True", other, "x")), "node-name-free", "is Ready, and another machine at 10.0.1.8");
        assert!(found.observed.contains(other) && found.observed.contains("3d1219c7c4c5404aaa1f6d2a48adfda4"));
        passes(with(node("Unknown", other, "x")), "node-name-free", "is not Ready: this machine takes its place");
        passes(with(node("True", "3d1219c7c4c5404aaa1f6d2a48adfda4", "x")), "node-name-free", "is this machine");
        let boot = printed("cat /proc/sys/kernel/random/boot_id");
        passes(with(node("True", other, boot.trim())), "node-name-free", "is this machine");
    });
}

#[test]
fn ns_a_token_that_the_cluster_does_not_know_blocks_and_one_that_may_not_read_nodes_does_not() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let with = |status| {
            let answers = Answers::from([("/version", version(36)), ("/api/v1/nodes/node-07", (status, String::new()))]);
            subject_with_token(&start(&authority, answers).url(), &authority)
        };
        let found = fails(with(401), "node-name-free", "does not take the bootstrap token in /mnt/host/token");
        assert!(found.remedy.unwrap().contains("kubeadm token create"));
        let found = ends(with(403), "node-name-free", &Outcome::Warning, "the bootstrap token may not read Nodes");
        assert!(found.remedy.unwrap().contains("kubeadm:get-nodes") && !found.observed.contains("abcdef"));
    });
}

#[test]
fn ns_a_node_that_has_its_certificate_asks_with_it() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        fs::create_dir_all("/mnt/host/kubelet/pki").unwrap();
        sh("mkdir -p /etc/kubernetes && touch /etc/kubernetes/kubelet.conf");
        let path = Path::new("/mnt/host/kubelet/pki/kubelet-client-current.pem");
        fs::write(path, authority.client("node-07")).unwrap();
        let boot = printed("cat /proc/sys/kernel/random/boot_id");
        let own = ("/api/v1/nodes/node-07 with certificate", node("True", "x", boot.trim()));
        let server = start(&authority, Answers::from([("/version", version(36)), own]));
        passes(subject_of(&server.url(), &authority), "node-name-free", "the Node node-07 is this machine");
        // The same identity on two machines: a copied disk.
        let other = ("/api/v1/nodes/node-07 with certificate", node("True", "x", "y"));
        let server = start(&authority, Answers::from([("/version", version(36)), other]));
        let found = fails(subject_of(&server.url(), &authority), "node-name-free", "is Ready, and another machine");
        assert!(found.remedy.unwrap().starts_with("this disk is a copy"));
        fs::write(path, "certificate of this node\n").unwrap();
        ends(subject_of(&server.url(), &authority), "node-name-free", &Outcome::Warning, "it holds no certificate");
    });
}

pub(crate) const REVIEWS: [&str; 4] = [
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews get nodes/",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews list nodes/",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews watch nodes/",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews patch nodes/status",
];

/// As the real one answers a SelfSubjectAccessReview.
pub(crate) fn reviewed(allowed: bool) -> (u16, String) {
    let status =
        if allowed { r#"{"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding"}"# } else { r#"{"allowed":false}"# };
    (201, format!(r#"{{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{status}}}"#))
}

#[test]
fn ns_flannels_identity_must_be_known_and_allowed_what_flannel_does() {
    on_a_fresh_host(|| {
        let authority = Authority::new();
        let of = |answers: Answers| {
            let server = start(&authority, answers);
            let mut subject = subject_with_token(&server.url(), &authority);
            let identity = hostlet::config::FlannelIdentity::TokenFile("/mnt/host/token".into());
            subject.settings.flannel.as_mut().unwrap().datastore = hostlet::config::Datastore::Kube(identity);
            subject
        };
        let all = |allowed: [bool; 4]| REVIEWS.into_iter().zip(allowed.map(reviewed)).collect::<Answers>();
        passes(
            of(all([true; 4])),
            "flannel-rbac",
            "get nodes, list nodes, watch nodes, patch nodes/status, with /mnt/host/token",
        );
        let found = fails(of(all([true, true, true, false])), "flannel-rbac", "may not: patch nodes/status");
        assert!(found.remedy.unwrap().contains("hostlet config flannel-rbac | kubectl apply -f -"));
        fails(of(all([false; 4])), "flannel-rbac", "may not: get nodes, list nodes, watch nodes, patch nodes/status");
        let unknown = REVIEWS.into_iter().map(|review| (review, (401, "{}".to_owned()))).collect();
        fails(of(unknown), "flannel-rbac", "does not take flannel's identity in /mnt/host/token (401)");
        // Where nobody can tell, nobody is blocked.
        ends(of(Answers::new()), "flannel-rbac", &Outcome::Warning, "404");
        let mut without = of(all([true; 4]));
        let identity = hostlet::config::FlannelIdentity::TokenFile("/mnt/host/no-token".into());
        without.settings.flannel.as_mut().unwrap().datastore = hostlet::config::Datastore::Kube(identity);
        let found = fails(without, "flannel-rbac", "/mnt/host/no-token cannot be used");
        assert!(found.remedy.unwrap().contains("write the token"));
        let mut alone = of(all([false; 4]));
        alone.settings.flannel = None;
        passes(alone, "flannel-rbac", "asks nothing");
    });
}
