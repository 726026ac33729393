//! Nodes in network namespaces of their own, on one bridge or behind a router, with hostlet itself in each.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::ns_preflight_world::{Running, printed, sh, until};

/// How the nodes are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// On one link: 10.9.0.N.
    Bridge,
    /// Each on a link of its own to a router, this namespace: 10.9.N.2.
    Router,
    /// On one link, over IPv6 alone: fd09::N.
    Ipv6,
    /// On one link, over both: 10.9.0.N and fd09::N.
    Dual,
}

/// Nodes 1 to N; the first one is the control plane, the others are workers.
pub(crate) struct Cluster {
    pub(crate) nodes: usize,
    wiring: Wiring,
}

/// That many nodes on this fresh host; they are gone with it.
pub(crate) fn nodes(nodes: usize, wiring: Wiring) -> Cluster {
    let cluster = Cluster { nodes, wiring };
    cluster.lay_out();
    cluster
}

impl Cluster {
    pub(crate) fn address(&self, node: usize) -> String {
        match self.wiring {
            Wiring::Bridge | Wiring::Dual => format!("10.9.0.{node}"),
            Wiring::Router => format!("10.9.{node}.2"),
            Wiring::Ipv6 => format!("fd09::{node}"),
        }
    }

    fn lay_out(&self) {
        let mut script = "ip link add bridge1 type bridge && ip link set bridge1 up\n".to_owned();
        for node in 1..=self.nodes {
            script += &format!(
                "ip netns add n{node}
                 ip link add v{node} type veth peer name eth0 netns n{node}
                 ip link set v{node} up
                 ip -n n{node} link set lo up
                 ip -n n{node} link set eth0 up
                 ip -n n{node} address add {} dev eth0\n",
                match self.wiring {
                    Wiring::Ipv6 => format!("{}/64 nodad", self.address(node)),
                    _ => format!("{}/24", self.address(node)),
                }
            );
            script += &match self.wiring {
                Wiring::Bridge | Wiring::Ipv6 => format!("ip link set v{node} master bridge1\n"),
                Wiring::Dual => format!(
                    "ip link set v{node} master bridge1
                     ip -n n{node} address add fd09::{node}/64 dev eth0 nodad\n"
                ),
                Wiring::Router => format!(
                    "ip address add 10.9.{node}.1/24 dev v{node}
                     ip -n n{node} route add default via 10.9.{node}.1\n"
                ),
            };
        }
        sh(&script);
        fs::write("/mnt/host/key", "0123456789abcdef0123456789abcdef\n").unwrap();
        sh("chmod 600 /mnt/host/key");
        for node in 1..=self.nodes {
            self.configure(node, "", "");
        }
    }

    /// Writes a node's configuration, with more lines for flannel and the mesh.
    pub(crate) fn configure(&self, node: usize, flannel: &str, mesh: &str) {
        let role = |node| if node == 1 { "control-plane" } else { "worker" };
        let peers: Vec<_> = (1..=self.nodes)
            .map(|node| format!("{{ name = \"n{node}\", ip = {}, role = \"{}\" }}", self.addresses(node), role(node)))
            .collect();
        let (addresses, role, peers) = (self.addresses(node), role(node), peers.join(", "));
        let text = format!(
            "sources.flannel-cni.trust-on-first-use = true\n[node]\nname = \"n{node}\"\nip = {addresses}\nrole = \"{role}\"\n\
             [flannel]\ndatastore = \"etcd\"\netcd.endpoints = [\"https://10.9.0.1:2379\"]\n{flannel}\n\
             [runtime]\nsocket = \"/mnt/host/cri.sock\"\n\
             [mesh]\npeers = [{peers}]\n{}\n{}\n{mesh}\n",
            if mesh.contains("key-file") { "" } else { "key-file = \"/mnt/host/key\"" },
            if mesh.contains("wait-timeout") { "" } else { "wait-timeout = 0" },
        );
        fs::write(format!("/mnt/host/n{node}.toml"), text).unwrap();
    }

    /// As the configuration has them.
    fn addresses(&self, node: usize) -> String {
        let address = self.address(node);
        if self.wiring == Wiring::Dual { format!("[\"{address}\", \"fd09::{node}\"]") } else { format!("\"{address}\"") }
    }

    /// Responders on all nodes but the first.
    pub(crate) fn others_respond(&self) -> Vec<Running> {
        (2..=self.nodes).map(respond).collect()
    }
}

/// A responder on the node, ready.
pub(crate) fn respond(node: usize) -> Running {
    let child = hostlet(node, &["respond"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("answering", || printed(&format!("ip netns exec n{node} cat /proc/net/udp /proc/net/udp6")).contains(":1D2E "));
    Running(child)
}

/// What the node finds of the others.
pub(crate) fn probe(node: usize) -> Found {
    found(&begin(node).wait_with_output().unwrap())
}

/// A node that begins to look.
pub(crate) fn begin(node: usize) -> Child {
    let mut command = hostlet(node, &["preflight", "--output", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// hostlet in a node's namespace.
pub(crate) fn hostlet(node: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &format!("n{node}"), env!("CARGO_BIN_EXE_hostlet"), "--config"])
        .arg(format!("/mnt/host/n{node}.toml"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// A report about other nodes.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) mesh: Value,
    pub(crate) finding: Value,
}

/// What a node that began found.
pub(crate) fn found(output: &Output) -> Found {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = stdout.lines().last().unwrap_or_else(|| panic!("nothing was printed:\n{stderr}"));
    let report: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}\n{stderr}"));
    let finding = report["findings"].as_array().into_iter().flatten().find(|finding| finding["id"] == "mesh").cloned();
    Found { mesh: report["mesh"].clone(), finding: finding.unwrap_or_else(|| panic!("no finding: {stdout}\n{stderr}")) }
}

impl Found {
    /// The text about it.
    pub(crate) fn text(&self) -> &str {
        self.finding["observed"].as_str().unwrap()
    }

    /// Every verdict that is no pass, as "port from -> to size: cause".
    pub(crate) fn troubles(&self) -> Vec<String> {
        let pairs = self.mesh["pairs"].as_array().unwrap();
        let verdicts = pairs.iter().flat_map(|pair| pair["verdicts"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut troubles: Vec<_> = verdicts
            .filter(|verdict| verdict["status"] != "pass")
            .map(|one| {
                let (from, to) = (text(&one["from"]["name"]), text(&one["to"]["name"]));
                let port = format!("{}/{}", text(&one["protocol"]), one["port"]);
                format!("{port} {from} -> {to} {}: {}", text(&one["size"]), text(&one["cause"]))
            })
            .collect();
        troubles.sort();
        troubles
    }

    /// How many were proved.
    pub(crate) fn passes(&self) -> usize {
        let pairs = self.mesh["pairs"].as_array().unwrap();
        pairs.iter().flat_map(|pair| pair["verdicts"].as_array().unwrap()).filter(|one| one["status"] == "pass").count()
    }

    /// How far it came with a peer.
    pub(crate) fn state(&self, peer: &str) -> String {
        let pairs = self.mesh["pairs"].as_array().unwrap();
        let pair = pairs.iter().find(|pair| pair["peer"] == peer).unwrap();
        pair["progress"]["state"].as_str().unwrap().to_owned()
    }

    /// The troubles are these and the text says this.
    #[track_caller]
    pub(crate) fn is(&self, troubles: &[&str], says: &[&str]) {
        assert_eq!(self.troubles(), troubles, "{}", self.text());
        for part in says {
            assert!(self.text().contains(part), "no {part:?} in:\n{}", self.text());
        }
    }
}

/// A node's rules of nftables, in place of those before: chains of the hooks with these rules.
pub(crate) fn rules(node: usize, hook: &str, rules: &[&str]) {
    write_rules(hook, rules);
    sh(&format!("ip netns exec n{node} nft -f /mnt/host/rules"));
}

/// The router's.
pub(crate) fn router_rules(rules: &[&str]) {
    write_rules("forward", rules);
    sh("nft -f /mnt/host/rules");
}

fn write_rules(hook: &str, rules: &[&str]) {
    let rules = rules.join("\n");
    let text =
        format!("flush ruleset\ntable inet filter {{\nchain {hook} {{\ntype filter hook {hook} priority 0;\n{rules}\n}}\n}}\n");
    fs::write("/mnt/host/rules", text).unwrap();
}
