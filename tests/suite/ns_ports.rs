//! Ports: who holds them, named for real.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::Command,
};

use hostlet::{
    config::Backend,
    host::ports::{Holder, Holders, Scope},
    model::{Port, Protocol},
    preflight::Outcome,
};

use crate::ns_preflight_world::{Running, ends, fails, on_a_fresh_host, passes, printed, sh, subject, until, with_field};

/// A child process of this name that listens: a copy of what is at hand and can.
fn listener(name: &str, kind: &str, port: u16) -> Running {
    fs::create_dir_all("/mnt/bin").unwrap();
    let program = format!("/mnt/bin/{name}");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let child = Command::new(&program)
        .args(["ns_ports::a_process_that_holds_a_port", "--exact", "--ignored"])
        .env("HOSTLET_TEST_PORT", format!("{kind} {port}"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("binding", || {
        let taken =
            if kind == "tcp" { TcpListener::bind(("0.0.0.0", port)).err() } else { UdpSocket::bind(("0.0.0.0", port)).err() };
        taken.is_some()
    });
    Running(child)
}

#[test]
#[ignore = "no test: a process that other tests start"]
fn a_process_that_holds_a_port() {
    let wanted = std::env::var("HOSTLET_TEST_PORT").unwrap();
    let (kind, port) = wanted.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    let held: (Option<TcpListener>, Option<UdpSocket>) = if kind == "tcp" {
        (TcpListener::bind(("0.0.0.0", port)).ok(), None)
    } else {
        (None, UdpSocket::bind(("0.0.0.0", port)).ok())
    };
    std::thread::park();
    drop(held);
}

#[test]
fn ns_free_ports_pass_and_stay_free() {
    on_a_fresh_host(|| {
        passes(subject(), "port-bind", "5 of 5 are free");
        passes(subject(), "port-bind", "5 of 5 are free");
        assert_eq!(printed("cat /proc/net/tcp6 /proc/net/udp6 /proc/net/udp | grep -c ': '").trim(), "0");
    });
}

#[test]
fn ns_a_tcp_port_in_use_names_the_process_that_holds_it() {
    on_a_fresh_host(|| {
        let holder = listener("nginx", "tcp", 10_250);
        let found = fails(subject(), "port-bind", &format!("10250/tcp is held by nginx (pid {}", holder.0.id()));
        assert!(found.observed.contains("kubelet needs it on all addresses"), "{}", found.observed);
        assert!(found.remedy.unwrap().contains(&format!("kill {}", holder.0.id())));
    });
}

#[test]
fn ns_a_udp_port_in_use_names_the_process_that_holds_it() {
    on_a_fresh_host(|| {
        let holder = listener("dnsmasq", "udp", 8472);
        fails(subject(), "port-bind", &format!("8472/udp is held by dnsmasq (pid {}", holder.0.id()));
    });
}

#[test]
fn ns_a_vxlan_device_on_the_port_is_named_since_it_has_no_process() {
    on_a_fresh_host(|| {
        sh("ip link add tunnel0 type vxlan id 7 dstport 8472 dev bridge0 && ip link set tunnel0 up");
        let found = fails(subject(), "port-bind", "8472/udp is held by the kernel VXLAN device tunnel0");
        assert!(found.remedy.unwrap().contains("ip link delete tunnel0"));
    });
}

#[test]
fn ns_flannels_own_device_passes_once_hostlet_is_installed_and_not_before() {
    on_a_fresh_host(|| {
        sh("ip link add flannel.1 type vxlan id 1 dstport 8472 dev bridge0 && ip link set flannel.1 up");
        fails(subject(), "port-bind", "the kernel VXLAN device flannel.1");
        sh("mkdir -p /mnt/host/home/generations/1 && ln -s generations/1 /mnt/host/home/current");
        passes(subject(), "port-bind", "8472/udp is held by the kernel VXLAN device flannel.1");
    });
}

#[test]
fn ns_a_port_is_probed_on_the_address_that_its_service_will_use() {
    on_a_fresh_host(|| {
        let _elsewhere = TcpListener::bind("10.0.1.7:10248").unwrap();
        passes(subject(), "port-bind", "5 of 5 are free");
        let _loopback = TcpListener::bind("127.0.0.1:10248").unwrap();
        fails(subject(), "port-bind", "10248/tcp is held by");
        passes(with_field("healthzPort", 10_348), "port-bind", "5 of 5 are free");
    });
}

#[test]
fn ns_the_udp_backend_binds_the_nodes_own_address() {
    on_a_fresh_host(|| {
        let mut own = subject();
        own.settings.flannel.as_mut().unwrap().backend = Backend::Udp { port: Port::known(8285) };
        passes(own.clone(), "port-bind", "5 of 5 are free");
        let _holder = UdpSocket::bind("10.0.1.7:8285").unwrap();
        fails(own.clone(), "port-bind", "8285/udp is held by");
        own.identity.addresses = vec!["10.0.1.8".parse().unwrap()];
        fails(own, "port-bind", "8285/udp: 10.0.1.8 is not an address of this host");
    });
}

#[test]
fn ns_ports_that_the_user_adds_are_probed_too() {
    on_a_fresh_host(|| {
        let mut own = subject();
        own.settings.preflight.extra_ports = vec![(Protocol::Tcp, Port::known(9100))];
        passes(own.clone(), "port-bind", "6 of 6 are free");
        let _exporter = listener("node_exporter", "tcp", 9100);
        fails(own, "port-bind", "9100/tcp is held by node_exporter");
    });
}

#[test]
fn ns_kube_proxy_may_hold_its_own_port() {
    on_a_fresh_host(|| {
        let _proxy = listener("kube-proxy", "tcp", 10_256);
        passes(subject(), "port-bind", "10256/tcp is held by kube-proxy");
    });
}

#[test]
fn ns_a_port_that_nobody_holds_has_no_holder() {
    on_a_fresh_host(|| {
        let _other = listener("nginx", "tcp", 10_250);
        let port = Port::known(10_250);
        let holders = Holders::of(&[(Protocol::Tcp, port), (Protocol::Udp, port)]).unwrap();
        assert!(
            matches!(holders.holder(Protocol::Tcp, Scope::Every, port), Holder::Process(process) if process.name == "nginx")
        );
        assert_eq!(holders.holder(Protocol::Udp, Scope::Every, port), Holder::Nobody);
    });
}

#[test]
fn ns_outgoing_connections_that_may_take_the_nodes_ports_are_warned_of() {
    on_a_fresh_host(|| {
        passes(subject(), "ephemeral-range", "none of them the node's");
        sh("echo '1024 65000' > /proc/sys/net/ipv4/ip_local_port_range");
        let found = ends(
            subject(),
            "ephemeral-range",
            &Outcome::Warning,
            "1024-65000 contains 10248,10249,10250,10256,8472,30000-32767",
        );
        assert!(found.remedy.unwrap().contains("ip_local_reserved_ports=10248,10249,10250,10256,8472,30000-32767"));
        sh("echo 8472,10248-10256,30000-32767 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        passes(subject(), "ephemeral-range", "none of them the node's");
    });
}
