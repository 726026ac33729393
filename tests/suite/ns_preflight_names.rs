//! The node's name and the nameservers, with nameservers of the test's own.

use std::{fs, net::UdpSocket, thread, time::Duration};

use hostlet::{host::resolver::BEHIND_THE_STUB, preflight::Outcome};

use crate::ns_preflight_world::{ends, fails, on_a_fresh_host, passes, preflight, sh, subject, with_field};

#[test]
fn ns_a_node_called_localhost_is_refused() {
    on_a_fresh_host(|| {
        passes(subject(), "hostname", "node-07");
        let mut unnamed = subject();
        unnamed.identity.name = "localhost.localdomain".parse().unwrap();
        fails(unnamed, "hostname", "localhost.localdomain");
    });
}

/// Takes away the line that every host of these tests has.
fn without_the_name() {
    sh("grep -v node-07 /etc/hosts > /etc/hosts.new; mv /etc/hosts.new /etc/hosts");
}

/// A nameserver on 127.0.0.5 that knows node-07 alone; RFC 1035.
fn nameserver() {
    let socket = UdpSocket::bind("127.0.0.5:53").unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let question = &query[12..length];
            // The name ends with a zero; type and class follow. What comes after (EDNS) is left out of the answer.
            let name = question.iter().position(|byte| *byte == 0).unwrap() + 1;
            let (known, asks_a) = (question.starts_with(b"\x07node-07"), question[name..name + 2] == [0, 1]);
            let answers = u8::from(known && asks_a);
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
            answer.extend(&question[..name + 4]);
            if answers == 1 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 1, 7]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}

#[test]
fn ns_a_name_is_resolved_by_hosts_by_nss_myhostname_or_by_dns() {
    on_a_fresh_host(|| {
        passes(subject(), "hostname", "10.0.1.7, by /etc/hosts");
        without_the_name();
        nameserver();
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.5\n").unwrap();
        passes(subject(), "hostname", "10.0.1.7, by DNS");
        let mut unknown = subject();
        unknown.identity.name = "node-08".parse().unwrap();
        let found = ends(unknown, "hostname", &Outcome::Warning, "neither /etc/hosts nor DNS (127.0.0.5) knows it");
        assert_eq!(found.remedy.unwrap(), "echo 10.0.1.7 node-08 >>/etc/hosts, or let DNS know it");
        fs::write("/etc/nsswitch.conf", "hosts: files myhostname dns\n").unwrap();
        let mut own = subject();
        own.identity.name = hostlet::host::kernel::Kernel::running().unwrap().host_name.to_lowercase().parse().unwrap();
        sh("echo > /etc/hosts");
        passes(own, "hostname", "by nss-myhostname");
    });
}

/// Packets to a nameserver behind the default route disappear: there is nobody.
#[test]
fn ns_a_nameserver_that_does_not_answer_costs_half_a_second_and_a_warning() {
    on_a_fresh_host(|| {
        without_the_name();
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.53\n").unwrap();
        let report = preflight(subject());
        let found = report.findings.iter().find(|finding| finding.id == "hostname").unwrap();
        assert_eq!(found.outcome, Outcome::Warning);
        assert!(found.observed.contains("DNS (192.0.2.53) did not answer within 500 ms"), "{}", found.observed);
        assert!(found.duration < Duration::from_secs(1), "{:?}", found.duration);
    });
}

#[test]
fn ns_pods_need_a_nameserver_that_is_not_on_the_hosts_loopback() {
    on_a_fresh_host(|| {
        let resolv = |text: &str| fs::write("/etc/resolv.conf", text).unwrap();
        resolv("nameserver 10.0.1.1\n");
        passes(subject(), "resolv-conf", "10.0.1.1 in /etc/resolv.conf");
        resolv("# dnsmasq\nnameserver 127.0.0.1\nnameserver ::1\n");
        fails(subject(), "resolv-conf", "/etc/resolv.conf names only 127.0.0.1, ::1, which in a pod is the pod itself");
        passes(with_field("resolvConf", ""), "resolv-conf", "pods get none");
        resolv("nameserver 127.0.0.1\nnameserver 10.0.1.1\n");
        ends(subject(), "resolv-conf", &Outcome::Warning, "names 10.0.1.1, and also 127.0.0.1");
        resolv("search example.org\n");
        ends(subject(), "resolv-conf", &Outcome::Warning, "names no nameserver");
        fails(with_field("resolvConf", "/etc/resolv.conf.pods"), "resolv-conf", "/etc/resolv.conf.pods does not exist");
    });
}

#[test]
fn ns_behind_systemd_resolveds_stub_pods_get_the_real_nameservers() {
    on_a_fresh_host(|| {
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0\n").unwrap();
        fails(subject(), "resolv-conf", "/etc/resolv.conf names only 127.0.0.53");
        fs::create_dir_all("/run/systemd/resolve").unwrap();
        fs::write(BEHIND_THE_STUB, "nameserver 10.0.1.1\n").unwrap();
        passes(subject(), "resolv-conf", "10.0.1.1 in /run/systemd/resolve/resolv.conf");
    });
}
