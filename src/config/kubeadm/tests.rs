use super::*;
use crate::config::{self, CertificateAuthority, Fragment, Settings};

const COMMAND: &str = "kubeadm join 10.0.1.1:6443 --token abcdef.0123456789abcdef \\\n\t--discovery-token-ca-cert-hash \
    sha256:d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4";
const DOCUMENT: &str = r#"
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: "api.example.com:6443"
    token: "abcdef.0123456789abcdef"
    caCertHashes:
      - sha256:d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4d1c2b3a4
nodeRegistration:
  name: node-07
  criSocket: unix:///var/run/crio/crio.sock
  imagePullPolicy: IfNotPresent
  taints:
    - { key: dedicated, value: gpu, effect: NoSchedule }
    - { key: empty, effect: NoExecute }
  kubeletExtraArgs:
    - { name: node-ip, value: "10.0.1.7,fd00::7" }
    - { name: node-labels, value: "example.com/rack=r12" }
    - { name: cloud-provider, value: external }
"#;

#[track_caller]
fn settings(text: &str) -> (Settings, Join) {
    let join = Join::read(text).unwrap();
    let toml = join.to_toml(std::path::Path::new("/etc/hostlet/bootstrap-token"));
    assert!(!toml.contains("0123456789abcdef"), "the token is in the text:\n{toml}");
    let fragment = Fragment { name: "made".to_owned(), text: toml.clone() };
    (config::parse(&[fragment], &[]).unwrap_or_else(|error| panic!("{error}\n{toml}")), join)
}

#[test]
fn a_pasted_join_command_becomes_a_configuration() {
    for command in [
        COMMAND.to_owned(),
        format!("sudo {COMMAND}"),
        format!("  $ /usr/bin/{COMMAND}\n"),
        COMMAND.replace("--token ", "--token="),
        format!("{COMMAND} --v=5 --ignore-preflight-errors=Swap"),
    ] {
        let (settings, join) = settings(&command);
        let cluster = settings.cluster.unwrap();
        assert_eq!(cluster.server.as_str(), "https://10.0.1.1:6443/", "{command}");
        assert!(matches!(&cluster.certificate_authority, CertificateAuthority::Discovered(hashes) if hashes.len() == 1));
        assert_eq!(join.token().unwrap().expose(), "abcdef.0123456789abcdef");
        assert_eq!(cluster.token_file().unwrap().to_str(), Some("/etc/hostlet/bootstrap-token"));
    }
}

#[test]
fn a_join_configuration_becomes_one_with_everything_that_hostlet_has_a_place_for() {
    let (settings, join) = settings(DOCUMENT);
    assert_eq!(settings.node.name.unwrap().as_str(), "node-07");
    assert_eq!(settings.node.addresses.len(), 2);
    assert_eq!(settings.node.labels["example.com/rack"], "r12");
    let taints: Vec<String> =
        settings.node.taints.iter().map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect)).collect();
    assert_eq!(taints, ["dedicated=gpu:NoSchedule", "empty=:NoExecute"]);
    assert_eq!(settings.node.cloud_provider, Some(config::CloudProvider::External));
    assert!(settings.kubelet.extra_args.is_empty());
    assert_eq!(settings.runtime.socket.to_str(), Some("/var/run/crio/crio.sock"));
    assert_eq!(settings.runtime.unit.as_str(), "crio.service");
    assert!(join.notes().iter().any(|note| note.starts_with("imagePullPolicy is left out")), "{:?}", join.notes());
    assert!(join.notes().iter().any(|note| note.starts_with("the KubeletConfiguration")), "{:?}", join.notes());
}

#[test]
fn version_1beta3_has_its_arguments_in_a_map() {
    let start = DOCUMENT.find("  kubeletExtraArgs:").unwrap();
    let text =
        DOCUMENT[..start].replace("v1beta4", "v1beta3") + "  kubeletExtraArgs:\n    max-pods: 64\n    node-ip: 10.0.1.8\n";
    let join = Join::read(&text).unwrap();
    assert_eq!((join.extra_args, join.node_ips), (vec!["--max-pods=64".to_owned()], vec!["10.0.1.8".to_owned()]));
}

#[test]
fn what_is_no_join_is_refused_with_what_to_do() {
    let hash = COMMAND.split("--discovery").next().unwrap();
    for (text, found, help) in [
        (
            hash.trim_end_matches(['\\', '\n', '\t', ' ']).to_owned(),
            "no --discovery-token-ca-cert-hash",
            "--print-join-command",
        ),
        (format!("{COMMAND} --discovery-token-unsafe-skip-ca-verification"), "any server", "--print-join-command"),
        (format!("{COMMAND} 10.0.1.2:6443"), "second address", "one command"),
        (format!("{COMMAND} --node-nmae x"), "\"node-nmae\" is not known", "did you mean \"node-name\""),
        (format!("{COMMAND} --cri-socket"), "--cri-socket has no value", "whole"),
        (format!("{COMMAND} 'x"), "not closed", "as kubeadm printed it"),
        (format!("{COMMAND} --config /tmp/join.yaml"), "\"/tmp/join.yaml\"", "hostlet config from /tmp/join.yaml"),
        ("kubeadm init".to_owned(), "`kubeadm init`", "kubeadm join"),
        ("kubeadm".to_owned(), "without a command", "whole command"),
        (COMMAND.replace("10.0.1.1:6443 ", ""), "no API server", "address and port"),
        (COMMAND.replace("--token abcdef.0123456789abcdef", ""), "no token", "kubeadm token create"),
        (DOCUMENT.replace("v1beta4", "v1beta1"), "kubeadm.k8s.io/v1beta1", "kubeadm config migrate"),
        (DOCUMENT.replace("JoinConfiguration", "InitConfiguration"), "not one JoinConfiguration", "join-defaults"),
        (DOCUMENT.replace("caCertHashes", "caCertHash"), "\"caCertHash\" is not known", "did you mean \"caCertHashes\""),
        (DOCUMENT.replace("  name: node-07", "  name: [node-07]"), "name is not text", "kubeadm config validate"),
        ("a: [".to_owned(), "neither", "JoinConfiguration"),
        (String::new(), "not one JoinConfiguration", "join-defaults"),
    ] {
        let error = Join::read(&text).expect_err(&text);
        assert!(error.found.contains(found) && error.help.contains(help), "{text}\n{error}");
        assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
    }
}

#[test]
fn a_wrong_value_is_told_by_the_configuration() {
    let join = Join::read(&COMMAND.replace("sha256:d1", "sha256:x1")).unwrap();
    let text = join.to_toml(std::path::Path::new("/etc/hostlet/bootstrap-token"));
    let error = config::parse(&[Fragment { name: "made".to_owned(), text }], &[]).unwrap_err();
    assert!(error.to_string().contains("the hash of a public key"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "(kubeadm join )?.{0,120}") {
        let _ = Join::read(&text);
    }
}
