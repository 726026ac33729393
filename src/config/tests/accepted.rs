use std::{net::IpAddr, path::Path, time::Duration};

use super::{accepted, fragment, with};
use crate::{
    config::{self, Backend, CertificateAuthority, Datastore, FlannelIdentity, Fragment, JoinCredential, Role},
    model::{Architecture, Component, DigestOrigin, Port, Protocol, Version},
};

#[test]
fn a_node_bootstraps_with_a_token_a_kubeconfig_or_a_client_certificate() {
    let credential = |lines: &str| {
        let text = format!("[cluster]\nserver = \"https://10.0.1.1\"\nca-file = \"/ca\"\n{lines}\n[flannel]\nenabled = false");
        accepted(&text).cluster.unwrap()
    };
    assert_eq!(credential("").credential, None);
    let token = credential("token-file = \"/etc/hostlet/bootstrap-token\"");
    assert_eq!(token.own_credentials().collect::<Vec<_>>(), [std::path::Path::new("/etc/hostlet/bootstrap-token")]);
    let kubeconfig = credential("kubeconfig-file = \"/srv/bootstrap.conf\"\nready-timeout = \"90s\"");
    assert_eq!(kubeconfig.credential, Some(JoinCredential::Kubeconfig("/srv/bootstrap.conf".into())));
    assert_eq!((kubeconfig.own_credentials().count(), kubeconfig.ready_timeout.as_secs()), (0, 90));
    let certificate = credential("client-certificate-file = \"/c\"\nclient-key-file = \"/k\"").credential;
    assert_eq!(certificate, Some(JoinCredential::Certificate { certificate: "/c".into(), key: "/k".into() }));
}

#[test]
fn the_minimal_configuration_has_sensible_defaults_for_the_rest() {
    assert!(config::minimal().lines().count() <= 12);
    let settings = accepted(config::minimal());
    let cluster = settings.cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_str(), "https://10.0.1.1:6443/");
    assert!(
        matches!(&cluster.certificate_authority, CertificateAuthority::File(path) if path == Path::new("/etc/kubernetes/pki/ca.crt"))
    );
    assert_eq!((cluster.domain.as_str(), cluster.dns.as_slice()), ("cluster.local", &[IpAddr::from([10, 96, 0, 10])][..]));
    assert_eq!(settings.node.role, Role::Worker);
    assert_eq!(settings.kubelet.version, Version::new(1, 36, 4));
    assert_eq!(settings.kubelet.root_directory, Path::new("/var/lib/kubelet"));
    assert_eq!(
        (settings.kubelet.health_timeout, settings.kubelet.stable_window),
        (Duration::from_mins(1), Duration::from_secs(5))
    );
    let flannel = settings.flannel.as_ref().unwrap();
    assert_eq!(flannel.backend, Backend::Vxlan { port: Port::known(8472), vni: 1, direct_routing: false });
    assert_eq!(flannel.network.to_string(), "10.244.0.0/16");
    assert!(matches!(&flannel.datastore, Datastore::Kube(FlannelIdentity::TokenFile(_))));
    assert_eq!(settings.runtime.socket, Path::new("/run/containerd/containerd.sock"));
    assert_eq!(settings.runtime.unit.as_str(), "containerd.service");
    assert_eq!((settings.sources.attempts, settings.sources.stall_timeout), (4, Duration::from_secs(30)));
    let versions = Component::ALL.map(|component| settings.version(component).unwrap().to_string());
    assert_eq!(versions, ["1.36.4", "0.27.4", "1.9.1", "1.9.1-flannel1"]);
}

#[test]
fn nothing_at_all_is_a_standalone_kubelet_without_flannel() {
    let settings = accepted("");
    assert!(settings.cluster.is_none() && settings.flannel.is_none());
    assert_eq!(settings.version(Component::FlannelCni), None);
    assert_eq!(settings.version(Component::CniPlugins), Some(&Version::new(1, 9, 1)));
}

#[test]
fn standalone_with_etcd_has_flannel() {
    let settings = accepted(
        "sources.flannel-cni.trust-on-first-use = true\n[flannel]\ndatastore = \"etcd\"\netcd.endpoints = \"http://10.0.1.2:2379\"",
    );
    let Datastore::Etcd { endpoints, prefix, tls } = settings.flannel.unwrap().datastore else { panic!("not etcd") };
    assert_eq!((endpoints.len(), prefix.as_str(), tls.is_none()), (1, "/coreos.com/network", true));
}

#[test]
fn flannel_can_be_turned_off_in_a_drop_in_without_removing_its_section() {
    let drop_in = Fragment { name: "90-off.toml".to_owned(), text: "[flannel]\nenabled = false".to_owned() };
    let settings = config::parse(&[fragment(config::minimal()), drop_in], &[]).unwrap();
    assert!(settings.flannel.is_none() && settings.cluster.is_some());
}

#[test]
fn later_fragments_replace_single_keys_and_whole_lists() {
    let first = "[node]\nip = [\"10.0.1.7\", \"fd00::7\"]\nrole = \"control-plane\"\n[node.labels]\na = \"1\"\nb = \"1\"";
    let second = "[node]\nip = \"10.0.1.8\"\nlabels.b = \"2\"";
    let fragments = [fragment(first), Fragment { name: "b".to_owned(), text: second.to_owned() }];
    let node = config::parse(&fragments, &[]).unwrap().node;
    assert_eq!(node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.1.8"]);
    assert_eq!(node.role, Role::ControlPlane);
    assert_eq!((node.labels["a"].as_str(), node.labels["b"].as_str()), ("1", "2"));
}

#[test]
fn a_wrong_value_that_is_replaced_does_no_harm() {
    let settings = config::parse(&[fragment("[kubelet]\nversion = \"newest\"")], &["kubelet.version=1.35.8".to_owned()]);
    assert_eq!(settings.unwrap().kubelet.version, Version::new(1, 35, 8));
}

#[test]
fn set_takes_toml_and_plain_text() {
    let sets = [
        "kubelet.version=v1.36.3",
        "node.name=7",
        "node.ip=[\"10.0.1.7\"]",
        "kubelet.config.maxPods=64",
        "kubelet.health-timeout=90",
        "kubelet.stable-window=1m",
        "preflight.extra-ports=[\"tcp/8080\"]",
    ];
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let settings = config::parse(&[], &sets).unwrap();
    assert_eq!(settings.kubelet.version, Version::new(1, 36, 3));
    assert_eq!(settings.node.name.unwrap().as_str(), "7");
    assert_eq!(settings.kubelet.config["maxPods"], 64);
    assert_eq!(settings.kubelet.stable_window, Duration::from_mins(1));
    assert_eq!(settings.preflight.extra_ports, [(Protocol::Tcp, Port::known(8080))]);
}

#[test]
fn set_takes_a_quoted_key_and_many_lines() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let sets = [
        "node.labels.\"example.com/rack\"=r12".to_owned(),
        "cluster.server=https://10.0.1.1:6443".to_owned(),
        format!("cluster.ca={pem}"),
        "flannel.enabled=false".to_owned(),
    ];
    let settings = config::parse(&[], &sets).unwrap();
    assert_eq!(settings.node.labels["example.com/rack"], "r12");
    assert!(matches!(settings.cluster.unwrap().certificate_authority, CertificateAuthority::Inline(text) if text == pem));
}

#[test]
fn any_field_of_the_kubelets_configuration_becomes_json() {
    let text = "[kubelet.config]\nmaxPods = 64\nmemoryThrottlingFactor = 0.8\nclusterDNS = [\"169.254.20.10\"]\n\
                evictionHard = { \"memory.available\" = \"100Mi\" }\nfeatureGates.NodeSwap = true\n\
                [[kubelet.config.reservedMemory]]\nnumaNode = 0\nlimits = { memory = \"1Gi\" }\n";
    let config = serde_json::Value::Object(accepted(text).kubelet.config);
    let expected = serde_json::json!({
        "maxPods": 64, "memoryThrottlingFactor": 0.8, "clusterDNS": ["169.254.20.10"],
        "evictionHard": { "memory.available": "100Mi" }, "featureGates": { "NodeSwap": true },
        "reservedMemory": [{ "numaNode": 0, "limits": { "memory": "1Gi" } }],
    });
    assert_eq!(config, expected);
}

#[test]
fn sockets_may_be_written_as_the_kubelet_writes_them() {
    for socket in ["/run/crio/crio.sock", "unix:///run/crio/crio.sock"] {
        let settings = accepted(&format!("[runtime]\nsocket = {socket:?}\nunit = \"crio.service\""));
        assert_eq!(settings.runtime.socket, Path::new("/run/crio/crio.sock"));
    }
}

#[test]
fn a_runtimes_socket_says_its_unit_and_its_unit_its_socket() {
    for (text, socket, unit) in [
        ("", "/run/containerd/containerd.sock", "containerd.service"),
        ("socket = \"unix:///var/run/crio/crio.sock\"", "/var/run/crio/crio.sock", "crio.service"),
        ("unit = \"crio.service\"", "/run/crio/crio.sock", "crio.service"),
        ("socket = \"/run/cri-dockerd.sock\"", "/run/cri-dockerd.sock", "cri-docker.service"),
        ("socket = \"/run/mine.sock\"", "/run/mine.sock", "containerd.service"),
        ("socket = \"/run/crio/crio.sock\"\nunit = \"my-crio.service\"", "/run/crio/crio.sock", "my-crio.service"),
    ] {
        let runtime = accepted(&format!("[runtime]\n{text}")).runtime;
        assert_eq!((runtime.socket.to_str().unwrap(), runtime.unit.as_str()), (socket, unit), "{text}");
    }
}

#[test]
fn the_dns_address_follows_the_services_network() {
    let text = config::minimal().replace("[cluster]", "[cluster]\nservice-cidr = \"10.43.0.0/16\"");
    assert_eq!(accepted(&text).cluster.unwrap().dns, [IpAddr::from([10, 43, 0, 10])]);
}

#[test]
fn a_pin_comes_before_the_catalog_and_published_checksums_are_offered_where_they_are_allowed() {
    let settings = accepted(config::minimal());
    let (digest, origin) = settings.pinned(Component::Kubelet, Architecture::Amd64).unwrap();
    assert_eq!((&digest.to_string()[..8], origin), ("cf2562db", DigestOrigin::Catalog));
    assert_eq!(settings.pinned(Component::FlannelCni, Architecture::Amd64), None);
    let files = settings.checksum_files(Component::FlannelCni, Architecture::Arm64);
    let ends: Vec<_> = files.iter().map(|site| site.url.path().rsplit_once('/').unwrap().1).collect();
    let old_name = "cni-plugin-flannel-linux-arm64-v1.9.1-flannel1.tgz.sha256";
    assert_eq!(ends, ["cni-plugin-flannel-linux-arm64-v1.9.1.tgz.sha256", old_name]);
    assert_eq!(settings.checksum_files(Component::Kubelet, Architecture::Amd64), []);

    let pin = "ab".repeat(32);
    let text = format!("[sources.flanneld]\ndigest = \"sha256:{pin}\"\nurl = \"file:///srv/flanneld?v={{version}}\"");
    let settings = with(&text).unwrap();
    let (digest, origin) = settings.pinned(Component::Flanneld, Architecture::Arm64).unwrap();
    assert_eq!((digest.to_string(), origin), (pin, DigestOrigin::Configuration));
}

#[test]
fn a_checksum_files_url_keeps_the_query_and_is_never_plain_http() {
    let url = "[{ url = \"http://m/x\", allow-http = true }, \"https://mirror/{arch}/kubelet?sig=1\"]";
    let settings = accepted(&format!("[sources.kubelet]\nurl = {url}\ntrust-on-first-use = true"));
    let files = settings.checksum_files(Component::Kubelet, Architecture::Amd64);
    assert_eq!(files.iter().map(|site| site.url.as_str()).collect::<Vec<_>>(), ["https://mirror/amd64/kubelet.sha256?sig=1"]);
}

#[test]
fn a_version_outside_the_catalog_is_taken_with_a_pin() {
    let text = config::minimal().replace("[flannel]", "[flannel]\nversion = \"0.28.9\"");
    let pinned = format!("{text}\n[sources.flanneld]\ndigest = \"{}\"", "0".repeat(64));
    assert_eq!(accepted(&pinned).flannel.unwrap().version, Version::new(0, 28, 9));
    let trusting = "[kubelet]\nversion = \"1.37.1\"\n[sources.kubelet]\ntrust-on-first-use = true";
    assert_eq!(accepted(trusting).kubelet.version, Version::new(1, 37, 1));
}

#[test]
fn the_mesh_is_none_without_its_section_and_has_defaults_with_it() {
    assert!(accepted(config::minimal()).mesh.is_none());
    let mesh = with("[mesh]\npeers = [{ name = \"node-01\", ip = \"10.0.1.1\" }]").unwrap().mesh.unwrap();
    assert_eq!((mesh.port.number(), mesh.cluster_name.as_str()), (7470, "kubernetes"));
    assert_eq!(mesh.key_file, std::path::Path::new("/etc/hostlet/mesh-key"));
    assert_eq!((mesh.wait_for, mesh.wait_timeout), (config::WaitFor::All, std::time::Duration::from_mins(5)));
    assert_eq!(mesh.peers[0].role, Role::Worker);
}

#[test]
fn peers_of_a_file_are_added_to_those_of_the_fragments() {
    let main = format!(
        "{}\n[mesh]\npeers-file = \"/etc/hostlet/peers.toml\"\npeers = [{{ name = \"a\", ip = \"10.0.1.1\" }}]",
        config::minimal()
    );
    let fragments = vec![Fragment { name: "hostlet.toml".to_owned(), text: main }];
    let read = |text: Result<&str, &str>| {
        let configuration = config::Configuration::new(std::path::Path::new("hostlet.toml"), fragments.clone(), Vec::new());
        let path = configuration.peers_file().unwrap();
        let text = text.map(str::to_owned).map_err(str::to_owned);
        configuration.with_peers(config::PeersFile { path, text }).settings()
    };
    let listed = "peers = [{ name = \"a\", ip = \"10.0.1.1\" }, { name = \"b\", ip = \"10.0.1.2\", role = \"control-plane\" }]";
    for text in [listed, "[[peers]]\nname = \"b\"\nip = \"10.0.1.2\"\nrole = \"control-plane\""] {
        let mesh = read(Ok(text)).unwrap().mesh.unwrap();
        let names: Vec<_> = mesh.peers.iter().map(|peer| (peer.name.as_str(), peer.role)).collect();
        assert_eq!(names, [("a", Role::Worker), ("b", Role::ControlPlane)]);
    }
    for (text, says) in [
        (Err("no such file"), ["hostlet.toml:", "/etc/hostlet/peers.toml cannot be used: no such file"]),
        (Ok("peers = [{ name = \"a\", ip = \"10.0.1.9\" }]"), ["/etc/hostlet/peers.toml:1:19", "the peer a is given twice"]),
        (Ok("nodes = []"), ["/etc/hostlet/peers.toml:1:1", "unknown key \"nodes\""]),
        (Ok("peers = ["), ["/etc/hostlet/peers.toml:1:", "not TOML"]),
        (Ok("[[peers]]\nname = \"b\"\nip = \"10.0.1.300\""), ["/etc/hostlet/peers.toml:3:6", "10.0.1.300"]),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(says.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn the_clusters_nodes_may_be_the_peers_and_large_clusters_are_sampled_as_the_user_says() {
    let mesh =
        with("[mesh]\npeers-from = \"api-server\"\nsample = { threshold = 50 }\nwait-for = \"w-1\"").unwrap().mesh.unwrap();
    assert_eq!((mesh.peers.len(), mesh.peers_from), (0, Some(config::PeersFrom::ApiServer)));
    assert_eq!(mesh.sample, config::Sample { threshold: 50, size: 20 });
}

#[test]
fn peers_have_names_addresses_and_roles_and_may_be_waited_for() {
    let text = "[mesh]\nwait-for = \"node-01\"\nwait-timeout = 0\nextra-ports = [{ port = \"udp/514\", to = \"control-plane\" }]\n\
                [[mesh.peers]]\nname = \"node-01\"\nip = [\"10.0.1.1\", \"fd00::1\"]\nrole = \"control-plane\"";
    let mesh = with(text).unwrap().mesh.unwrap();
    assert_eq!((mesh.peers[0].addresses.len(), mesh.peers[0].role), (2, Role::ControlPlane));
    assert!(mesh.wait_for.includes(&mesh.peers[0]) && mesh.wait_timeout.is_zero());
    let extra = mesh.extra_ports[0];
    assert_eq!((extra.protocol, extra.port, extra.from), (Protocol::Udp, Port::known(514), config::Group::All));
    assert!(extra.to.contains(Role::ControlPlane) && !extra.to.contains(Role::Worker));
}
