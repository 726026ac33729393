//! What flannel is given, against what each of its versions takes.

use serde_json::{Map, Value};

use super::{
    Wanted,
    render_tests::{json, render, text},
};
use crate::{
    config::{self, Fragment},
    model::Version,
    standin::flannel_table::{FLAGS, fields},
};

const VERSIONS: [&str; 7] = ["0.25.0", "0.25.7", "0.26.7", "0.27.0", "0.27.1", "0.27.4", "0.28.9"];

/// Backend, what is said of it, and what net-conf.json has of it.
const WAYS: [(&str, &str, &str); 10] = [
    ("vxlan", "", r#"{ "Type": "vxlan", "Port": 8472, "VNI": 1 }"#),
    (
        "vxlan",
        "port = 4789\nvni = 7\ndirect-routing = true\nmtu = 9000",
        r#"{ "Type": "vxlan", "Port": 4789, "VNI": 7, "DirectRouting": true, "MTU": 9000 }"#,
    ),
    ("vxlan", "ipv6-network = \"fd00:244::/56\"", r#"{ "Type": "vxlan", "Port": 8472, "VNI": 1 }"#),
    ("udp", "", r#"{ "Type": "udp", "Port": 8285 }"#),
    ("udp", "port = 8286", r#"{ "Type": "udp", "Port": 8286 }"#),
    ("host-gw", "", r#"{ "Type": "host-gw" }"#),
    ("host-gw", "ipv6-network = \"fd00:244::/56\"", r#"{ "Type": "host-gw" }"#),
    ("wireguard", "", r#"{ "Type": "wireguard", "ListenPort": 51820 }"#),
    (
        "wireguard",
        "port = 4000\nipv6-network = \"fd00:244::/56\"\nmtu = 1500",
        r#"{ "Type": "wireguard", "ListenPort": 4000, "ListenPortV6": 51821, "MTU": 1500 }"#,
    ),
    (
        "wireguard",
        "port = 51821\nipv6-port = 51830\nipv6-network = \"fd00:244::/56\"",
        r#"{ "Type": "wireguard", "ListenPort": 51821, "ListenPortV6": 51830 }"#,
    ),
];

const KUBE: &str = "token-file = \"/etc/hostlet/flannel-token\"";
const ETCD: &str = "datastore = \"etcd\"\netcd = { endpoints = \"https://10.0.0.1:2379\", ca-file = \"/e/ca\", cert-file = \"/e/crt\", key-file = \"/e/key\" }";

fn configuration(version: &str, backend: &str, more: &str, datastore: &str) -> String {
    format!(
        "sources.flannel-cni.trust-on-first-use = true\nsources.flanneld.digest = \"{}\"\n\
         [node]\nip = [\"fd00::7\", \"10.0.1.7\"]\n\
         [cluster]\nserver = \"https://10.0.0.1:6443\"\nca-file = \"/ca\"\ntoken-file = \"/token\"\n\
         [flannel]\nversion = \"{version}\"\nbackend = \"{backend}\"\n{more}\n{datastore}\n",
        "0".repeat(64)
    )
}

/// The arguments that the unit gives, as it does: split at blanks.
fn arguments(wanted: &Wanted) -> Vec<String> {
    let environment = text(wanted, "etc/flanneld.env");
    let line = environment.lines().find_map(|line| line.strip_prefix("FLANNELD_ARGS=")).unwrap();
    line.split(' ').map(str::to_owned).collect()
}

fn assert_known(version: &Version, object: &Map<String, Value>, backend: Option<&str>) {
    for name in object.keys() {
        let field = fields(backend).unwrap().iter().find(|(field, ..)| field == name);
        let known = field.is_some_and(|(_, _, since)| version >= since);
        assert!(known, "flannel {version} has no {name} in {backend:?}");
    }
}

#[test]
fn every_backend_gets_arguments_and_a_network_configuration_that_every_version_takes() {
    for version in VERSIONS {
        let parsed: Version = version.parse().unwrap();
        for (backend, more, expected) in WAYS {
            for datastore in [KUBE, ETCD] {
                let wanted = render(&configuration(version, backend, more, datastore));
                for argument in arguments(&wanted) {
                    let (name, value) =
                        argument.split_once('=').map_or((&*argument, None), |(name, value)| (name, Some(value)));
                    let flag = FLAGS.iter().find(|flag| name.strip_prefix("--") == Some(flag.name));
                    let flag = flag.unwrap_or_else(|| panic!("flannel has no {argument}"));
                    assert!(parsed >= flag.since && (flag.switch || value.is_some()), "flannel {version}: {argument}");
                }
                if datastore == ETCD {
                    continue;
                }
                let network = json(&wanted, "etc/net-conf.json");
                let network = network.as_object().unwrap();
                assert_eq!(network["Backend"], serde_json::from_str::<Value>(expected).unwrap(), "{backend} {more}");
                assert_known(&parsed, network, None);
                assert_known(&parsed, network["Backend"].as_object().unwrap(), Some(backend));
            }
        }
    }
}

/// flannel looks --iface up among IPv4 addresses, also where the node's first address is another.
#[test]
fn the_interface_is_that_of_the_nodes_addresses_family_by_family() {
    let alone = arguments(&render(&configuration("0.28.9", "vxlan", "", KUBE)));
    assert!(alone.contains(&"--iface=10.0.1.7".to_owned()) && !alone.iter().any(|flag| flag.contains("ipv6")), "{alone:?}");
    let dual = arguments(&render(&configuration("0.28.9", "vxlan", "ipv6-network = \"fd00:244::/56\"", KUBE)));
    assert!(dual.contains(&"--iface=10.0.1.7".to_owned()) && dual.contains(&"--public-ipv6=fd00::7".to_owned()), "{dual:?}");
    let network =
        json(&render(&configuration("0.28.9", "host-gw", "ipv6-network = \"fd00:244::/56\"", KUBE)), "etc/net-conf.json");
    assert_eq!((&network["EnableIPv6"], &network["IPv6Network"]), (&Value::Bool(true), &Value::from("fd00:244::/56")));
    let named = arguments(&render(&configuration("0.28.9", "vxlan", "interface = \"eth1\"", KUBE)));
    assert!(named.contains(&"--iface=eth1".to_owned()), "{named:?}");
}

#[test]
fn what_a_backend_has_no_use_for_is_refused() {
    let said = |backend: &str, more: &str| {
        let text = configuration("0.28.9", backend, more, KUBE);
        let fragment = Fragment { name: "hostlet.toml".to_owned(), text };
        config::parse(&[fragment], &[]).err().map_or_else(String::new, |error| error.to_string())
    };
    for (backend, more, says) in [
        ("udp", "ipv6-network = \"fd00:244::/56\"", "the udp backend carries IPv4 only"),
        ("udp", "mtu = 1400", "only the vxlan and wireguard backends take an MTU"),
        ("host-gw", "mtu = 1400", "only the vxlan and wireguard backends take an MTU"),
        ("host-gw", "direct-routing = true", "host-gw always does"),
        ("wireguard", "vni = 1", "only the vxlan backend has a VNI"),
        ("wireguard", "ipv6-port = 51822", "the pods' network has no IPv6"),
        ("wireguard", "port = 5000\nipv6-port = 5000\nipv6-network = \"fd00:244::/56\"", "both families have the port 5000"),
        ("vxlan", "ipv6-port = 5000\nipv6-network = \"fd00:244::/56\"", "only the wireguard backend"),
        ("vxlan", "mtu = 500", "500 is not an MTU from 656 to 65535"),
        ("vxlan", "mtu = 1300\nipv6-network = \"fd00:244::/56\"", "not an MTU from 1360"),
    ] {
        assert!(said(backend, more).contains(says), "{backend} {more}: {}", said(backend, more));
    }
    let old = configuration("0.24.4", "vxlan", "nftables = true", KUBE);
    let error = config::parse(&[Fragment { name: "hostlet.toml".to_owned(), text: old }], &[]).unwrap_err().to_string();
    assert!(error.contains("flannel 0.24.4 has no nftables") && error.contains("0.25.0"), "{error}");
}
