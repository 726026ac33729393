//! Others on this host and on the way to the cluster: what earlier installations left, stopped containers, listeners on
//! NodePorts, and proxies.

use std::{fs, net::TcpListener};

use hostlet::preflight::{Outcome, Subject};

use crate::{
    api_server::{Authority, subject_of},
    ns_preflight_world::{ends, fails, name_of, on_a_fresh_host, passes, sh, subject, through, with_field},
};

/// A container as Docker writes it down.
fn docker_container(id: &str, name: &str, path: &str) {
    let directory = format!("/var/lib/docker/containers/{id}");
    fs::create_dir_all(&directory).unwrap();
    let text = format!(r#"{{"ID":"{id}","Name":"/{name}","Path":"{path}","State":{{"Running":false}}}}"#);
    fs::write(format!("{directory}/config.v2.json"), text).unwrap();
}

#[test]
fn ns_a_stopped_container_that_docker_keeps_for_a_kubelet_is_named() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs tmpfs /var/lib");
        docker_container("0123456789abcdef0123", "web", "/usr/sbin/nginx");
        passes(subject(), "existing", "none");
        docker_container("fedcba98765432100123", "kubelet", "/opt/rke-tools/entrypoint.sh");
        let found = fails(subject(), "existing", "the container kubelet (fedcba987654) of Docker's, stopped");
        assert!(found.remedy.unwrap().contains("docker rm --force kubelet"));
        sh("rm -r /var/lib/docker/containers/fedcba98765432100123");
        docker_container("00000000000000000123", "node", "/usr/bin/hyperkube");
        fails(subject(), "existing", "the container node (000000000000) of Docker's");
    });
}

#[test]
fn ns_the_identity_and_the_pods_of_an_earlier_kubelet_are_named_unless_it_is_adopted() {
    on_a_fresh_host(|| {
        sh("mkdir -p /etc/kubernetes /mnt/host/kubelet/pki /mnt/host/kubelet/pods
            touch /mnt/host/kubelet/pki/kubelet-client-current.pem");
        // A certificate without its kubeconfig is no identity.
        passes(subject(), "leftovers", "none");
        sh("touch /etc/kubernetes/kubelet.conf");
        let found = fails(subject(), "leftovers", "/etc/kubernetes/kubelet.conf and /mnt/host/kubelet/pki/kubelet-client");
        assert!(found.remedy.unwrap().contains("hostlet install --adopt"));
        sh("mkdir /mnt/host/kubelet/pods/5ec7e700");
        fails(subject(), "leftovers", "/mnt/host/kubelet/pods holds 1 pods of an earlier kubelet");
        passes(Subject { adopt: true, ..subject() }, "leftovers", "none");
        // A second run of ours.
        sh("mkdir -p /mnt/host/home/generations");
        passes(subject(), "leftovers", "none");
    });
}

#[test]
fn ns_state_of_another_policy_of_the_kubelets_managers_is_named() {
    on_a_fresh_host(|| {
        fs::create_dir_all("/mnt/host/kubelet").unwrap();
        fs::write("/mnt/host/kubelet/cpu_manager_state", r#"{"policyName":"static","defaultCpuSet":"0-1","checksum":1}"#)
            .unwrap();
        fs::write("/mnt/host/kubelet/memory_manager_state", r#"{"policyName":"None","checksum":1}"#).unwrap();
        fails(subject(), "leftovers", "cpu_manager_state is of the policy static, and cpuManagerPolicy is none");
        passes(with_field("cpuManagerPolicy", "static"), "leftovers", "none");
    });
}

#[test]
fn ns_what_listens_on_a_node_port_is_a_warning() {
    on_a_fresh_host(|| {
        passes(subject(), "port-bind", "5 of 5 are free");
        let _listener = TcpListener::bind("0.0.0.0:30080").unwrap();
        let own = format!("(pid {}", std::process::id());
        let found = ends(subject(), "port-bind", &Outcome::Warning, "30080/tcp is held by ");
        assert!(found.observed.contains(&own) && !found.blocks(), "{found:#?}");
    });
}

#[test]
fn ns_outgoing_connections_that_may_take_node_ports_are_warned_of() {
    on_a_fresh_host(|| {
        sh("echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range");
        passes(subject(), "ephemeral-range", "none of them the node's");
        sh("echo 32000 60999 > /proc/sys/net/ipv4/ip_local_port_range");
        let found = ends(subject(), "ephemeral-range", &Outcome::Warning, "32000-60999 contains 30000-32767");
        assert!(found.remedy.unwrap().contains("ip_local_reserved_ports=30000-32767"));
        sh("echo 30000-32767 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        passes(subject(), "ephemeral-range", "none of them the node's");
    });
}

/// A node of a cluster with a network for services. Its API server is not there, as is noticed at once.
fn of_a_cluster() -> Subject {
    let mut subject = subject_of("https://10.0.1.7:6443", &Authority::new());
    subject.settings.cluster.as_mut().unwrap().service_cidr = Some("10.96.0.0/12".parse().unwrap());
    subject
}

const PROXY: &str = "HTTPS_PROXY=http://user:secret@proxy.test:3128";

#[test]
fn ns_a_proxy_between_the_node_and_its_cluster_is_named_with_the_line_that_excepts_it() {
    on_a_fresh_host(|| {
        let through_a_proxy = || {
            let said = "the API server 10.0.1.7 through the proxy proxy.test:3128";
            let found = ends(of_a_cluster(), "proxy", &Outcome::Warning, said);
            assert!(found.observed.contains("the pods' network 10.244.0.0/16") && !found.observed.contains("secret"));
            let line = "export NO_PROXY=localhost,10.0.1.7,10.244.0.0/16,10.96.0.0/12,.svc,.cluster.local";
            assert_eq!(found.remedy.as_deref(), Some(line));
        };
        through("env", &[PROXY, "NO_PROXY=localhost"], name_of(&through_a_proxy), through_a_proxy);
    });
}

#[test]
fn ns_without_a_proxy_all_is_well() {
    passes(subject(), "proxy", "none is set");
}

#[test]
fn ns_a_proxy_from_which_the_cluster_is_excepted_passes() {
    on_a_fresh_host(|| {
        let excepted = || passes(of_a_cluster(), "proxy", "excepted in hostlet's own environment");
        through("env", &[PROXY, "NO_PROXY=10.0.0.0/8"], name_of(&excepted), excepted);
    });
}

#[test]
fn ns_routes_that_overlap_the_services_network_are_named() {
    on_a_fresh_host(|| {
        passes(of_a_cluster(), "cidr", "cluster.service-cidr 10.96.0.0/12");
        sh("ip route add 10.100.0.0/16 via 10.0.1.1");
        fails(of_a_cluster(), "cidr", "cluster.service-cidr 10.96.0.0/12 overlaps the route to 10.100.0.0/16 by bridge0");
        let mut overlapping = of_a_cluster();
        overlapping.settings.cluster.as_mut().unwrap().service_cidr = Some("10.244.0.0/20".parse().unwrap());
        fails(overlapping, "cidr", "flannel.network 10.244.0.0/16 overlaps cluster.service-cidr 10.244.0.0/20");
    });
}
