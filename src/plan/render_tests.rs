//! What is written for the kubelet and flannel, for every kind of configuration.

use std::path::Path;

use serde_json::{Value, json};

use super::{Wanted, identity, wanted};
use crate::{
    config::{self, Fragment, Settings},
    facts::{Credentials, Foreign, HostFacts, KernelAbilities, NodeFacts, RootMount},
    host::kubeconfig::Identity,
    model::{Digest, Secret},
};

const JOINING: &str = r#"
    sources.flannel-cni.trust-on-first-use = true
    [cluster]
    server = "https://10.0.0.1:6443"
    ca-file = "/etc/hostlet/ca.crt"
    token-file = "/etc/hostlet/token"
    [flannel]
    token-file = "/etc/hostlet/flannel-token"
"#;

fn parse(text: &str) -> Settings {
    config::parse(&[Fragment { name: "hostlet.toml".to_owned(), text: text.to_owned() }], &[]).unwrap()
}

fn facts() -> HostFacts {
    HostFacts {
        foreign: Foreign::default(),
        program: Digest::of(b"hostlet"),
        node: NodeFacts {
            hostname: "node-07".to_owned(),
            machine: "x86_64".to_owned(),
            default_sources: vec!["10.0.1.7".parse().unwrap()],
        },
        resolved_stub: true,
        kernel: KernelAbilities { overlay: true, bridge_netfilter: false },
        root_mount: RootMount::Shared,
        client_certificate: false,
        credentials: Credentials {
            bootstrap: Some(Identity::Token(Secret::new("abcdef.0123456789abcdef".to_owned()))),
            certificate_authority: Some("-----BEGIN CERTIFICATE-----".to_owned()),
        },
    }
}

pub(super) fn render(text: &str) -> Wanted {
    render_on(text, &facts())
}

fn render_on(text: &str, facts: &HostFacts) -> Wanted {
    let settings = parse(text);
    wanted(&settings, facts, &identity(&settings, &facts.node).unwrap(), &[]).unwrap()
}

pub(super) fn text(wanted: &Wanted, path: &str) -> String {
    let content = wanted.files.get(path).or_else(|| wanted.host_files.get(Path::new(path)));
    String::from_utf8(content.unwrap_or_else(|| panic!("no {path}")).bytes().to_vec()).unwrap()
}

pub(super) fn json(wanted: &Wanted, path: &str) -> Value {
    serde_json::from_str(&text(wanted, path)).unwrap()
}

#[test]
fn a_joining_kubelet_is_configured_securely_and_the_users_fields_win() {
    let wanted = render(&format!(
        "{JOINING}\n[node]\ntaints = [\"dedicated=gpu:NoSchedule\"]\n[kubelet.config]\nmaxPods = 200\nauthentication = {{ webhook = {{ cacheTTL = \"30s\" }} }}"
    ));
    let configuration = json(&wanted, "etc/kubelet.json");
    assert_eq!(
        configuration["authentication"],
        json!({
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true, "cacheTTL": "30s" },
            "x509": { "clientCAFile": "/opt/hostlet/current/etc/ca.crt" },
        })
    );
    for (field, value) in [
        ("kind", json!("KubeletConfiguration")),
        ("cgroupDriver", json!("systemd")),
        ("rotateCertificates", json!(true)),
        ("readOnlyPort", json!(0)),
        ("resolvConf", json!("/run/systemd/resolve/resolv.conf")),
        ("containerRuntimeEndpoint", json!("unix:///run/containerd/containerd.sock")),
        ("maxPods", json!(200)),
        ("registerWithTaints", json!([{ "key": "dedicated", "value": "gpu", "effect": "NoSchedule" }])),
    ] {
        assert_eq!(configuration[field], value, "{field}");
    }
    assert_eq!(configuration["authorization"]["mode"], "Webhook");
}

#[test]
fn the_token_is_in_the_bootstrap_kubeconfig_alone_which_is_secret() {
    let wanted = render(JOINING);
    let path = "/etc/kubernetes/bootstrap-kubelet.conf";
    let content = &wanted.transient[Path::new(path)];
    let kubeconfig: serde_json::Value = serde_json::from_slice(content.bytes()).unwrap();
    assert_eq!(kubeconfig["users"][0]["user"]["token"], "abcdef.0123456789abcdef");
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], "https://10.0.0.1:6443");
    assert!(content.is_secret() && wanted.bootstrap.contains(Path::new(path)));
    for content in wanted.files.values().chain(wanted.host_files.values()) {
        assert!(!String::from_utf8_lossy(content.bytes()).contains("0123456789abcdef"));
    }
}

#[test]
fn a_client_certificate_takes_the_place_of_the_token_in_the_bootstrap_kubeconfig() {
    let identity = Identity::Certificate { certificate: b"CERT".to_vec(), key: Secret::new(b"KEY".to_vec()) };
    let facts = HostFacts { credentials: Credentials { bootstrap: Some(identity), ..facts().credentials }, ..facts() };
    let wanted = render_on(JOINING, &facts);
    let content = &wanted.transient[Path::new("/etc/kubernetes/bootstrap-kubelet.conf")];
    let kubeconfig: serde_json::Value = serde_json::from_slice(content.bytes()).unwrap();
    let user = &kubeconfig["users"][0]["user"];
    assert_eq!((&user["client-certificate-data"], &user["client-key-data"]), (&"Q0VSVA==".into(), &"S0VZ".into()));
    assert!(content.is_secret() && user["token"].is_null());
}

#[test]
fn the_kubelets_flags_name_its_files_and_nothing_deprecated() {
    let flags = text(
        &render(&format!("{JOINING}\n[node]\nip = [\"10.0.1.7\", \"fd00::7\"]\nlabels = {{ zone = \"a\" }}")),
        "etc/kubelet.env",
    );
    for flag in [
        "--config=/opt/hostlet/current/etc/kubelet.json",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--hostname-override=node-07",
        "--node-ip=10.0.1.7,fd00::7",
        "--node-labels=zone=a",
    ] {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
    assert!(!flags.contains("pod-infra-container-image") && !flags.contains("container-runtime-endpoint"), "{flags}");
}

#[test]
fn a_standalone_kubelet_listens_on_the_loopback_and_asks_nobody() {
    let wanted = render("[kubelet]\nversion = \"1.36.4\"\n");
    let configuration = json(&wanted, "etc/kubelet.json");
    assert_eq!(configuration["address"], "127.0.0.1");
    assert_eq!(configuration["authentication"]["webhook"]["enabled"], false);
    assert_eq!(configuration["authorization"]["mode"], "AlwaysAllow");
    assert!(!text(&wanted, "etc/kubelet.env").contains("kubeconfig"));
    assert!(wanted.contents.units.iter().all(|unit| unit.name.as_str() != "flanneld.service"));
}

#[test]
fn each_backend_is_written_with_its_type_and_port() {
    for (backend, expected) in [
        ("vxlan", json!({ "Type": "vxlan", "Port": 8472, "VNI": 1 })),
        ("udp", json!({ "Type": "udp", "Port": 8285 })),
        ("wireguard", json!({ "Type": "wireguard", "ListenPort": 51820 })),
        ("host-gw", json!({ "Type": "host-gw" })),
    ] {
        let wanted = render(&format!("{JOINING}\nbackend = \"{backend}\""));
        assert_eq!(json(&wanted, "etc/net-conf.json")["Backend"], expected);
    }
}

#[test]
fn flannel_with_the_api_server_has_an_identity_of_its_own() {
    let wanted = render(JOINING);
    let flags = text(&wanted, "etc/flanneld.env");
    for part in
        ["NODE_NAME=node-07\n", "--kube-subnet-mgr", "--kubeconfig-file=/etc/kubernetes/flannel.conf", "--iface=10.0.1.7"]
    {
        assert!(flags.contains(part), "{part} is not in {flags}");
    }
    let kubeconfig = json(&wanted, "/etc/kubernetes/flannel.conf");
    assert_eq!(kubeconfig["users"][0]["user"], json!({ "tokenFile": "/etc/hostlet/flannel-token" }));
}

#[test]
fn flannel_with_etcd_takes_its_network_from_there() {
    let wanted = render(
        "sources.flannel-cni.trust-on-first-use = true\n\
         [kubelet]\nversion = \"1.36.4\"\n[flannel]\ndatastore = \"etcd\"\n[flannel.etcd]\nendpoints = [\"https://10.0.0.1:2379\", \
         \"https://10.0.0.2:2379\"]\nca-file = \"/e/ca\"\ncert-file = \"/e/crt\"\nkey-file = \"/e/key\"\n",
    );
    let flags = text(&wanted, "etc/flanneld.env");
    for flag in [
        "--etcd-endpoints=https://10.0.0.1:2379,https://10.0.0.2:2379",
        "--etcd-prefix=/coreos.com/network",
        "--etcd-cafile=/e/ca",
        "--etcd-certfile=/e/crt",
        "--etcd-keyfile=/e/key",
    ] {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
    assert!(!wanted.files.contains_key("etc/net-conf.json") && !flags.contains("kube-subnet-mgr"));
}

#[test]
fn modules_and_parameters_are_set_now_and_at_boot_and_only_those_that_are_needed() {
    let wanted = render(JOINING);
    let modules: Vec<&str> = wanted.modules.iter().map(|(name, _)| *name).collect();
    assert_eq!(modules, ["br_netfilter"], "overlay is there already");
    assert_eq!(text(&wanted, "/etc/modules-load.d/hostlet.conf"), "# Written by hostlet.\noverlay\nbr_netfilter\n");
    assert!(text(&wanted, "/etc/sysctl.d/90-hostlet.conf").contains("net.bridge.bridge-nf-call-iptables = 1\n"));
    let nftables = render(&format!("{JOINING}\nnftables = true"));
    assert!(nftables.modules.is_empty() && !nftables.contents.sysctls.contains_key("net.bridge.bridge-nf-call-iptables"));
}

#[test]
fn another_runtime_and_another_root_directory_get_a_drop_in() {
    let wanted = render(&format!(
        "{JOINING}\n[kubelet]\nroot-dir = \"/data/kubelet\"\n[runtime]\nsocket = \"/run/crio/crio.sock\"\nunit = \"crio.service\""
    ));
    let drop_in = text(&wanted, "/etc/systemd/system/kubelet.service.d/10-hostlet.conf");
    for line in ["Wants=crio.service\n", "After=crio.service\n", "RequiresMountsFor=/data/kubelet\n"] {
        assert!(drop_in.contains(line), "{drop_in}");
    }
}

#[test]
fn what_the_kubelet_insists_on_is_set_by_install() {
    let wanted = render(&format!("{JOINING}\n[kubelet.config]\nprotectKernelDefaults = true"));
    let parameters = text(&wanted, "/etc/sysctl.d/90-hostlet.conf");
    for line in ["kernel.panic = 10\n", "vm.overcommit_memory = 1\n", "kernel.keys.root_maxbytes = 25000000\n"] {
        assert!(parameters.contains(line), "{parameters}");
    }
    assert_eq!(wanted.contents.sysctls["kernel.panic_on_oops"], "1");
    assert!(!text(&render(JOINING), "/etc/sysctl.d/90-hostlet.conf").contains("kernel.panic"));
}

#[test]
fn a_cloud_provider_is_a_flag() {
    let wanted = render(&format!("{JOINING}\n[node]\ncloud-provider = \"external\""));
    assert!(text(&wanted, "etc/kubelet.env").contains(" --cloud-provider=external"));
    assert!(!text(&render(JOINING), "etc/kubelet.env").contains("cloud-provider"));
}
