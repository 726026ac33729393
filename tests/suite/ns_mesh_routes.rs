//! Node to node, where one address family is broken, or where routes and their rules mislead.

use crate::{
    ns_mesh_world::{
        Wiring::{Bridge, Dual},
        nodes, probe, rules,
    },
    ns_preflight_world::{on_a_fresh_host, sh},
};

#[test]
fn ns_mesh_of_two_address_families_the_broken_one_is_named_and_the_other_is_proved() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Dual);
        for node in 1..=2 {
            cluster.configure(node, "ipv6-network = \"fd00:244::/56\"", "wait-timeout = 60");
        }
        let _others = cluster.others_respond();
        // The overlay in both families, sizes and directions, and the two services over the first family.
        let (all, of_ipv4) = (probe(1), 6);
        all.is(&[], &["10 passed"]);
        rules(2, "input", &["meta nfproto ipv6 udp dport 8472 drop"]);
        probe(1).is(
            &["udp/8472 n1 -> n2 full: receivers-firewall", "udp/8472 n1 -> n2 small: receivers-firewall"],
            &["FAIL udp/8472 over IPv6  n1 (fd09::1) -> n2 (fd09::2)  inbound at n2", "reverse, n2 -> n1: pass"],
        );
        // Who answers over one family is there: the other one is broken, and not waited for.
        let broken = |says: &[&str]| {
            let found = probe(1);
            found.is(&[], says);
            assert_eq!((found.passes(), &found.finding["outcome"]), (of_ipv4, &"failure".into()), "{}", found.text());
            let took = found.mesh["duration-ms"].as_u64().unwrap();
            assert!(took < 8_000, "{took} ms");
            found.state("n2")
        };
        rules(2, "input", &["meta nfproto ipv6 meta l4proto { tcp, udp } drop"]);
        let silent = broken(&[
            "FAIL n2 (10.9.0.2, fd09::2): it answers over IPv4, and over IPv6 (fd09::2) it does not: no answer from udp/7470",
            "ip -6 rule",
            "1 peers answered over one address family only",
        ]);
        assert_eq!(silent, "one-family");
        rules(2, "input", &["meta nfproto ipv6 drop"]);
        assert_eq!(broken(&["it answers over IPv4, and over IPv6 (fd09::2) it does not"]), "one-family");
        rules(2, "input", &[]);
        sh("ip -n n1 -6 route delete fd09::/64");
        assert_eq!(broken(&["no route on this node (n1) to fd09::2", "ip route get fd09::2 from fd09::1"]), "no-route");
    });
}

#[test]
fn ns_mesh_rules_of_routing_that_mislead_are_told_with_what_shows_them() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        let rule = |rule: &str| sh(&format!("ip -n n1 rule add pref 100 to 10.9.0.2 {rule}"));
        for kind in ["blackhole", "prohibit", "unreachable"] {
            // To whoever connects, a rule of the type unreachable is no route.
            if kind == "unreachable" {
                sh("ip -n n1 route add unreachable 10.9.0.2");
            } else {
                rule(kind);
            }
            let found = probe(1);
            assert_eq!((found.state("n2"), &found.finding["outcome"]), ("no-route".to_owned(), &"failure".into()));
            found.is(
                &[],
                &[
                    &format!("FAIL n2 (10.9.0.2): a route or rule of the type {kind} on this node (n1) to 10.9.0.2"),
                    "on n1: ip route get 10.9.0.2 from 10.9.0.1; ip rule",
                ],
            );
            sh("ip -n n1 rule delete pref 100 || ip -n n1 route delete unreachable 10.9.0.2");
        }
        // One port alone.
        rule("ipproto udp dport 8472 unreachable");
        probe(1).is(
            &["udp/8472 n1 -> n2 full: no-route", "udp/8472 n1 -> n2 small: no-route"],
            &["reported by n1 itself", "ip rule; ip route get 10.9.0.2 from 10.9.0.1 ipproto udp dport 8472"],
        );
        sh("ip -n n1 rule delete pref 100");
        // Out by another link, on which nobody has that address, or somebody who answers to ARP for all.
        sh("ip netns add elsewhere
            ip link add w0 netns n1 type veth peer name w0 netns elsewhere
            ip -n n1 address add 192.0.2.1/24 dev w0 && ip -n n1 link set w0 up
            ip -n elsewhere address add 192.0.2.2/24 dev w0 && ip -n elsewhere link set w0 up
            ip -n n1 route add default dev w0 table 100");
        rule("table 100");
        let found = probe(1);
        assert_eq!(found.state("n2"), "down", "{}", found.text());
        let says = ["packets to it leave by w0, though 10.9.0.1 is on eth0", "ip rule; ip route get 10.9.0.2 from 10.9.0.1"];
        found.is(&[], &says);
        sh("ip -n n1 route replace default via 192.0.2.2 dev w0 table 100");
        let found = probe(1);
        // "down" as long as the kernel remembers that nobody answered on that link.
        assert!(["silent", "down"].contains(&found.state("n2").as_str()), "{}", found.text());
        found.is(&[], &says);
        sh("ip -n n1 rule delete pref 100");
        probe(1).is(&[], &["6 passed"]);
    });
}

#[test]
fn ns_mesh_a_node_whose_address_is_on_the_loopback_probes_with_what_its_link_carries() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        sh("ip -n n1 address flush dev eth0
            ip -n n1 address add 10.9.0.1/32 dev lo && ip -n n1 route add 10.9.0.0/24 dev eth0 src 10.9.0.1");
        let found = probe(1);
        found.is(&[], &["6 passed"]);
        assert!(found.mesh.to_string().contains("\"bytes\":1500"), "{}", found.mesh);
    });
}
