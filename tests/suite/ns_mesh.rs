//! Node to node: each cause made for real between namespaces, and the verdict that names it.

use crate::{
    ns_mesh_world::{
        Wiring::{Bridge, Ipv6, Router},
        begin, found, hostlet, nodes, probe, respond, router_rules, rules,
    },
    ns_preflight_world::{on_a_fresh_host, printed, sh},
};

#[test]
fn ns_mesh_three_nodes_without_fault_prove_every_port_in_both_directions() {
    on_a_fresh_host(|| {
        let cluster = nodes(3, Bridge);
        let others = cluster.others_respond();
        let found = probe(1);
        found.is(&[], &["2 peers, both directions: 12 passed"]);
        // Each worker: the kubelet's port, the API server's, and the overlay both ways in both sizes.
        assert_eq!(found.passes(), 12);
        assert_eq!([&found.finding["id"], &found.finding["outcome"]], ["mesh", "pass"]);
        let took = found.mesh["duration-ms"].as_u64().unwrap();
        assert!(took < 2_000, "{took} ms");
        // A worker finds the same of the control plane, and of another worker.
        let _first = respond(1);
        drop(others);
        let _second = respond(2);
        let found = probe(3);
        found.is(&[], &["2 peers, both directions: 10 passed"]);
    });
}

#[test]
fn ns_mesh_a_drop_on_input_is_the_receivers_own_firewall() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        rules(2, "input", &["udp dport 8472 drop"]);
        probe(1).is(
            &["udp/8472 n1 -> n2 full: receivers-firewall", "udp/8472 n1 -> n2 small: receivers-firewall"],
            &[
                "FAIL udp/8472  n1 (10.9.0.1) -> n2 (10.9.0.2)  inbound at n2",
                "0 of 7 arrived at the socket, 7 of 7 at the interface: dropped by n2's own firewall",
                "on n2: nft insert rule inet filter input udp dport 8472 accept",
                "reverse, n2 -> n1: pass",
            ],
        );
    });
}

#[test]
fn ns_mesh_a_drop_on_this_nodes_input_is_told_as_inbound_here() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        rules(1, "input", &["udp dport 8472 drop"]);
        probe(1).is(
            &["udp/8472 n2 -> n1 full: receivers-firewall", "udp/8472 n2 -> n1 small: receivers-firewall"],
            &["inbound at n1", "dropped by n1's own firewall", "reverse, n1 -> n2: pass"],
        );
    });
}

#[test]
fn ns_mesh_a_drop_in_the_middle_is_the_networks_and_one_way_is_told_so() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        let _others = cluster.others_respond();
        router_rules(&[
            "ip saddr 10.9.1.2 tcp dport 6443 drop",
            "ip saddr 10.9.1.2 tcp dport 10250 drop",
            "ip saddr 10.9.1.2 udp dport 8472 drop",
        ]);
        probe(1).is(
            &[
                "tcp/10250 n1 -> n2 small: filter-on-port",
                "udp/8472 n1 -> n2 full: filter-on-vxlan",
                "udp/8472 n1 -> n2 small: filter-on-vxlan",
            ],
            &["0 of 7 VXLAN packets arrived at n2's interface", "reverse, n2 -> n1: pass", "security group"],
        );
    });
}

#[test]
fn ns_mesh_a_filter_on_the_vxlan_header_alone_is_found() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        // The flag byte of a VXLAN header, as some hypervisors look for it, on whatever port.
        router_rules(&["@th,64,8 8 meta l4proto udp drop"]);
        let _others = cluster.others_respond();
        let causes = probe(1);
        causes.is(
            &[
                "udp/8472 n1 -> n2 full: filter-on-vxlan",
                "udp/8472 n1 -> n2 small: filter-on-vxlan",
                "udp/8472 n2 -> n1 full: filter-on-vxlan",
                "udp/8472 n2 -> n1 small: filter-on-vxlan",
            ],
            &["set flannel.port to another one"],
        );
    });
}

#[test]
fn ns_mesh_a_reject_never_passes_and_names_who_rejected() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        let _others = cluster.others_respond();
        rules(2, "input", &["udp dport 8472 reject", "tcp dport 10250 reject with tcp reset"]);
        probe(1).is(
            &["tcp/10250 n1 -> n2 small: refused", "udp/8472 n1 -> n2 full: refused", "udp/8472 n1 -> n2 small: refused"],
            &["refused with ICMP port unreachable by 10.9.2.2 (n2 itself), though n2 listens: a reject rule", "TCP reset"],
        );
        rules(2, "input", &[]);
        router_rules(&[
            "tcp dport 10250 reject with icmpx admin-prohibited",
            "udp dport 8472 ip daddr 10.9.2.2 reject with icmp admin-prohibited",
        ]);
        probe(1).is(
            &["tcp/10250 n1 -> n2 small: rejected", "udp/8472 n1 -> n2 full: rejected", "udp/8472 n1 -> n2 small: rejected"],
            &["administratively prohibited by 10.9.1.1", "on 10.9.1.1: allow tcp/10250"],
        );
        router_rules(&["udp dport 8472 ip daddr 10.9.2.2 reject with icmp net-unreachable"]);
        probe(1).is(
            &["udp/8472 n1 -> n2 full: no-route", "udp/8472 n1 -> n2 small: no-route"],
            &["no route to 10.9.2.2, reported by 10.9.1.1"],
        );
    });
}

#[test]
fn ns_mesh_what_the_sender_itself_drops_is_told_so() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        rules(1, "output", &["udp dport 8472 drop"]);
        probe(1).is(
            &["udp/8472 n1 -> n2 full: senders-firewall", "udp/8472 n1 -> n2 small: senders-firewall"],
            &["n1's own firewall did not let it out", "output chain"],
        );
    });
}

#[test]
fn ns_mesh_what_conntrack_lets_pass_as_an_answer_is_no_pass() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        for node in 1..=2 {
            cluster.configure(node, "backend = \"udp\"", "");
        }
        rules(2, "input", &["ct state established accept", "udp dport 7470 accept", "tcp dport 10250 accept", "drop"]);
        // 8285 to 8285 passes from now on, since the other side has sent: a probe from there would be a false pass.
        sh("ip netns exec n1 python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"10.9.0.1\", 8285))
for _ in range(40): s.sendto(b\"x\", (\"10.9.0.2\", 8285)); time.sleep(0.05)' &
ip netns exec n2 python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"10.9.0.2\", 8285)); s.settimeout(2)
s.sendto(b\"x\", (\"10.9.0.1\", 8285)); s.recv(1)'
wait");
        let _others = cluster.others_respond();
        probe(1).is(
            &["udp/8285 n1 -> n2 full: receivers-firewall", "udp/8285 n1 -> n2 small: receivers-firewall"],
            &["reverse, n2 -> n1: pass"],
        );
    });
}

#[test]
fn ns_mesh_a_path_mtu_is_told_with_the_router_that_says_it_and_a_black_hole_without() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        let _others = cluster.others_respond();
        // The router's link to the second node carries less than the nodes' own.
        sh("ip route replace 10.9.2.2/32 dev v2 mtu lock 1400");
        probe(1).is(
            &["udp/8472 n1 -> n2 full: path-mtu"],
            &["1500 bytes are too large: path MTU 1400, reported by 10.9.1.1", "mtu 1400"],
        );
        let output = hostlet(1, &["preflight", "--report"]).output().unwrap();
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = "peer  state         tcp/6443   tcp/10250  udp/8472\nn2    proved        -/ok       ok/-       MTU/ok\n";
        assert!(table.contains(expected), "{table}");
        sh("ip netns exec n1 nft add table inet hole; ip netns exec n1 nft add chain inet hole input '{ type filter hook input priority 0; }'
            ip netns exec n1 nft add rule inet hole input icmp type destination-unreachable drop");
        probe(1).is(
            &["udp/8472 n1 -> n2 full: black-hole"],
            &["128 bytes arrive, 1500 bytes that must not be fragmented do not", "black hole"],
        );
    });
}

#[test]
fn ns_mesh_a_dead_host_a_node_without_route_and_one_that_has_not_started_are_pending_and_told_apart() {
    on_a_fresh_host(|| {
        let cluster = nodes(4, Bridge);
        sh("ip -n n2 link set eth0 down");
        let _answers = respond(4);
        let found = probe(1);
        found.is(
            &[],
            &["PENDING n2 (10.9.0.2): no answer to ARP", "PENDING n3 (10.9.0.3): the host answers, and nobody listens"],
        );
        assert_eq!(
            (found.state("n2"), found.state("n3"), found.state("n4")),
            ("down".into(), "not-started".into(), "proved".into())
        );
        // Neither a pass nor a failure; they were to be waited for, so it blocks all the same.
        assert_eq!(found.finding["outcome"], "unknown");
        cluster.configure(1, "", "wait-for = [\"n4\"]");
        let found = probe(1);
        assert_eq!(found.finding["outcome"], "warning", "{}", found.text());
    });
}

#[test]
fn ns_mesh_a_port_that_the_kernels_vxlan_device_holds_still_gives_true_receipts() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        sh("ip -n n2 link add flannel.1 type vxlan id 1 dstport 8472 dev eth0 && ip -n n2 link set flannel.1 up");
        let _others = cluster.others_respond();
        let found = probe(1);
        found.is(&[], &["6 passed"]);
        let text = found.mesh.to_string();
        assert!(text.contains("\"listening\":\"taken\""), "{text}");
        rules(2, "input", &["udp dport 8472 drop"]);
        probe(1).is(
            &["udp/8472 n1 -> n2 full: receivers-firewall", "udp/8472 n1 -> n2 small: receivers-firewall"],
            &["0 of 7 arrived at the socket, 7 of 7 at the interface"],
        );
        // The device has taken nothing for a frame of its own.
        let received = printed("ip -n n2 -s -j link show flannel.1");
        assert!(received.contains("\"rx\":{\"bytes\":0,\"packets\":0"), "{received}");
    });
}

#[test]
fn ns_mesh_ports_that_services_hold_are_proved_by_raw_socket_and_handshake() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        for node in 1..=2 {
            cluster.configure(node, "backend = \"udp\"", "");
        }
        let script = "import socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((\"10.9.0.2\", 8285))
t = socket.socket(); t.bind((\"\", 10250)); t.listen()
time.sleep(1000)";
        let _services = crate::ns_preflight_world::launch("ip", &["netns", "exec", "n2", "python3", "-c", script]);
        crate::ns_preflight_world::until("listening", || printed("ip netns exec n2 cat /proc/net/tcp").contains(":280A "));
        let _others = cluster.others_respond();
        let found = probe(1);
        found.is(&[], &["6 passed"]);
        assert!(found.mesh.to_string().contains("connected to what holds the port on n2"), "{}", found.mesh);
        rules(2, "input", &["tcp dport 10250 drop", "udp dport 8285 drop"]);
        probe(1).is(
            &[
                "tcp/10250 n1 -> n2 small: receivers-firewall",
                "udp/8285 n1 -> n2 full: receivers-firewall",
                "udp/8285 n1 -> n2 small: receivers-firewall",
            ],
            &[],
        );
    });
}

#[test]
fn ns_mesh_a_running_node_without_responder_is_unverified_and_told_so() {
    on_a_fresh_host(|| {
        nodes(2, Bridge);
        let script = "import socket, time
t = socket.socket(); t.bind((\"\", 10250)); t.listen()
time.sleep(1000)";
        let _kubelet = crate::ns_preflight_world::launch("ip", &["netns", "exec", "n2", "python3", "-c", script]);
        crate::ns_preflight_world::until("listening", || printed("ip netns exec n2 cat /proc/net/tcp").contains(":280A "));
        let found = probe(1);
        found.is(
            &[],
            &[
                "UNVERIFIED n2 (10.9.0.2): its services can be reached",
                "on n2: systemctl status hostlet-responder.socket, or hostlet respond",
            ],
        );
        assert_eq!(found.finding["outcome"], "unknown");
    });
}

#[test]
fn ns_mesh_a_missing_route_on_the_node_itself_is_a_failure_that_says_so() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        let _others = cluster.others_respond();
        sh("ip -n n1 route delete default");
        let found = probe(1);
        assert_eq!((found.state("n2"), &found.finding["outcome"]), ("no-route".to_owned(), &"failure".into()));
        found.is(&[], &["FAIL n2 (10.9.2.2): no route on this node (n1) to 10.9.2.2", "on n1: ip route get 10.9.2.2"]);
    });
}

#[test]
fn ns_mesh_probes_leave_from_the_node_ip_on_a_host_with_two_addresses_and_a_default_route_elsewhere() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        // Another link with the default route, and a second address on the link of the nodes, which comes first there.
        sh("ip netns add elsewhere
            ip link add w0 netns n1 type veth peer name w0 netns elsewhere
            ip -n n1 address add 192.0.2.1/24 dev w0 && ip -n n1 link set w0 up && ip -n elsewhere link set w0 up
            ip -n n1 route add default via 192.0.2.2
            ip -n n1 address flush dev eth0
            ip -n n1 address add 10.9.0.101/24 dev eth0 && ip -n n1 address add 10.9.0.1/24 dev eth0");
        let _others = cluster.others_respond();
        // What does not come from the node's address is dropped, and does not count.
        rules(2, "input", &["ip saddr != 10.9.0.1 ip saddr != 127.0.0.1 counter drop"]);
        probe(1).is(&[], &["6 passed"]);
        let listed = printed("ip netns exec n2 nft list ruleset");
        assert!(listed.contains("counter packets 0 bytes 0 drop"), "{listed}");
        // And it answers from there.
        rules(2, "input", &[]);
        let _first = respond(1);
        probe(2).is(&[], &["6 passed"]);
    });
}

#[test]
fn ns_mesh_one_way_silence_is_a_failure_since_the_other_ones_messages_come_here() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        router_rules(&["ip saddr 10.9.1.2 drop"]);
        cluster.configure(2, "", "wait-timeout = 4");
        let mut other = hostlet(2, &["preflight"]).spawn().unwrap();
        let found = probe(1);
        assert_eq!(found.state("n2"), "one-way", "{}", found.text());
        assert_eq!(found.finding["outcome"], "failure");
        other.wait().unwrap();
    });
}

#[test]
fn ns_mesh_a_wrong_key_a_stranger_and_a_key_that_others_can_read_are_refused() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        sh("echo fedcba9876543210 > /mnt/host/other-key && chmod 600 /mnt/host/other-key");
        cluster.configure(2, "", "key-file = \"/mnt/host/other-key\"");
        let others = cluster.others_respond();
        let found = probe(1);
        assert_eq!(found.state("n2"), "silent", "{}", found.text());
        assert!(found.text().contains("the same mesh.key-file"), "{}", found.text());
        drop(others);
        sh("chmod 640 /mnt/host/key");
        let output = hostlet(1, &["respond"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("/mnt/host/key has mode 0640") && said.contains("chmod 0600 /mnt/host/key"), "{said}");
    });
}

#[test]
fn ns_mesh_a_node_that_never_comes_is_named_when_the_wait_is_over() {
    on_a_fresh_host(|| {
        let cluster = nodes(3, Bridge);
        cluster.configure(1, "", "wait-timeout = 3");
        let _second = respond(2);
        let start = std::time::Instant::now();
        let output = begin(1).wait_with_output().unwrap();
        let took = start.elapsed();
        let found = found(&output);
        assert_eq!((found.state("n2").as_str(), found.state("n3").as_str()), ("proved", "not-started"));
        assert_eq!(found.finding["outcome"], "unknown");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(printed.contains("waiting up to 3s for n3 to start"), "{printed}");
        assert!((3..9).contains(&took.as_secs()), "{took:?}");
    });
}

#[test]
fn ns_mesh_over_ipv6_a_drop_is_placed_and_the_rest_is_proved() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Ipv6);
        for node in 1..=2 {
            cluster.configure(node, "ipv6-network = \"fd00:244::/56\"", "");
        }
        let others = cluster.others_respond();
        probe(1).is(&[], &["1 peers, both directions: 6 passed"]);
        rules(2, "input", &["udp dport 8472 drop", "tcp dport 10250 reject with tcp reset"]);
        probe(1).is(
            &[
                "tcp/10250 n1 -> n2 small: refused",
                "udp/8472 n1 -> n2 full: receivers-firewall",
                "udp/8472 n1 -> n2 small: receivers-firewall",
            ],
            &["n1 (fd09::1) -> n2 (fd09::2)"],
        );
        // Taken by the kernel's device: seen by the raw socket, which has no IP header over IPv6.
        rules(2, "input", &[]);
        drop(others);
        sh(
            "ip -n n2 link add flannel-v6.1 type vxlan id 1 dstport 8472 local fd09::2 dev eth0 && ip -n n2 link set flannel-v6.1 up",
        );
        let _others = cluster.others_respond();
        let found = probe(1);
        found.is(&[], &["6 passed"]);
        assert!(found.mesh.to_string().contains("\"listening\":\"taken\""), "{}", found.mesh);
    });
}

#[test]
fn ns_mesh_who_waits_for_peers_can_be_stopped() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        cluster.configure(1, "", "wait-timeout = 300");
        let mut child = begin(1);
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        let start = std::time::Instant::now();
        sh(&format!("kill -TERM {}", child.id()));
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130));
        assert!(start.elapsed() < std::time::Duration::from_secs(3), "{:?}", start.elapsed());
    });
}
