use std::time::Duration;

use super::*;
use crate::{
    config::{self, Role},
    mesh::{
        body::{Ending, Firewall, How},
        requirement::{Node, Rules},
        verdict::{Cause, End, Evidence},
    },
};

fn node(n: usize) -> Node {
    Node {
        name: format!("node-{n}").parse().unwrap(),
        addresses: vec![format!("10.0.1.{n}").parse().unwrap()],
        role: if n <= 3 { Role::ControlPlane } else { Role::Worker },
    }
}

/// The first of fifty nodes, to two of which something does not arrive, and of which one did not start.
fn report(extra: &str) -> MeshReport {
    let text = format!("{}\n[mesh]\npeers = [{{ name = \"a\", ip = \"10.0.0.1\" }}]\n{extra}", config::minimal());
    let fragment = config::Fragment { name: "test".to_owned(), text };
    let rules = Rules::of(&config::parse(&[fragment], &[]).unwrap());
    let this = node(1);
    let pair = |n: usize| {
        let peer = node(n);
        let end = |node: &Node| End { name: node.name.clone(), address: node.addresses[0].ip() };
        let verdict = |from: &Node, to: &Node, requirement: Requirement, size| {
            let fails = (n, from.name == this.name, requirement.port.number()) == (17, true, 8472)
                || (n, requirement.port.number(), size) == (23, 10_250, Size::Small);
            let evidence = Evidence {
                from: end(from),
                to: end(to),
                requirement,
                size,
                bytes: 160,
                attempts: 7,
                ending: Ending::Silence,
                arrived: None,
                listening: Some(How::Bound),
                firewall: Firewall::None,
                translated: None,
                told: true,
            };
            let (status, cause) = if fails { (Status::Fail, Some(Cause::Network)) } else { (Status::Pass, None) };
            Verdict { evidence, status, cause, seen: String::new(), remedy: None }
        };
        let mut verdicts = Vec::new();
        for (from, to) in [(&this, &peer), (&peer, &this)] {
            for requirement in rules.between(from, to) {
                verdicts.push(verdict(from, to, requirement, Size::Small));
            }
        }
        let (state, verdicts) =
            if n == 31 { (State::NotStarted { port: 7470 }, Vec::new()) } else { (State::Proved, verdicts) };
        PairReport { peer, waited_for: true, state, verdicts }
    };
    MeshReport::new(this.clone(), (2..=50).map(pair).collect(), Duration::from_millis(900))
}

#[test]
fn fifty_nodes_fit_on_a_screen_with_what_is_wrong_first() {
    let expected = "\
peer          state         tcp/2379   tcp/2380   tcp/6443   tcp/10250  udp/8472
node-17       proved        -/-        -/-        -/ok       ok/-       FAIL/ok
node-23       proved        -/-        -/-        -/ok       FAIL/-     ok/ok
node-31       not started   -/-        -/-        -/-        -/-        -/-
node-2        proved        ok/ok      ok/ok      ok/ok      ok/ok      ok/ok
node-3        proved        ok/ok      ok/ok      ok/ok      ok/ok      ok/ok
44 peers [1]  proved        -/-        -/-        -/ok       ok/-       ok/ok
there/back: ok, FAIL, MTU (only small packets arrive), ? (unverified), - (not needed, or not tried)
[1] node-4, node-5, node-6, node-7, node-8, node-9, node-10, node-11, node-12, node-13, node-14,
    node-15, node-16, node-18, node-19, node-20, node-21, node-22, node-24, node-25, node-26,
    node-27, node-28, node-29, node-30, node-32, node-33, node-34, node-35, node-36, node-37,
    node-38, node-39, node-40, node-41, node-42, node-43, node-44, node-45, node-46, node-47,
    node-48, node-49, node-50
";
    let table = report("").table(100);
    assert_eq!(table, expected, "\n{table}");
}

#[test]
fn a_narrow_terminal_gets_the_ports_in_blocks() {
    let table = report("").table(60);
    let expected = "\
peer          state         tcp/2379   tcp/2380   tcp/6443
node-17       proved        -/-        -/-        -/ok
";
    assert!(table.starts_with(expected), "\n{table}");
    assert!(
        table.contains("\n\npeer          state         tcp/10250  udp/8472\nnode-17       proved        ok/-       FAIL/ok\n"),
        "\n{table}"
    );
    let legend = |line: &&str| !line.starts_with("there/back");
    assert!(table.lines().filter(legend).all(|line| line.len() <= 60), "\n{table}");
}

#[test]
fn many_ports_at_fifty_nodes_stay_within_a_hundred_columns() {
    let ports: Vec<_> = (0..16).map(|n| format!("{{ port = \"udp/{}\" }}", 20_000 + n)).collect();
    let table = report(&format!("extra-ports = [{}]", ports.join(", "))).table(100);
    assert!(table.lines().all(|line| line.len() <= 100), "\n{table}");
    assert!(table.lines().count() < 50, "\n{table}");
}
