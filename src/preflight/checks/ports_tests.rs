use super::*;
use crate::preflight::runner::tests::subject;

fn numbers(subject: &Subject) -> Vec<String> {
    needs(subject).iter().map(|need| format!("{}/{}", need.port, need.protocol)).collect()
}

#[test]
fn a_worker_with_vxlan_needs_the_ports_of_kubelet_kube_proxy_and_the_overlay() {
    assert_eq!(numbers(&subject()), ["10250/tcp", "10248/tcp", "10256/tcp", "10249/tcp", "8472/udp"]);
}

#[test]
fn a_control_plane_node_also_needs_those_of_the_api_server_and_etcd() {
    let mut subject = subject();
    subject.settings.node.role = Role::ControlPlane;
    let found = numbers(&subject);
    for port in ["6443/tcp", "2379/tcp", "2380/tcp", "10257/tcp", "10259/tcp"] {
        assert!(found.iter().any(|found| found == port), "{port}");
    }
}

#[test]
fn the_configuration_moves_ports_and_zero_switches_them_off() {
    let mut subject = subject();
    let set = |subject: &mut Subject, name: &str, value: Value| {
        subject.settings.kubelet.config.insert(name.to_owned(), value);
    };
    set(&mut subject, "port", 20_250.into());
    set(&mut subject, "healthzPort", 0.into());
    set(&mut subject, "readOnlyPort", 10_255.into());
    set(&mut subject, "address", "10.9.8.7".into());
    let found = needs(&subject);
    assert_eq!(numbers(&subject)[..2], ["20250/tcp", "10255/tcp"]);
    assert_eq!(found[0].scope, Scope::At("10.9.8.7".parse().unwrap()));
}

#[test]
fn reserved_ports_are_read_as_single_ports_and_as_ranges() {
    assert!(is_reserved("8080,10248-10250", 10_249) && is_reserved("8080", 8080));
    assert!(!is_reserved("", 1) && !is_reserved("8080,9000-9001", 9002));
}

#[test]
fn a_name_that_the_kernel_cut_is_recognised() {
    let process =
        |name: &str, group: &str| Process { pid: 9, name: name.to_owned(), executable: None, control_group: group.to_owned() };
    let pod = "/kubepods.slice/kubepods-burstable.slice/cri-containerd-0.scope";
    let expected = |process| is_expected(&subject(), Service::Pod("kube-controller-manager"), &Holder::Process(process));
    assert!(expected(process("kube-controller", pod)));
    assert!(!expected(process("kube-controller", "/system.slice/other.service")));
    assert!(!expected(process("etcd", pod)));
}
