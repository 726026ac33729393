//! Faults drawn at random, as rules of nftables at the sender, in the router and at the receiver, and an oracle that knows
//! them: no false pass and no false failure.

use std::{collections::BTreeMap, env, fs};

use fastrand::Rng;

use crate::{
    ns_mesh_world::{Wiring::Router, nodes, probe, respond},
    ns_preflight_world::{on_a_fresh_host, sh},
};

/// Nodes in every run of the tests; HOSTLET_NODES asks for more.
const NODES: usize = 6;

/// Drawn in every run of the tests; HOSTLET_SCENARIOS asks for more, HOSTLET_SEED for others.
const SCENARIOS: u64 = 12;

/// Where a rule stands, in the order in which packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Sender,
    Middle,
    Receiver,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    from: usize,
    to: usize,
    port: &'static str,
    place: Place,
    reject: bool,
}

impl Fault {
    /// Between the node that looks and another one: of what is between others it sees nothing.
    fn draw(random: &mut Rng, this: usize, nodes: usize) -> Self {
        const PORTS: [&str; 5] = ["udp 8472", "udp 514", "tcp 9100", "tcp 10250", "tcp 6443"];
        let other = 1 + random.usize(..nodes - 1);
        let other = if other < this { other } else { other + 1 };
        let (from, to) = if random.bool() { (this, other) } else { (other, this) };
        let place = [Place::Sender, Place::Middle, Place::Receiver][random.usize(..3)];
        let reject = place != Place::Sender && random.usize(..3) == 0;
        Self { from, to, port: PORTS[random.usize(..PORTS.len())], place, reject }
    }

    fn rule(self) -> String {
        let protocol = &self.port[..3];
        let verdict = match (self.reject, self.place) {
            (false, _) => "drop",
            (true, Place::Middle) => "reject with icmp admin-prohibited",
            (true, _) if protocol == "tcp" => "reject with tcp reset",
            (true, _) => "reject",
        };
        let (port, from, to) = (&self.port[4..], address(self.from), address(self.to));
        format!("ip saddr {from} ip daddr {to} {protocol} dport {port} {verdict}")
    }

    /// What may be said of it.
    fn causes(self) -> &'static [&'static str] {
        match (self.place, self.reject) {
            (Place::Sender, _) => &["senders-firewall"],
            (Place::Middle, true) => &["rejected"],
            (Place::Receiver, true) => &["refused"],
            (Place::Middle, false) => &["filter-on-vxlan", "filter-on-port", "network"],
            (Place::Receiver, false) => &["receivers-firewall"],
        }
    }
}

fn address(node: usize) -> String {
    format!("10.9.{node}.2")
}

/// Whether a worker or the first node, which is the control plane, needs the port of the other at all.
fn is_needed(fault: &Fault) -> bool {
    match fault.port {
        "tcp 10250" => fault.from == 1,
        "tcp 6443" => fault.to == 1,
        _ => true,
    }
}

/// All rules at once, in every namespace.
fn apply(faults: &[Fault], nodes: usize) {
    for node in 0..=nodes {
        let chain = |hook: &str, rules: Vec<String>| {
            format!("chain {hook} {{\ntype filter hook {hook} priority 0;\n{}\n}}\n", rules.join("\n"))
        };
        let of = |place: Place, at: fn(&Fault) -> usize| -> Vec<String> {
            faults.iter().filter(|one| one.place == place && (node == 0 || at(one) == node)).map(|one| one.rule()).collect()
        };
        let chains = if node == 0 {
            chain("forward", of(Place::Middle, |_| 0))
        } else {
            chain("output", of(Place::Sender, |one| one.from)) + &chain("input", of(Place::Receiver, |one| one.to))
        };
        fs::write("/mnt/host/rules", format!("flush ruleset\ntable inet filter {{\n{chains}}}\n")).unwrap();
        let inside = if node == 0 { String::new() } else { format!("ip netns exec n{node} ") };
        sh(&format!("{inside}nft -f /mnt/host/rules"));
    }
}

/// For each port and direction the causes of which one must be named.
fn expected(faults: &[Fault]) -> BTreeMap<String, &'static [&'static str]> {
    let mut first: BTreeMap<String, Fault> = BTreeMap::new();
    for fault in faults.iter().filter(|fault| is_needed(fault)) {
        let sizes: &[&str] = if fault.port.starts_with("tcp") { &["small"] } else { &["small", "full"] };
        for size in sizes {
            let key = format!("{} n{} -> n{} {size}", fault.port.replace(' ', "/"), fault.from, fault.to);
            first
                .entry(key)
                .and_modify(|other| {
                    if fault.place < other.place {
                        *other = *fault;
                    }
                })
                .or_insert(*fault);
        }
    }
    first.into_iter().map(|(key, fault)| (key, fault.causes())).collect()
}

#[test]
fn ns_mesh_faults_drawn_at_random_are_all_found_and_nothing_else_is() {
    on_a_fresh_host(|| {
        let number = |name: &str, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
        let scenarios = number("HOSTLET_SCENARIOS", SCENARIOS);
        let count = usize::try_from(number("HOSTLET_NODES", 0)).unwrap();
        let count = if count == 0 { NODES } else { count };
        let cluster = nodes(count, Router);
        for node in 1..=count {
            cluster.configure(node, "", "extra-ports = [{ port = \"udp/514\" }, { port = \"tcp/9100\" }]");
        }
        let mut responders: Vec<_> = (1..=count).map(|node| Some(respond(node))).collect();
        let mut random = Rng::with_seed(number("HOSTLET_SEED", 0x5eed));
        let (mut faults_found, mut passes, mut wrong) = (0, 0, Vec::new());
        for scenario in 0..scenarios {
            // Any of them looks: the first one is the control plane, the others are workers.
            let this = 1 + random.usize(..count);
            responders[this - 1] = None;
            let mut faults: Vec<_> = (0..random.usize(..7)).map(|_| Fault::draw(&mut random, this, count)).collect();
            // One rule for one packet: the same drawn twice in one place would be judged by the first.
            faults.sort_by_key(|one| (one.from, one.to, one.port, one.place));
            faults.dedup_by_key(|one| (one.from, one.to, one.port, one.place));
            apply(&faults, count);
            let found = probe(this);
            let expected = expected(&faults);
            let troubles: BTreeMap<_, _> = found
                .troubles()
                .into_iter()
                .map(|trouble| trouble.rsplit_once(": ").map(|(key, cause)| (key.to_owned(), cause.to_owned())).unwrap())
                .collect();
            let named =
                expected.iter().all(|(key, causes)| troubles.get(key).is_some_and(|cause| causes.contains(&cause.as_str())));
            if !expected.keys().eq(troubles.keys()) || !named {
                wrong.push(format!("{scenario}: {faults:#?}\nexpected {expected:#?}\nfound {}", found.text()));
            }
            // 8472 and 514 in two directions and sizes, 9100 in two directions; and with the control plane 10250 and 6443 in one.
            let with_control_plane = if this == 1 { count - 1 } else { 1 };
            assert_eq!(found.passes() + troubles.len(), (count - 1) * 10 + with_control_plane * 2, "{}", found.text());
            faults_found += troubles.len();
            passes += found.passes();
            responders[this - 1] = Some(respond(this));
        }
        println!(
            "{scenarios} scenarios on {count} nodes: {faults_found} faults found, {passes} passes, {} scenarios wrong",
            wrong.len()
        );
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}
