//! The stand-ins do what the tests that install them count on.

use std::time::{Duration, Instant};

use hostlet::{model::Component, rehearse::Machine};

use crate::machine::{HOSTLET, boot_with_hostlet, serve_artifacts};

const KUBELET: &str = "/srv/mirror/kubelet/v1.36.4/bin/linux/amd64/kubelet";
const FLANNELD: &str = "/srv/mirror/flannel/v0.28.9/flanneld-amd64";

/// Starts a service as hostlet's units do, from /srv/bin. Fails if it does not become ready.
async fn start(machine: &Machine, name: &str, artifact: &str, arguments: &str) -> Result<String, String> {
    let script = format!(
        "install -D {artifact} /srv/bin/{name}
        systemctl reset-failed {name} 2>/dev/null || true
        systemd-run --quiet --unit={name} --service-type=notify --property=TimeoutStartSec=3 /srv/bin/{name} {arguments}"
    );
    machine.script(&script).await.map_err(|error| error.to_string())
}

async fn write_kubelet_configuration(machine: &Machine) {
    let configuration = r#"{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration",
        "failCgroupV1":false,"containerRuntimeEndpoint":"unix:///run/containerd/containerd.sock"}"#;
    machine.write("/srv/kubelet.json", configuration, 0o644).await.unwrap();
    let bootstrap = r#"{"clusters":[{"name":"k","cluster":{"server":"https://10.77.0.1:6443"}}]}"#;
    machine.write("/srv/bootstrap.conf", bootstrap, 0o600).await.unwrap();
}

const JOINING: &str = "--config=/srv/kubelet.json --kubeconfig=/srv/kubelet.conf --bootstrap-kubeconfig=/srv/bootstrap.conf";

#[tokio::test]
async fn sys_the_kubelet_serves_and_its_secrets_reach_the_host_and_outlive_it() {
    let machine = boot_with_hostlet().await;
    serve_artifacts(&machine, "{}").await;
    write_kubelet_configuration(&machine).await;
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap();

    let health = "exec 3<>/dev/tcp/127.0.0.1/10248; printf 'GET /healthz HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3";
    assert!(machine.script(health).await.unwrap().ends_with("\r\n\r\nok"));
    machine.script("exec 3<>/dev/tcp/10.77.0.2/10250").await.unwrap();
    let secret = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~secret/token";
    let script =
        format!("cat {secret}/token; grep -c /pods/ /proc/$(pidof -s containerd)/mountinfo; stat -c %a /srv/kubelet.conf");
    assert_eq!(machine.script(&script).await.unwrap(), "a rehearsal's secret\n1\n600\n");

    machine.expect(&["systemctl", "stop", "kubelet"]).await.unwrap();
    assert_eq!(machine.expect(&["systemctl", "show", "--value", "--property=Result", "kubelet"]).await.unwrap(), "success\n");
    machine.script(&format!("mountpoint --quiet {secret}")).await.unwrap();
}

#[tokio::test]
async fn sys_flanneld_makes_the_device_that_holds_its_port_and_writes_its_subnet() {
    let machine = boot_with_hostlet().await;
    serve_artifacts(&machine, "{}").await;
    let network = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","Port":8472}}"#;
    machine.write("/srv/net-conf.json", network, 0o644).await.unwrap();
    machine.write("/srv/flannel.conf", "{}", 0o600).await.unwrap();
    let arguments = "--net-config-path=/srv/net-conf.json --kubeconfig-file=/srv/flannel.conf --kube-subnet-mgr --ip-masq";
    start(&machine, "flanneld", FLANNELD, arguments).await.expect_err("it must know the name of its Node");

    let arguments = "--net-config-path=/srv/net-conf.json --etcd-endpoints=https://10.77.0.1:2379 --ip-masq";
    start(&machine, "flanneld", FLANNELD, arguments).await.unwrap();
    let subnet = machine.read("/run/flannel/subnet.env").await.unwrap();
    assert_eq!(subnet, "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
    let device = machine.expect(&["ip", "-details", "link", "show", "flannel.1"]).await.unwrap();
    assert!(device.contains("vxlan id 1 local 10.77.0.2 dev node0") && device.contains("dstport 8472"), "{device}");
}

#[tokio::test]
async fn sys_releases_misbehave_as_they_are_told_to() {
    let machine = boot_with_hostlet().await;
    write_kubelet_configuration(&machine).await;
    let make = async |behaviour: &str| {
        let versions = format!(r#"{{"kubelet":{{"version":"1.36.4","behaviour":{behaviour}}}}}"#);
        machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", &versions]).await.unwrap()
    };
    let good = make("\"good\"").await;
    assert_ne!(good, make("\"exit-at-start\"").await, "another release is another file");
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap_err();
    make("\"hang\"").await;
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap_err();
    make("\"crash-after-ready\"").await;
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap();
    machine.script("sleep 1; ! systemctl is-active --quiet kubelet").await.unwrap();
    make("\"no-healthz\"").await;
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap();
    machine.script("! bash -c 'exec 3<>/dev/tcp/127.0.0.1/10248' 2>/dev/null; systemctl stop kubelet").await.unwrap();
    make(r#"{"slow-ready":2}"#).await;
    let begun = Instant::now();
    start(&machine, "kubelet", KUBELET, JOINING).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn sys_the_kubelet_refuses_flags_that_are_gone_and_hosts_that_are_unfit() {
    let machine = boot_with_hostlet().await;
    serve_artifacts(&machine, "{}").await;
    write_kubelet_configuration(&machine).await;
    machine.script(&format!("install -D {KUBELET} /srv/bin/kubelet")).await.unwrap();
    let output = machine.run(&["/srv/bin/kubelet", "--pod-infra-container-image=x"]).await.unwrap();
    assert!(output.stderr.contains("unknown flag: --pod-infra-container-image"), "{output}");
    assert_eq!(machine.expect(&["/srv/bin/kubelet", "--version"]).await.unwrap(), "Kubernetes v1.36.4\n");
    // An older one has that flag, and lacks a field: it ignores that with a line in its log.
    let older = r#"{"kubelet":{"version":"1.34.2"}}"#;
    machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/older", older]).await.unwrap();
    let configuration = machine.read("/srv/kubelet.json").await.unwrap().replacen('{', r#"{"tlsCurvePreferences":[23],"#, 1);
    machine.write("/srv/newer.json", configuration, 0o644).await.unwrap();
    let run = "chmod +x /srv/older/kubelet/v1.34.2/bin/linux/amd64/kubelet; timeout 2 \
        /srv/older/kubelet/v1.34.2/bin/linux/amd64/kubelet --pod-infra-container-image=x --config=/srv/newer.json 2>&1 || true";
    let said = machine.script(run).await.unwrap();
    assert!(said.contains(r#"strict decoding error: unknown field \"tlsCurvePreferences\""#), "{said}");
    assert!(!said.contains("unknown flag"), "{said}");
    machine.expect(&["systemctl", "stop", "containerd"]).await.unwrap();
    let output = machine.run(&["/srv/bin/kubelet", "--config=/srv/kubelet.json"]).await.unwrap();
    assert!(output.stderr.contains("/run/containerd/containerd.sock"), "{output}");
    machine.script("rm /run/hostlet-rehearsal").await.unwrap();
    let output = machine.run(&["/srv/bin/kubelet", "--config=/srv/kubelet.json"]).await.unwrap();
    assert_eq!(output.status.code(), Some(70), "{output}");
}

#[tokio::test]
async fn sys_the_mirror_serves_what_was_made_and_fails_on_demand() {
    let machine = boot_with_hostlet().await;
    let made = serve_artifacts(&machine, "{}").await;
    let made = &made[&Component::FlannelCni];
    let get = async |path: &str| {
        let url = format!("https://127.0.0.1:8443/{path}");
        machine
            .run(&[
                "bash",
                "-c",
                &format!("set -o pipefail; curl --silent --show-error --fail --cacert /srv/mirror-ca.crt {url} | sha256sum"),
            ])
            .await
            .unwrap()
    };
    let output = get(&made.path).await;
    assert!(output.status.success() && output.stdout.starts_with(&made.digest.to_string()), "{output}");
    for (fault, expected) in [
        ("\"not-found\"", "error: 404"),
        ("\"truncate\"", "curl: ("),
        ("{\"redirect\": \"http://127.0.0.1/\"}", ""),
        ("\"html\"", ""),
        ("\"wrong-bytes\"", ""),
    ] {
        machine.write("/srv/mirror/faults.json", format!("{{\"/{}\": {fault}}}", made.path), 0o644).await.unwrap();
        let output = get(&made.path).await;
        assert!(!output.stdout.starts_with(&made.digest.to_string()) && output.stderr.contains(expected), "{fault}: {output}");
    }
}
