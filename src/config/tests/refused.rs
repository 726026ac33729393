//! Each kind of bad input: fragment, line, the offending text, and what is allowed.

use super::{FILE, parse, problem, with};
use crate::config::{self, minimal};

/// A configuration, the text it is refused for (below which the carets stand), and what the message must say.
#[track_caller]
fn refused(text: &str, offending: &str, says: &[&str]) {
    let problem = problem(parse(text));
    let place = problem.place.clone().unwrap_or_else(|| panic!("no place: {problem}"));
    let shown: String = place.text.chars().skip(place.indent).take(place.width).collect();
    assert_eq!((place.fragment.as_str(), shown.as_str()), (FILE, offending), "{problem}");
    let line = text.lines().nth(place.line - 1).unwrap();
    let at: String = line.chars().skip(place.column - 1).take(place.width).collect();
    assert_eq!(at, offending, "{problem}");
    let whole = problem.to_string();
    for part in says {
        assert!(whole.contains(part), "no {part:?} in:\n{whole}");
    }
}

#[test]
fn a_problem_is_shown_with_its_line_and_what_is_allowed() {
    let text = minimal().replace("server", "sever");
    let shown = problem(parse(&text)).to_string();
    let expected = "/etc/hostlet/hostlet.toml:7:1: unknown key \"sever\" in [cluster]\n \
                    7 | sever = \"https://10.0.1.1:6443\"\n   \
                    | ^^^^^\n  \
                    did you mean \"server\"?\n  \
                    allowed here: server, ca-file, ca, ca-hash, token-file, kubeconfig-file, client-certificate-file, \
                    client-key-file, dns, domain, service-cidr, ready-timeout";
    assert_eq!(shown, expected);
}

#[test]
fn unknown_keys_and_sections_are_refused_with_the_nearest_known_one() {
    refused("[kublet]\n", "kublet", &["unknown key \"kublet\"", "did you mean \"kubelet\"?", "node, cluster, kubelet"]);
    refused("[flannel]\nenabled = false\nback-end = \"udp\"", "back-end", &["did you mean \"backend\"?"]);
    refused("[sources.flannel]\ndigest = \"\"", "flannel", &["in [sources]", "did you mean \"flanneld\"?"]);
    refused("[[preflight.waive]]\ncheck = \"swap\"\nreasons = \"x\"", "reasons", &["did you mean \"reason\"?"]);
    refused("banana = 1", "banana", &["allowed here: node, cluster"]);
}

#[test]
fn wrong_types_are_refused_with_the_right_one() {
    refused("[kubelet]\nversion = 1.36", "1.36", &["kubelet.version is a string, not a float", "put it in quotes"]);
    refused("kubelet = 3", "3", &["kubelet is a table, not an integer"]);
    refused("[flannel]\nenabled = \"no\"", "\"no\"", &["flannel.enabled is true or false, not a string"]);
    refused("[node]\ntaints = \"a:NoSchedule\"", "\"a:NoSchedule\"", &["node.taints is a list, not a string"]);
    refused("[node]\nip = [\"10.0.1.7\", 3]", "3", &["node.ip is a string, not an integer"]);
    refused("[node.labels]\na = 1", "1", &["node.labels.a is a string"]);
    refused("[kubelet]\nhealth-timeout = 1.5", "1.5", &["a string or an integer"]);
    refused("[kubelet]\nhealth-timeout = 1979-05-27", "1979-05-27", &["not a date"]);
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    refused("[node]\nname = node-07\n", "node-07", &["not TOML", "text stands in quotes: \"node-07\""]);
    refused("[node]\nname = \"a\"\nname = \"b\"\n", "name", &["not TOML", "duplicate key"]);
}

#[test]
fn the_nodes_values_are_refused_with_what_is_allowed() {
    refused("[node]\nname = \"Node_07\"", "\"Node_07\"", &["lower-case letters", "RFC 1123"]);
    refused("[node]\nip = \"127.0.0.1\"", "\"127.0.0.1\"", &["not loopback"]);
    refused("[node]\nip = [\"10.0.1.7\", \"10.0.1.8\"]", "\"10.0.1.8\"", &["same family as 10.0.1.7"]);
    refused(
        "[node]\nrole = \"control-plan\"",
        "\"control-plan\"",
        &["worker or control-plane", "did you mean \"control-plane\"?"],
    );
    refused("[node]\ntaints = [\"a=b\"]", "\"a=b\"", &["dedicated=gpu:NoSchedule"]);
    refused("[node]\ntaints = [\"a=b:NoSchedul\"]", "\"a=b:NoSchedul\"", &["NoExecute", "did you mean \"NoSchedule\"?"]);
    refused("[node]\ntaints = [\"a:NoExecute\", \"a=1:NoExecute\"]", "\"a=1:NoExecute\"", &["given twice"]);
    refused("[node.labels]\n\"-a\" = \"x\"", "\"-a\"", &["a label's key"]);
    refused("[node.labels]\na = \"x y\"", "\"x y\"", &["a label's value"]);
    let key = "\"node-role.kubernetes.io/worker\"";
    refused(&format!("[node.labels]\n{key} = \"\""), key, &["kubectl label node NAME node-role.kubernetes.io/worker=VALUE"]);
}

#[test]
fn the_clusters_values_are_refused_with_what_is_allowed() {
    let server = |url: &str, says| {
        refused(&minimal().replace("https://10.0.1.1:6443", url), &format!("{url:?}"), &[says, "https://10.0.1.1:6443"]);
    };
    server("http://10.0.1.1:6443", "starts with https://");
    server("https://10.0.1.1:6443/api", "without a path");
    server("https://10.0.1.1?x", "without a path, query");
    server("https://", "a URL");
    server("10.0.1.1:6443", "a URL");
    refused(&minimal().replace("/etc/kubernetes/pki/ca.crt", "ca.crt"), "\"ca.crt\"", &["an absolute path"]);
    refused(&minimal().replace("/etc/kubernetes/pki/ca.crt", "/etc/../ca.crt"), "\"/etc/../ca.crt\"", &["without \"..\""]);
    let cluster = |line: &str| minimal().replace("[flannel]", &format!("{line}\n[flannel]"));
    refused(&cluster("ca = \"x\""), "ca", &["both ca-file and ca", "exactly one"]);
    let hash = format!("ca-hash = \"sha256:{}\"", "a1".repeat(32));
    refused(&cluster(&hash), "ca-hash", &["both ca-file and ca-hash", "exactly one"]);
    let alone = |hash: &str| format!("[cluster]\nserver = \"https://10.0.1.1\"\n{hash}\n[flannel]\nenabled = false");
    refused(&alone(&hash), "ca-hash", &["there is none", "token-file ="]);
    let bare = hash.replace("sha256:", "");
    refused(
        &alone(&format!("{bare}\ntoken-file = \"/t\"")),
        &format!("\"{}\"", "a1".repeat(32)),
        &["sha256: and 64 hexadecimal characters"],
    );
    let join = |lines: &str| alone(&format!("ca-file = \"/ca\"\n{lines}"));
    let both = join("token-file = \"/t\"\nkubeconfig-file = \"/k\"");
    refused(&both, "kubeconfig-file", &["token-file and kubeconfig-file are given", "exactly one"]);
    refused(&join("client-key-file = \"/k\""), "client-key-file", &["without client-certificate-file", "give both"]);
    refused(&join("client-certificate-file = \"/c\""), "client-certificate-file", &["without client-key-file"]);
    refused(&join("ready-timeout = 0"), "0", &["from 1s"]);
    refused(&minimal().replace("ca-file", "#"), "cluster", &["no certificate authority", "ca-file = "]);
    refused(&minimal().replace("server", "#"), "cluster", &["no server", "server = \"https://"]);
    refused(&minimal().replace("ca-file", "ca"), "ca", &["not a PEM certificate", "belongs into ca-file"]);
    refused(&cluster("dns = \"kube-dns\""), "\"kube-dns\"", &["10.96.0.10"]);
    refused(&cluster("domain = \"Cluster.Local.\""), "\"Cluster.Local.\"", &["cluster.local"]);
    refused(&cluster("service-cidr = \"10.96.0.1/12\""), "\"10.96.0.1/12\"", &["10.96.0.0/12"]);
    refused(&cluster("service-cidr = \"10.244.0.0/20\""), "service-cidr", &["overlaps the pods' network 10.244.0.0/16"]);
}

#[test]
fn credentials_are_not_shown() {
    let shown = problem(with("[node]\ntoken = \"hunter2\"\n")).to_string();
    assert!(shown.contains("unknown key \"token\"") && !shown.contains("hunter2"), "{shown}");
    let text = minimal().replace("/etc/hostlet/bootstrap-token", "abcdef.0123456789abcdef");
    let shown = problem(parse(&text)).to_string();
    assert!(shown.contains("an absolute path") && !shown.contains("0123456789abcdef"), "{shown}");
    let shown = problem(parse(&minimal().replace("10.0.1.1", "me:hunter2@10.0.1.1"))).to_string();
    assert!(shown.contains("without user and password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_kubelets_values_are_refused_with_what_is_allowed() {
    refused("[kubelet]\nversion = \"latest\"", "\"latest\"", &["a version such as 1.36.4"]);
    refused("[kubelet]\nversion = \"1.29.0\"", "\"1.29.0\"", &["1.33.0 or newer", "1.36.4"]);
    refused("[kubelet]\nversion = \"2.0.0\"", "\"2.0.0\"", &["major version 1"]);
    refused("[kubelet]\nhealth-timeout = \"soon\"", "\"soon\"", &["such as \"90s\""]);
    refused("[kubelet]\nhealth-timeout = -1", "-1", &["an integer of seconds"]);
    refused("[kubelet]\nhealth-timeout = \"2h\"", "\"2h\"", &["from 1s to 3600s"]);
    refused("[kubelet]\nstable-window = \"60s\"", "stable-window", &["shorter than kubelet.health-timeout"]);
}

#[test]
fn root_directories_that_would_break_the_host_are_refused() {
    let root = |path: &str, says: &str| refused(&format!("[kubelet]\nroot-dir = {path:?}"), &format!("{path:?}"), &[says]);
    root("kubelet", "an absolute path");
    root("/data/../kubelet", "without \"..\"");
    root("/data//kubelet", "would be /data/kubelet");
    root("/data/kubelet/", "would be /data/kubelet");
    root("/", "system's own files");
    root("/etc/kubelet", "system's own files");
    root("/var/lib", "system's own files");
    root("/opt/hostlet/x", "/opt/hostlet belongs to something else");
    root("/data/my kubelet", "only letters, digits");
    root(&format!("/data/{}", "k".repeat(90)), "too long");
}

#[test]
fn flags_that_hostlet_sets_or_that_are_gone_are_refused_with_what_to_do_instead() {
    let flag = |flag: &str, says: &str| refused(&format!("[kubelet]\nextra-args = [{flag:?}]"), &format!("{flag:?}"), &[says]);
    flag("--config=/x", "[kubelet.config]");
    flag("--node-ip=10.0.1.7", "set node.ip");
    flag("--node_ip=10.0.1.7", "set node.ip");
    flag("--hostname-override=x", "set node.name");
    flag("--root-dir=/x", "set kubelet.root-dir");
    flag("--bootstrap-kubeconfig=/x", "set cluster.token-file");
    flag("--container-runtime-endpoint=/x", "set runtime.socket");
    flag("--pod-infra-container-image=pause", "it was removed in 1.35");
    flag("v=2", "--housekeeping-interval=15s");
    flag("--v 2", "one flag with its value");
    refused("[kubelet]\nextra-args = [\"--v=2\", \"--v=3\"]", "\"--v=3\"", &["given twice"]);
}

#[test]
fn misspelt_fields_of_the_kubelets_configuration_are_refused() {
    let config = |line: &str, offending: &str, says: &[&str]| refused(&format!("[kubelet.config]\n{line}"), offending, says);
    config("maxpods = 10", "maxpods", &["unknown key", "did you mean \"maxPods\"?"]);
    config("authentication.x509.clientCaFile = \"/x\"", "clientCaFile", &["did you mean \"clientCAFile\"?"]);
    config("maxPods = \"10\"", "\"10\"", &["kubelet.config.maxPods is an integer, not a string"]);
    config("syncFrequency = \"1 minute\"", "\"1 minute\"", &["such as 30s"]);
    config("featureGates.X = \"true\"", "\"true\"", &["true or false"]);
    config("memoryThrottlingFactor = nan", "nan", &["not a finite number"]);
    config("containerRuntimeEndpoint = \"unix:///x\"", "containerRuntimeEndpoint", &["set [runtime] socket"]);
    config("kind = \"KubeletConfiguration\"", "kind", &["hostlet writes it"]);
    config("healthzPort = 0", "healthzPort", &["the health gate needs it"]);
    config("port = 70000", "port", &["1 to 65535"]);
    config("cgroupDriver = \"system\"", "cgroupDriver", &["did you mean \"systemd\"?"]);
}

#[test]
fn what_is_given_in_two_places_is_refused() {
    let text =
        minimal().replace("[flannel]", "dns = \"10.96.0.10\"\n[kubelet.config]\nclusterDNS = [\"10.43.0.10\"]\n[flannel]");
    refused(&text, "clusterDNS", &["and as cluster.dns"]);
    let text =
        "[node]\ntaints = [\"a:NoExecute\"]\n[kubelet.config]\nregisterWithTaints = [{ key = \"b\", effect = \"NoExecute\" }]";
    refused(text, "registerWithTaints", &["node.taints"]);
}

#[test]
fn flannels_values_are_refused_with_what_is_allowed() {
    let flannel = |line: &str, offending: &str, says: &[&str]| refused(&format!("{}{line}\n", minimal()), offending, says);
    flannel("backend = \"vlxan\"", "\"vlxan\"", &["vxlan, udp, host-gw or wireguard", "did you mean \"vxlan\"?"]);
    flannel("network = \"10.244.1.0/16\"", "\"10.244.1.0/16\"", &["10.244.0.0/16"]);
    flannel("network = \"fd00::/56\"", "\"fd00::/56\"", &["not an IPv4 network", "flannel.ipv6-network"]);
    flannel("network = \"10.244.0.0/30\"", "\"10.244.0.0/30\"", &["/1 to /28"]);
    flannel("port = 0", "0", &["from 1 to 65535"]);
    flannel("vni = 16777216", "16777216", &["from 1 to 16777215"]);
    flannel("backend = \"host-gw\"\nport = 8472", "port", &["sets routes only"]);
    flannel("backend = \"udp\"\nvni = 1", "vni", &["only the vxlan backend"]);
    flannel("interface = \"a-very-long-interface\"", "\"a-very-long-interface\"", &["at most 15"]);
    flannel("datastore = \"consul\"", "\"consul\"", &["kube or etcd"]);
    flannel("kubeconfig-file = \"/x\"", "kubeconfig-file", &["exactly one"]);
    flannel("etcd.prefix = \"/a\"", "etcd", &["the datastore is kube"]);
    flannel("[node]\nip = \"10.244.3.1\"", "ip", &["lies in the pods' network"]);
}

#[test]
fn flannel_without_what_it_needs_is_refused_with_the_remedies() {
    refused(
        &minimal().replace("token-file = \"/etc/hostlet/flannel-token\"", ""),
        "flannel",
        &["no identity", "token-file", "enabled = false"],
    );
    let cluster_only = minimal().split("[flannel]").next().unwrap();
    refused(cluster_only, "cluster", &["no identity", "[flannel] enabled = false"]);
    refused("[flannel]\n", "flannel", &["there is no [cluster]", "give a [cluster]", "\"etcd\"", "enabled = false"]);
    let etcd = |lines: &str| format!("[flannel]\ndatastore = \"etcd\"\n{lines}");
    refused(&etcd(""), "datastore", &["no endpoint is given", "endpoints = "]);
    refused(&etcd("token-file = \"/x\"\netcd.endpoints = \"https://a:1\""), "token-file", &["the datastore is etcd"]);
    refused(
        &etcd("[flannel.etcd]\nendpoints = \"https://a:1\"\nca-file = \"/x\""),
        "ca-file",
        &["cert-file and flannel.etcd.key-file too"],
    );
    refused(&etcd("[flannel.etcd]\nendpoints = \"https://a:1\"\nprefix = \"a/\""), "\"a/\"", &["/coreos.com/network"]);
    refused(&etcd("[flannel.etcd]\nendpoints = \"etcd:2379\""), "\"etcd:2379\"", &["https:// or http://"]);
}

#[test]
fn an_artifact_that_nobody_vouches_for_is_refused_with_the_known_versions() {
    let text = minimal().replace("[flannel]", "[flannel]\nversion = \"0.28.9\"");
    refused(&text, "version", &["nobody vouches for flanneld 0.28.9", "pin it: sources.flanneld.digest", "0.27.4"]);
}

#[test]
fn sources_runtime_and_preflight_are_refused_with_what_is_allowed() {
    refused("[sources.kubelet]\nurl = \"http://m/k\"", "\"http://m/k\"", &["plain http lets anybody"]);
    refused("[sources.kubelet]\nurl = \"https://m/{versoin}\"", "\"https://m/{versoin}\"", &["did you mean \"{version}\"?"]);
    refused("[sources.kubelet]\ndigest = \"abc\"", "\"abc\"", &["64 hexadecimal characters"]);
    refused("[sources]\nattempts = 0", "0", &["from 1 to 100"]);
    refused("[sources]\nattempts = -1", "-1", &["sources.attempts is a number"]);
    refused("[sources]\nstall-timeout = 0", "0", &["from 1s"]);
    refused("[runtime]\nsocket = \"tcp://x\"", "\"tcp://x\"", &["/run/containerd/containerd.sock"]);
    let long = format!("\"/run/{}\"", "s".repeat(110));
    refused(&format!("[runtime]\nsocket = {long}"), &long, &["at most 107 bytes (it has 115)"]);
    refused("[runtime]\nunit = \"containerd\"", "\"containerd\"", &["containerd.service"]);
    refused("[preflight]\nextra-ports = [\"8080\"]", "\"8080\"", &["tcp/8080"]);
    refused("[preflight]\nwaive = [{ check = \"swap\" }]", "\"swap\"", &["no reason", "OPS-12"]);
    refused("[preflight]\nwaive = [{ check = \"swap\", reason = \" \" }]", "\" \"", &["empty reason"]);
    refused("[preflight]\nwaive = [{ check = \"Swap!\", reason = \"x\" }]", "\"Swap!\"", &["the id of a check"]);
}

#[test]
fn a_wrong_set_is_shown_as_it_was_given() {
    let set = |set: &str| problem(config::parse(&[], &[set.to_owned()]));
    let shown = set("kubelet.versoin=1.36.3").to_string();
    assert!(shown.starts_with("--set:1:1: unknown key \"versoin\" in [kubelet]\n 1 | kubelet.versoin=1.36.3\n"), "{shown}");
    assert!(set("kubelet.version").to_string().contains("takes key=value"));
    assert!(set("[x]=1").to_string().contains("takes key=value"));
    let place = set("kubelet.version=newest").place.unwrap();
    assert_eq!((place.column, place.width), (17, 6));
}

#[test]
fn the_meshs_values_are_refused_with_what_is_allowed() {
    let one = "[mesh]\npeers = [{ name = \"a\", ip = \"10.0.1.1\" }]";
    refused("[mesh]\nport = 7470", "mesh", &["[mesh] names no peers", "peers = [{ name"]);
    refused("[mesh]\npeers = [{ ip = \"10.0.1.1\" }]", "\"10.0.1.1\"", &["the peer has no name"]);
    refused("[mesh]\npeers = [{ name = \"a\" }]", "\"a\"", &["the peer a has no ip"]);
    refused("[mesh]\npeers = [{ name = \"a\", ip = \"127.0.0.1\" }]", "\"127.0.0.1\"", &["not loopback"]);
    let twice = "[mesh]\npeers = [{ name = \"a\", ip = \"10.0.1.1\" }, { name = \"a\", ip = \"10.0.1.2\" }]";
    let problem = problem(parse(twice)).to_string();
    assert!(problem.contains("the peer a is given twice"), "{problem}");
    refused(
        "[mesh]\npeers = [{ name = \"a\", ip = \"10.0.1.1\" }, { name = \"b\", ip = \"10.0.1.1\" }]",
        "\"10.0.1.1\"",
        &["10.0.1.1 is the address of a already"],
    );
    refused(
        &format!("{one}\nwait-for = \"c\""),
        "\"c\"",
        &["c is not one of mesh.peers", "all, control-plane, or a list of a"],
    );
    refused(&format!("{one}\nwait-timeout = \"25h\""), "\"25h\"", &["is not a duration from 0ns to 86400s"]);
    refused(&format!("{one}\npeers-from = \"etcd\""), "\"etcd\"", &["a source of peers", "api-server"]);
    refused(&format!("{one}\npeers-file = \"peers.toml\""), "\"peers.toml\"", &["an absolute path"]);
    refused(&format!("{one}\nsample = {{ size = 7 }}"), "7", &["7 is not a number from 8 to 1000"]);
    let without =
        "[flannel]\ndatastore = \"etcd\"\netcd.endpoints = \"https://10.0.0.1:2379\"\n[mesh]\npeers-from = \"api-server\"";
    let unasked = super::problem(parse(without)).to_string();
    assert!(unasked.contains("flannel has none") && unasked.contains("token-file"), "{unasked}");
    refused(&format!("{one}\nport = 0"), "0", &["mesh.port"]);
    refused(&format!("{one}\nkey-file = \"key\""), "\"key\"", &["an absolute path"]);
    refused(&format!("{one}\nextra-ports = [{{ port = \"9100\" }}]"), "\"9100\"", &["tcp/8080"]);
    refused(
        &format!("{one}\nextra-ports = [{{ port = \"tcp/9100\", to = \"master\" }}]"),
        "\"master\"",
        &["all, worker or control-plane"],
    );
}
