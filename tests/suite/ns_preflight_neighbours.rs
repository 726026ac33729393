//! Other machines on the link: network namespaces behind the bridge of the test's own host.

use hostlet::preflight::Subject;

use crate::ns_preflight_world::{fails, on_a_fresh_host, passes, preflight, printed, sh, subject};

/// A machine of that name on the bridge, with this address.
fn neighbour(name: &str, address: &str) {
    sh(&format!(
        "mount -t tmpfs tmpfs /run/netns 2>/dev/null || {{ mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns; }}
        ip netns add {name} && ip link add {name} type veth peer name eth0 netns {name}
        ip link set {name} master bridge0 && ip link set {name} up
        ip -netns {name} address add {address}/24 dev eth0 && ip -netns {name} link set eth0 up
        until ip link show {name} | grep --quiet 'state UP'; do sleep 0.02; done"
    ));
}

#[test]
fn ns_another_machine_with_the_nodes_address_is_named_by_its_hardware_address() {
    on_a_fresh_host(|| {
        passes(subject(), "duplicate-ip", "nobody else on bridge0 answers for 10.0.1.7");
        neighbour("other", "10.0.1.8");
        passes(subject(), "duplicate-ip", "nobody else on bridge0 answers for 10.0.1.7");
        sh("ip -netns other address add 10.0.1.7/24 dev eth0");
        let hardware = printed("ip -netns other -brief link show eth0 | awk '{print $3}'");
        let before = printed("ip neigh; ip -netns other neigh");
        let found = fails(
            subject(),
            "duplicate-ip",
            &format!("10.0.1.7 on bridge0 also belongs to the machine with the hardware address {}", hardware.trim()),
        );
        assert!(found.remedy.unwrap().contains(hardware.trim()));
        assert_eq!(printed("ip neigh; ip -netns other neigh"), before, "nobody's neighbours have changed");
    });
}

#[test]
fn ns_the_hosts_own_second_interface_on_the_link_is_nobody_else() {
    on_a_fresh_host(|| {
        sh("ip link add second type veth peer name port && ip link set port master bridge0
            ip link set port up && ip link set second up && ip address add 10.0.1.70/24 dev second
            until ip link show second | grep --quiet 'state UP'; do sleep 0.02; done");
        passes(subject(), "duplicate-ip", "nobody else on bridge0 answers for 10.0.1.7");
    });
}

#[test]
fn ns_an_address_on_a_link_without_arp_is_not_asked_for() {
    on_a_fresh_host(|| {
        sh("ip link set bridge0 arp off");
        passes(subject(), "duplicate-ip", "bridge0 has no neighbours to ask");
    });
}

/// The kernel looks itself when it takes an IPv6 address, and marks one that another machine defends.
#[test]
fn ns_an_ipv6_address_that_the_kernel_found_twice_is_told() {
    on_a_fresh_host(|| {
        let with_ipv6 = || {
            let mut subject: Subject = subject();
            subject.identity.addresses = vec!["fd00::7".parse().unwrap()];
            subject
        };
        neighbour("other", "10.0.1.8");
        sh("ip -netns other address add fd00::7/64 dev eth0 nodad
            ip address add fd00::7/64 dev bridge0
            until ip -6 address show dev bridge0 | grep --quiet dadfailed; do sleep 0.05; done");
        fails(with_ipv6(), "duplicate-ip", "fd00::7 on bridge0 also belongs to another machine");
        sh("ip address delete fd00::7/64 dev bridge0 && ip -netns other address delete fd00::7/64 dev eth0
            ip address add fd00::7/64 dev bridge0 nodad");
        passes(with_ipv6(), "duplicate-ip", "fd00::7 is this machine's alone");
    });
}

#[test]
fn ns_listening_for_an_owner_takes_less_than_a_healthy_preflight_may() {
    on_a_fresh_host(|| {
        let report = preflight(subject());
        let found = report.findings.iter().find(|finding| finding.id == "duplicate-ip").unwrap();
        println!("duplicate-ip: {} ms", found.duration.as_millis());
        assert!(found.duration >= hostlet::host::arp::LISTEN, "{found:#?}");
    });
}
