use proptest::prelude::*;

use super::*;
use crate::{
    config,
    mesh::matrix,
    model::Protocol::{Tcp, Udp},
};

fn rules(text: &str) -> Rules {
    let fragment = config::Fragment { name: "test".to_owned(), text: format!("{}\n{text}", config::minimal()) };
    Rules::of(&config::parse(&[fragment], &[]).unwrap())
}

fn node(index: usize, role: Role, addresses: &[&str]) -> Node {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Node { name: format!("node-{index:02}").parse().unwrap(), addresses, role }
}

fn short(needed: &[Requirement]) -> Vec<String> {
    needed.iter().map(Requirement::to_string).collect()
}

#[test]
fn each_role_reaches_what_it_needs_and_nothing_more() {
    let rules = rules("");
    let worker = node(7, Role::Worker, &["10.0.1.7"]);
    let other = node(8, Role::Worker, &["10.0.1.8"]);
    let control = node(1, Role::ControlPlane, &["10.0.1.1"]);
    let second = node(2, Role::ControlPlane, &["10.0.1.2"]);
    assert_eq!(short(&rules.between(&worker, &other)), ["udp/8472"]);
    assert_eq!(short(&rules.between(&worker, &control)), ["tcp/6443", "udp/8472"]);
    assert_eq!(short(&rules.between(&control, &worker)), ["tcp/10250", "udp/8472"]);
    assert_eq!(short(&rules.between(&control, &second)), ["tcp/2379", "tcp/2380", "tcp/6443", "tcp/10250", "udp/8472"]);
    assert!(rules.between(&worker, &worker).is_empty());
}

#[test]
fn the_backend_decides_port_and_framing() {
    let overlay = |backend: &str| {
        let text = config::minimal().replace("[flannel]", &format!("[flannel]\nbackend = \"{backend}\""));
        let settings = config::parse(&[config::Fragment { name: "test".to_owned(), text }], &[]).unwrap();
        let (one, other) = (node(7, Role::Worker, &["10.0.1.7"]), node(8, Role::Worker, &["10.0.1.8"]));
        Rules::of(&settings).between(&one, &other).first().map(|first| (first.port.number(), first.framing))
    };
    assert_eq!(overlay("vxlan"), Some((8472, Framing::Vxlan)));
    assert_eq!(overlay("udp"), Some((8285, Framing::Plain)));
    assert_eq!(overlay("wireguard"), Some((51_820, Framing::Plain)));
    assert_eq!(overlay("host-gw"), None);
}

#[test]
fn dual_stack_needs_the_overlay_over_both_families_and_services_over_the_first() {
    let rules = rules("ipv6-network = \"fd00:244::/56\"");
    let both = node(7, Role::Worker, &["10.0.1.7", "fd00::7"]);
    let control = node(1, Role::ControlPlane, &["fd00::1", "10.0.1.1"]);
    let families = |needed: &[Requirement]| needed.iter().map(|one| (one.port.number(), one.family)).collect::<Vec<_>>();
    let needed = families(&rules.between(&both, &control));
    assert_eq!(needed, [(6443, Family::Ipv6), (8472, Family::Ipv4), (8472, Family::Ipv6)]);
    // A node without IPv6 is asked over IPv4 alone.
    let single = node(8, Role::Worker, &["10.0.1.8"]);
    assert_eq!(families(&rules.between(&single, &control)), [(6443, Family::Ipv4), (8472, Family::Ipv4)]);
}

#[test]
fn what_the_user_adds_is_for_the_groups_that_were_named() {
    let rules = rules(
        "[mesh]\npeers = [{ name = \"a\", ip = \"10.0.1.1\" }]\nextra-ports = [{ port = \"tcp/9100\", from = \"control-plane\" }, \
         { port = \"udp/8472\" }]",
    );
    let worker = node(7, Role::Worker, &["10.0.1.7"]);
    let control = node(1, Role::ControlPlane, &["10.0.1.1"]);
    assert_eq!(short(&rules.between(&control, &worker)), ["tcp/9100", "tcp/10250", "udp/8472"]);
    // The overlay's port stays the overlay's: it is framed as flannel's packets are.
    assert_eq!(short(&rules.between(&worker, &control)), ["tcp/6443", "udp/8472"]);
    assert_eq!(rules.between(&worker, &control)[1].framing, Framing::Vxlan);
}

#[test]
fn the_matrix_names_groups_where_every_pair_of_them_is_meant() {
    let rules = rules("");
    let nodes: Vec<_> =
        (1..=5).map(|i| node(i, if i < 3 { Role::ControlPlane } else { Role::Worker }, &[&format!("10.0.1.{i}")])).collect();
    let rows = matrix(&rules, &nodes);
    let lines: Vec<_> = rows.iter().map(|row| format!("{} {}", row.requirement, row.groups.as_deref().unwrap())).collect();
    assert_eq!(
        lines,
        [
            "tcp/2379 control-plane to control-plane",
            "tcp/2380 control-plane to control-plane",
            "tcp/6443 all to control-plane",
            "tcp/10250 control-plane to all",
            "udp/8472 all to all",
        ]
    );
}

/// The most that may be configured; "the first entries, as many as a reader takes" must be all of them.
#[test]
fn what_a_node_listens_on_fits_into_a_message_whoever_comes() {
    let extra: Vec<_> = (0..16).map(|n| format!("{{ port = \"{}/{}\" }}", ["udp", "tcp"][n % 2], 20_000 + n)).collect();
    let rules =
        rules(&format!("[mesh]\npeers = [{{ name = \"a\", ip = \"10.0.1.1\" }}]\nextra-ports = [{}]", extra.join(", ")));
    let this = node(1, Role::ControlPlane, &["10.0.1.1", "fd00::1"]);
    let any = rules.received_by_any(&this);
    for family in [Family::Ipv4, Family::Ipv6] {
        assert!(any.iter().filter(|one| one.family == family).count() <= crate::mesh::body::MOST);
    }
    // A thousand peers need no more of a node than one of each role does.
    let peers: Vec<_> = (2..1002)
        .map(|n| {
            let role = if n < 5 { Role::ControlPlane } else { Role::Worker };
            node(n, role, &[&format!("10.0.{}.{}", n / 250, n % 250 + 1), &format!("fd00::{n}")])
        })
        .collect();
    assert_eq!(rules.received_by(&this, &peers), any);
}

proptest! {
    #[test]
    fn every_pair_has_the_overlay_in_both_directions_and_no_role_gets_another_ones_ports(
        roles in prop::collection::vec(any::<bool>(), 2..12),
    ) {
        let rules = rules("");
        let role = |control| if control { Role::ControlPlane } else { Role::Worker };
        let nodes: Vec<_> =
            roles.iter().enumerate().map(|(i, control)| node(i, role(*control), &[&format!("10.0.1.{}", i + 1)])).collect();
        for from in &nodes {
            for to in &nodes {
                let needed = rules.between(from, to);
                let has = |protocol, port: u16| needed.iter().any(|one| one.protocol == protocol && one.port.number() == port);
                let (different, controls) = (from.name != to.name, |node: &Node| node.role == Role::ControlPlane);
                prop_assert_eq!(has(Udp, 8472), different);
                prop_assert_eq!(has(Tcp, 6443), different && controls(to));
                prop_assert_eq!(has(Tcp, 10_250), different && controls(from));
                prop_assert_eq!(has(Tcp, 2379), different && controls(from) && controls(to));
                prop_assert_eq!(has(Tcp, 2380), different && controls(from) && controls(to));
                let udp = |needed: &[Requirement]| needed.iter().filter(|one| one.protocol == Udp).copied().collect::<Vec<_>>();
                prop_assert_eq!(udp(&needed), udp(&rules.between(to, from)));
                let mut once = needed.clone();
                once.dedup();
                prop_assert_eq!(once.len(), needed.len());
                // What a node must receive is exactly what others need of it.
                let received = rules.received_by(to, &nodes);
                prop_assert!(needed.iter().all(|one| received.contains(one)));
            }
        }
    }
}
