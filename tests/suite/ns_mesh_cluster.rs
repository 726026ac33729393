//! Node to node, where peers come from the API server, speak another version or sit behind a translator; where a connection is
//! lost; and whether the command that is named mends it.

use std::{env, fs, net::UdpSocket, time::Duration};

use hostlet::mesh::{
    body::Body,
    key::{Key, SIGNATURE},
    wire::{self, Message},
};

use crate::{
    api_server::{Answers, Authority, start_at, version},
    ns_mesh_world::{
        Cluster, Found,
        Wiring::{Bridge, Ipv6, Router},
        begin, found, hostlet, nodes, probe, respond, router_rules, rules,
    },
    ns_preflight_world::{Running, launch, on_a_fresh_host, printed, sh, until},
};

/// Nodes that have no list but the API server's.
fn of_the_api_server(cluster: &Cluster, authority: &Authority) {
    fs::write("/mnt/host/ca.crt", authority.pem()).unwrap();
    fs::write("/mnt/host/flannel-token", "abcdef.0123456789abcdef\n").unwrap();
    sh("ip address add 10.9.0.254/24 dev bridge1");
    for node in 1..=cluster.nodes {
        let role = if node == 2 { "control-plane" } else { "worker" };
        let text = format!(
            "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"n{node}\"\nip = \"10.9.0.{node}\"\nrole = \"{role}\"\n\
             [cluster]\nserver = \"https://10.9.0.254:6443\"\nca-file = \"/mnt/host/ca.crt\"\n\
             [flannel]\ntoken-file = \"/mnt/host/flannel-token\"\n[runtime]\nsocket = \"/mnt/host/cri.sock\"\n\
             [mesh]\npeers-from = \"api-server\"\nkey-file = \"/mnt/host/key\"\nwait-timeout = 0\n"
        );
        fs::write(format!("/mnt/host/n{node}.toml"), text).unwrap();
    }
}

fn node(name: &str, address: &str, label: &str, ready: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","labels":{{"{label}":""}}}},"status":{{"addresses":[{{"type":"InternalIP","address":"{address}"}}],"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
    )
}

fn page(next: &str, nodes: &[String]) -> (u16, String) {
    (200, format!(r#"{{"kind":"NodeList","metadata":{{"continue":"{next}"}},"items":[{}]}}"#, nodes.join(",")))
}

#[test]
fn ns_mesh_a_node_that_joins_proves_the_nodes_that_the_api_server_lists_and_they_answer_it_unlisted() {
    const FIRST: &str = "/api/v1/nodes?limit=100";
    on_a_fresh_host(|| {
        let cluster = nodes(3, Bridge);
        let authority = Authority::new();
        of_the_api_server(&cluster, &authority);
        let _responders = cluster.others_respond();
        let control_plane = "node-role.kubernetes.io/control-plane";
        let denied = (401, "{}".to_owned());
        let _server = start_at(
            "10.9.0.254:6443".parse().unwrap(),
            &authority,
            Answers::from([
                ("/version", version(36)),
                (FIRST, denied),
                ("/api/v1/nodes?limit=100 with token", page("next==", &[node("n2", "10.9.0.2", control_plane, "True")])),
                (
                    "/api/v1/nodes?limit=100&continue=next%3D%3D with token",
                    page(
                        "",
                        &[
                            node("n3", "10.9.0.3", "x", "True"),
                            node("n9", "10.9.0.9", "x", "Unknown"),
                            node("odd", "127.0.0.1", "x", "True"),
                        ],
                    ),
                ),
            ]),
        );
        let found = probe(1);
        assert_eq!(
            (found.state("n2"), found.state("n3"), found.state("n9")),
            ("proved".into(), "proved".into(), "down".into())
        );
        assert!(found.text().contains("NOTE the Node odd is not probed: it has no InternalIP"), "{}", found.text());
        assert_eq!(found.mesh["peers-from"]["nodes"], 4);
        // Who is not Ready may be gone for good: told, and not waited for.
        let pairs = found.mesh["pairs"].as_array().unwrap();
        assert!(pairs.iter().all(|pair| pair["waited-for"] == (pair["peer"] != "n9")), "{}", found.mesh);
        found.is(&[], &["10 passed, 1 peers did not answer"]);
        assert_eq!(found.finding["outcome"], "warning");
        let matrix = hostlet(1, &["preflight", "--show-matrix"]).output().unwrap();
        let matrix = String::from_utf8_lossy(&matrix.stdout).into_owned();
        assert!(matrix.contains("tcp/6443     IPv4  kube-apiserver   all to control-plane (3 pairs)"), "{matrix}");
    });
}

#[test]
fn ns_mesh_without_the_clusters_nodes_the_outcome_is_unknown_and_the_remedy_told() {
    on_a_fresh_host(|| {
        let cluster = nodes(1, Bridge);
        let authority = Authority::new();
        of_the_api_server(&cluster, &authority);
        let unknown = |found: &Found, says: &[&str]| {
            assert_eq!(found.finding["outcome"], "unknown", "{}", found.text());
            assert!(says.iter().all(|part| found.text().contains(part)), "{}", found.text());
        };
        unknown(&probe(1), &["UNKNOWN the cluster's Nodes", "refuses the connection", "the check apiserver tells what to do"]);
        let answer = |port: u16, status: u16| {
            let answers = Answers::from([
                ("/version", version(36)),
                ("/api/v1/nodes?limit=100", (status, "{\"kind\":\"Status\"}".to_owned())),
            ]);
            let text = fs::read_to_string("/mnt/host/n1.toml").unwrap();
            let at = text.find("10.9.0.254:").unwrap() + "10.9.0.254:".len();
            let end = at + text[at..].find('"').unwrap();
            fs::write("/mnt/host/n1.toml", format!("{}{port}{}", &text[..at], &text[end..])).unwrap();
            start_at(([10, 9, 0, 254], port).into(), &authority, answers)
        };
        let _forbids = answer(6444, 403);
        unknown(&probe(1), &["may not list Nodes (403)", "flannel's ClusterRole", "kubectl auth can-i list nodes"]);
        let _unknown = answer(6445, 401);
        unknown(&probe(1), &["does not take flannel's credential in /mnt/host/flannel-token (401)", "create token flannel"]);
        fs::remove_file("/mnt/host/flannel-token").unwrap();
        unknown(&probe(1), &["/mnt/host/flannel-token", "create token flannel"]);
    });
}

/// The same message in another version, signed as it must be.
fn in_version(version: u8, message: &Message, key: &Key) -> Vec<u8> {
    let mut bytes = message.to_bytes(key, 0);
    bytes[3] = version;
    let signed = bytes.len() - SIGNATURE;
    let signature = key.sign(&[&bytes[..signed]]);
    bytes[signed..].copy_from_slice(&signature);
    bytes
}

/// A node that speaks version 9: says so to whoever says hello to it, and says hello itself.
#[test]
#[ignore = "no test: a process that other tests start"]
fn a_process_that_speaks_another_version() {
    let key = Key::new(&fs::read("/mnt/host/key").unwrap(), "kubernetes").unwrap();
    let id = |name: &str| key.id(&name.parse().unwrap());
    let message = |session, body| Message { session, from: id("n2"), to: id("n1"), body };
    let socket = UdpSocket::bind("10.9.0.2:7470").unwrap();
    if env::var("HOSTLET_SAYS_HELLO").is_ok() {
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let ask = |bytes: &[u8]| {
            let mut buffer = [0; 2048];
            socket.send_to(bytes, "10.9.0.1:7470").unwrap();
            socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
        };
        let hello = in_version(9, &message([5; 16], Body::Hello), &key);
        let answer = ask(&hello).unwrap();
        assert!(answer.len() <= hello.len());
        assert_eq!(Message::parse(&answer, &key).unwrap().body, Body::OtherVersion);
        // Neither what nobody signed nor such an answer itself is answered.
        let mut forged = hello.clone();
        forged[20] ^= 1;
        assert_eq!(ask(&forged), None);
        assert_eq!(ask(&in_version(9, &message([5; 16], Body::OtherVersion), &key)), None);
        println!("answered as it should be");
        return;
    }
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let Ok(heard) = Message::parse(&buffer[..length], &key) else { continue };
        socket.send_to(&in_version(9, &message(heard.session, Body::OtherVersion), &key), from).unwrap();
    }
}

fn another_version(says_hello: bool) -> String {
    let test = "ns_mesh_cluster::a_process_that_speaks_another_version --exact --ignored --nocapture";
    let variable = if says_hello { "HOSTLET_SAYS_HELLO=1 " } else { "" };
    format!("{variable}ip netns exec n2 {} {test}", env::current_exe().unwrap().display())
}

#[test]
fn ns_mesh_a_peer_of_another_wire_version_is_named_so_and_gets_that_answer_itself() {
    on_a_fresh_host(|| {
        nodes(2, Bridge);
        let other: Running = launch("sh", &["-c", &format!("exec {}", another_version(false))]);
        until("listening", || printed("ip netns exec n2 cat /proc/net/udp").contains(":1D2E "));
        let found = probe(1);
        assert_eq!(found.state("n2"), "other-version");
        let says = format!("the peer speaks wire version 9, this hostlet {}", wire::VERSION);
        assert!(found.text().contains(&says) && found.text().contains("upgrade hostlet on n1"), "{}", found.text());
        assert_eq!(found.finding["outcome"], "unknown");
        drop(other);
        let _this = respond(1);
        let said = printed(&format!("{} 2>&1", another_version(true)));
        assert!(said.contains("answered as it should be"), "{said}");
    });
}

#[test]
fn ns_mesh_translated_addresses_are_named_by_both_nodes() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        sh("nft add table ip nat
            nft add chain ip nat post '{ type nat hook postrouting priority 100; }'
            nft add rule ip nat post ip saddr 10.9.2.2 oifname v1 masquerade");
        let second = respond(2);
        probe(1).is(
            &[
                "tcp/6443 n2 -> n1 small: translated",
                "udp/8472 n2 -> n1 full: translated",
                "udp/8472 n2 -> n1 small: translated",
            ],
            &["n2's packets come from 10.9.1.1, not from 10.9.2.2: addresses are translated", "masquerade"],
        );
        drop(second);
        // The node behind the translator gets no answer, and hears from the other why.
        for node in 1..=2 {
            cluster.configure(node, "", "wait-timeout = 3");
        }
        let first = begin(1);
        let found_there = probe(2);
        assert_eq!(found_there.state("n1"), "translated", "{}", found_there.text());
        assert!(found_there.text().contains("messages of this node come to n1 from 10.9.1.1"), "{}", found_there.text());
        found(&first.wait_with_output().unwrap());
    });
}

#[test]
fn ns_mesh_a_connection_to_a_held_port_that_gets_silence_is_placed() {
    const PORT: &str = "tcp/10250 n1 -> n2 small";
    on_a_fresh_host(|| {
        let cluster = nodes(2, Router);
        let script = "import socket, time\nt = socket.socket(); t.bind((\"\", 10250)); t.listen()\ntime.sleep(1000)";
        let _kubelet = launch("ip", &["netns", "exec", "n2", "python3", "-c", script]);
        until("listening", || printed("ip netns exec n2 cat /proc/net/tcp").contains(":280A "));
        let _others = cluster.others_respond();
        router_rules(&["tcp dport 10250 drop"]);
        probe(1).is(
            &[&format!("{PORT}: filter-on-port")],
            &["0 of 7 arrived at n2's interface, while other packets pass: a filter on this port in the network"],
        );
        router_rules(&[]);
        rules(1, "output", &["tcp dport 10250 drop"]);
        probe(1).is(
            &[&format!("{PORT}: senders-firewall")],
            &["0 of 7 left n1's interface: dropped by n1's own firewall", "output chain"],
        );
        rules(1, "output", &[]);
        rules(2, "output", &["tcp sport 10250 drop"]);
        probe(1).is(&[&format!("{PORT}: answer-lost")], &["arrived behind n2's firewall, and no answer came back"]);
    });
}

#[test]
fn ns_mesh_over_ipv6_a_lost_connection_is_placed_too() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Ipv6);
        for node in 1..=2 {
            cluster.configure(node, "ipv6-network = \"fd00:244::/56\"", "");
        }
        let _others = cluster.others_respond();
        rules(2, "input", &["tcp dport 10250 drop"]);
        rules(1, "output", &["icmpv6 type destination-unreachable drop"]);
        probe(1).is(
            &["tcp/10250 n1 -> n2 small: receivers-firewall"],
            &[
                "0 of 7 arrived at the socket, 7 of 7 at the interface",
                "nft insert rule inet filter input tcp dport 10250 accept",
            ],
        );
        rules(2, "input", &[]);
        rules(2, "output", &["tcp sport 10250 drop"]);
        probe(1).is(&["tcp/10250 n1 -> n2 small: answer-lost"], &[]);
        rules(2, "output", &[]);
        rules(1, "output", &["tcp dport 10250 drop"]);
        probe(1).is(&["tcp/10250 n1 -> n2 small: senders-firewall"], &[]);
    });
}

#[test]
fn ns_mesh_the_command_that_is_named_fits_the_rules_that_drop_and_mends_it() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        let _others = cluster.others_respond();
        let load = |text: &str| {
            // nft ends a rule at the end of a line.
            fs::write("/mnt/host/rules", format!("flush ruleset\n{}", text.replace("; ", "\n").replace("} ", "}\n"))).unwrap();
            sh("ip netns exec n2 nft -f /mnt/host/rules");
        };
        let accepts = "ct state established accept; udp dport 7470 accept; tcp dport 7470 accept; tcp dport 10250 accept;";
        let hook = "type filter hook input priority 0;";
        let drops = ["udp/8472 n1 -> n2 full: receivers-firewall", "udp/8472 n1 -> n2 small: receivers-firewall"];
        for (ruleset, commands) in [
            (
                format!("table ip fw {{ chain my-in {{ {hook} policy drop; {accepts} }} }}"),
                &["nft insert rule ip fw my-in udp dport 8472 accept"][..],
            ),
            (
                format!(
                    "table inet a {{ chain lan {{ udp dport 8472 drop; }} chain in {{ {hook} jump lan; }} }}
                     table inet b {{ chain in {{ {hook} policy drop; {accepts} }} }}"
                ),
                &["nft insert rule inet a in udp dport 8472 accept", "nft insert rule inet b in udp dport 8472 accept"],
            ),
        ] {
            load(&ruleset);
            let found = probe(1);
            found.is(&drops, &[&format!("on n2: {}; and the same in the file", commands.join(" && "))]);
            for command in commands {
                sh(&format!("ip netns exec n2 {command}"));
            }
            probe(1).is(&[], &["6 passed"]);
        }
        // What iptables-nft makes of `iptables -P INPUT DROP`.
        load(&format!("table ip filter {{ chain INPUT {{ {hook} policy drop; {accepts} }} }}"));
        probe(1).is(&drops, &["on n2: iptables -I INPUT -p udp --dport 8472 -s 10.9.0.1 -j ACCEPT"]);
        // Before any chain of the input hook.
        load("table inet x { chain pre { type filter hook prerouting priority -300; udp dport 8472 drop; } }");
        let found = probe(1);
        assert!(found.text().contains("on n2: look for what drops udp/8472: nft list ruleset"), "{}", found.text());
    });
}
