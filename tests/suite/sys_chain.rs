//! From a kubelet that runs to a Node that is Ready, on a booted machine against an API server over TLS: each link of the chain
//! missing once, the whole of it, and an upgrade that loses it; each way to bootstrap, and clocks that differ.

use base64::{Engine, engine::general_purpose::STANDARD};
use hostlet::{
    host::process::Output,
    rehearse::{Machine, set_up_stand_ins},
};
use serde_json::{Value, json};

use crate::{
    api_server::Authority,
    machine::{HOSTLET, boot_with_hostlet},
};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
const TOKEN: &str = "/etc/hostlet/bootstrap-token";
const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";

async fn scene() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await.unwrap();
    machine.write(TOKEN, "abcdef.0123456789abcdef\n", 0o600).await.unwrap();
    // A token that expires after preflight has looked is what the chain has to name.
    let settings = format!(
        "[cluster]\ntoken-file = \"{TOKEN}\"\nready-timeout = 4\n[kubelet]\nstable-window = 1\nhealth-timeout = 20\n\
         [[preflight.waive]]\ncheck = \"node-name-free\"\nreason = \"a token that expires in the middle\"\n"
    );
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", settings, 0o600).await.unwrap();
    machine
}

/// What the control plane does from now on.
async fn control(machine: &Machine, controllers: &Value) {
    machine.write("/srv/mirror/cluster.json", controllers.to_string(), 0o644).await.unwrap();
}

async fn hostlet(machine: &Machine, arguments: &[&str]) -> Output {
    machine.run(&[&[HOSTLET], arguments].concat()).await.unwrap()
}

async fn result(machine: &Machine) -> Value {
    serde_json::from_str(&machine.read("/run/hostlet/result.json").await.unwrap()).unwrap()
}

/// Asserts that a run left the node installed and says which link is missing, and with what.
async fn is_missing(machine: &Machine, link: &str, said: &[&str]) {
    let output = hostlet(machine, &["install"]).await;
    assert_eq!(output.status.code(), Some(8), "{link}: {output}");
    for text in said {
        assert!(output.stdout.contains(text), "{link}: {text:?} is not in {output}");
    }
    let result = result(machine).await;
    let told = (&result["outcome"], &result["exit-code"], &result["generation"], &result["readiness"]["missing"]["link"]);
    assert_eq!(told, (&"not-ready".into(), &8.into(), &1.into(), &link.into()), "{result:#}");
    assert!(result["error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{result:#}");
}

async fn exists(machine: &Machine, path: &str) -> bool {
    machine.run(&["test", "-e", path]).await.unwrap().status.success()
}

async fn pid(machine: &Machine, unit: &str) -> String {
    machine.expect(&["systemctl", "show", "--value", "--property=MainPID", unit]).await.unwrap().trim().to_owned()
}

async fn publish(machine: &Machine, version: &str, behaviour: &str) -> String {
    let release = format!(r#"{{"kubelet":{{"version":"{version}","behaviour":"{behaviour}"}}}}"#);
    let made = machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", &release]).await.unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    made["kubelet"]["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sys_each_link_that_is_missing_is_named_the_node_stays_and_the_whole_chain_ends_the_bootstrap() {
    let machine = scene().await;
    the_certificate(&machine).await;
    // From here on the kubelet is left alone: it joins by itself as soon as it may.
    let kubelet = pid(&machine, "kubelet.service").await;
    what_comes_after_it(&machine).await;
    the_bootstrap_ends(&machine).await;
    assert_eq!(pid(&machine, "kubelet.service").await, kubelet, "nothing of it needs a restart");
    an_upgrade_that_loses_readiness_comes_back(&machine).await;
}

/// The first link, and each reason for it to be missing.
async fn the_certificate(machine: &Machine) {
    control(machine, &json!({ "approve": false })).await;
    let pending = ["Installed: generation 1", "waits for somebody to approve it", "kubectl certificate approve csr-"];
    is_missing(machine, "certificate", &pending).await;
    let mode = machine.expect(&["stat", "-c", "%a", BOOTSTRAP]).await.unwrap();
    assert_eq!(mode, "600\n", "it is needed still");
    let status = machine.expect(&[HOSTLET, "status"]).await.unwrap();
    assert!(status.contains("Node: NOT READY") && status.contains("client certificate: MISSING"), "{status}");
    for (controllers, said) in [
        (json!({ "tokens": [] }), "does not take the bootstrap token (401): it is wrong or has expired"),
        (json!({ "bootstrappers": false }), "may not ask for certificates (403)"),
        (json!({ "deny": "not this one" }), "was denied (KubectlDeny: not this one)"),
        (json!({ "sign": false }), "is approved, and nobody signs it"),
        (json!({ "fail": "no key" }), "could not be signed (SignerValidationFailure: no key)"),
    ] {
        control(machine, &controllers).await;
        is_missing(machine, "certificate", &[said]).await;
    }
    assert!(exists(machine, BOOTSTRAP).await && exists(machine, TOKEN).await);
}

async fn what_comes_after_it(machine: &Machine) {
    control(machine, &json!({ "refuse-nodes": "name it as agreed" })).await;
    let said = ["as far as: client certificate", "has not registered the Node", "name it as agreed"];
    is_missing(machine, "registered", &said).await;
    control(machine, &json!({ "allocate-node-cidrs": false })).await;
    is_missing(machine, "pod-cidr", &["the Node has no podCIDR", "--allocate-node-cidrs"]).await;
    control(machine, &json!({ "flannel": false })).await;
    // Preflight finds that before anything is changed; the chain is for who lets it pass, and for what happens later.
    let refused = hostlet(machine, &["install"]).await;
    assert!(refused.status.code() == Some(3) && refused.stderr.contains("flannel-rbac"), "{refused}");
    let waived = "[[preflight.waive]]\ncheck = \"flannel-rbac\"\nreason = \"its rules come later\"\n";
    machine.write("/etc/hostlet/hostlet.d/70-waived.toml", waived, 0o644).await.unwrap();
    let said = ["/run/flannel/subnet.env is not there", "cannot get resource \"nodes\" in API group \"\" at the cluster scope"];
    is_missing(machine, "flannel", &said).await;
    machine.expect(&["rm", "/etc/hostlet/hostlet.d/70-waived.toml"]).await.unwrap();
    // A configuration that sorts first, and is none.
    machine.write("/etc/cni/net.d/00-broken.conflist", "{", 0o644).await.unwrap();
    control(machine, &json!({})).await;
    machine.script("until [ -e /run/flannel/subnet.env ]; do sleep 0.1; done").await.unwrap();
    is_missing(machine, "cni", &["NetworkPluginNotReady", "/etc/cni/net.d"]).await;
    machine.script("systemctl kill --signal=STOP hostlet-mirror").await.unwrap();
    is_missing(machine, "registered", &["Nothing to do", "the API server cannot be asked", "does not answer"]).await;
    machine.script("systemctl kill --signal=CONT hostlet-mirror").await.unwrap();
    machine.script("rm /etc/cni/net.d/00-broken.conflist").await.unwrap();
}

/// The bootstrap kubeconfig went with the first run that saw the certificate; the file of the token, too.
async fn the_bootstrap_ends(machine: &Machine) {
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && output.stdout.contains("The Node is Ready (kubelet v1.36.4)"), "{output}");
    assert!(!exists(machine, BOOTSTRAP).await && !exists(machine, TOKEN).await, "{output}");
    let readiness = result(machine).await["readiness"].clone();
    let links: Vec<_> = readiness["reached"].as_array().unwrap().iter().map(|reached| reached["link"].clone()).collect();
    assert_eq!(links, ["certificate", "registered", "pod-cidr", "flannel", "cni", "ready"]);
    // Killed while it ends, it is undone and ended again.
    let bootstrap = format!("echo again >{TOKEN}; cp {TOKEN} {BOOTSTRAP}; chmod 0600 {TOKEN} {BOOTSTRAP}");
    let killed = format!(
        "{bootstrap}; code=0
        HOSTLET_TEST_KILL_AT='change: made: remove {TOKEN}' {HOSTLET} install || code=$?
        [ $code = 137 ]; [ ! -e {TOKEN} ]; {HOSTLET} recover; stat -c %a {TOKEN} {BOOTSTRAP}"
    );
    assert!(machine.script(&killed).await.unwrap().ends_with("600\n600\n"));
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && !exists(machine, BOOTSTRAP).await && !exists(machine, TOKEN).await, "{output}");
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && output.stdout.contains("Nothing to do"), "{output}");
    let status = machine.expect(&[HOSTLET, "status"]).await.unwrap();
    assert!(status.contains("Node: Ready") && status.contains("podCIDR assigned: 10.244.0.0/24"), "{status}");
}

async fn an_upgrade_that_loses_readiness_comes_back(machine: &Machine) {
    let digest = publish(machine, "1.36.5", "never-ready").await;
    let output = hostlet(machine, &["upgrade", "1.36.5", "--digest", &digest]).await;
    assert_eq!(output.status.code(), Some(5), "{output}");
    for text in
        ["the Node was Ready before this run", "as far as: CNI initialised", "PLEG is not healthy", "the host is as it was"]
    {
        assert!(output.stderr.contains(text), "{text:?} is not in {output}");
    }
    assert_eq!(result(machine).await["readiness"]["missing"]["link"], "ready");
    let current = machine.expect(&["readlink", "/opt/hostlet/current"]).await.unwrap();
    assert_eq!(current, "generations/1\n");
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && output.stdout.contains("The Node is Ready (kubelet v1.36.4)"), "{output}");
    // Who does not want to wait is told so, and a good one is waited for.
    let output = hostlet(machine, &["upgrade", "1.36.5", "--digest", &digest, "--no-wait"]).await;
    assert!(output.status.success() && output.stdout.contains("The Node was not waited for"), "{output}");
    let digest = publish(machine, "1.36.6", "good").await;
    let output = hostlet(machine, &["upgrade", "1.36.6", "--digest", &digest]).await;
    assert!(output.status.success() && output.stdout.contains("The Node is Ready (kubelet v1.36.6)"), "{output}");
}

#[tokio::test]
async fn sys_a_node_joins_with_a_certificate_or_a_kubeconfig_and_wrong_ones_and_wrong_clocks_are_named() {
    let machine = scene().await;
    refuses_what_the_real_one_refuses(&machine).await;
    an_api_server_that_is_not_valid_yet(&machine).await;
    certificates_that_do_not_bootstrap(&machine).await;
    a_node_that_is_gone(&machine).await;
    a_certificate_that_bootstraps_by_clocks_that_differ(&machine).await;
    a_kubeconfig_that_bootstraps(&machine).await;
}

const SETTINGS: &str = "/etc/hostlet/hostlet.d/50-test.toml";
const TIMES: &str = "ready-timeout = 4\n[kubelet]\nstable-window = 1\nhealth-timeout = 20\n";
/// In hostlet's own directory, as a provisioning tool may put it there.
const CERTIFICATE: [&str; 2] = ["/etc/hostlet/join.crt", "/etc/hostlet/join.key"];

async fn installs_nothing(machine: &Machine, code: i32, said: &[&str]) {
    let output = hostlet(machine, &["install"]).await;
    assert_eq!(output.status.code(), Some(code), "{output}");
    for text in said {
        assert!(output.stderr.contains(text), "{text:?} is not in {output}");
    }
    assert!(!exists(machine, "/opt/hostlet/current").await, "{output}");
}

/// The cluster's clock is an hour ahead, and so are its certificates: to this host they are not valid yet.
async fn an_api_server_that_is_not_valid_yet(machine: &Machine) {
    control(machine, &json!({ "clock-ahead": 3600 })).await;
    machine.script("systemctl restart hostlet-mirror").await.unwrap();
    let said =
        ["apiserver", "is not valid before", "this host's clock: ", "the API server's clock: ", "timedatectl set-ntp true"];
    installs_nothing(machine, 3, &said).await;
    control(machine, &json!({})).await;
    machine.script("systemctl restart hostlet-mirror").await.unwrap();
}

/// The authority of the machine's cluster.
async fn authority(machine: &Machine) -> Authority {
    Authority::with_key("hostlet rehearsal", &machine.read("/srv/mirror-ca.key").await.unwrap())
}

async fn bootstrap_with(machine: &Machine, (certificate, key): (String, String)) {
    let [certificate_file, key_file] = CERTIFICATE;
    machine.write(certificate_file, certificate, 0o600).await.unwrap();
    machine.write(key_file, key, 0o600).await.unwrap();
    let settings =
        format!("[cluster]\nclient-certificate-file = \"{certificate_file}\"\nclient-key-file = \"{key_file}\"\n{TIMES}");
    // In the place of the token.
    machine.script(&format!("sed -i '/^token-file = .*bootstrap-token/d' {CONFIGURATION}")).await.unwrap();
    machine.write(SETTINGS, settings, 0o600).await.unwrap();
}

/// Each is named before anything is installed.
async fn certificates_that_do_not_bootstrap(machine: &Machine) {
    let authority = authority(machine).await;
    let expired = authority.bootstrapper(|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    bootstrap_with(machine, expired).await;
    let said = ["client-certificate-file", CERTIFICATE[0], "it has expired at 2021-01-01T00:00:00Z; this host's clock: "];
    installs_nothing(machine, 2, &said).await;
    let preflight = hostlet(machine, &["preflight"]).await;
    assert_eq!(preflight.status.code(), Some(3), "{preflight}");
    assert!(
        preflight.stdout.contains("the kubelet cannot bootstrap") && preflight.stdout.contains("has expired"),
        "{preflight}"
    );
    bootstrap_with(machine, Authority::new().bootstrapper(|_| ())).await;
    let said =
        ["node-name-free", "does not take the client certificate or token in /etc/hostlet/join.crt", "another cluster's"];
    installs_nothing(machine, 3, &said).await;
}

/// A machine of this name was a node before, and is no longer Ready: this one takes its place.
async fn a_node_that_is_gone(machine: &Machine) {
    let name = machine.script("hostname").await.unwrap().trim().to_lowercase();
    let (certificate, key) = authority(machine).await.of(&format!("system:node:{name}"), "system:nodes");
    machine.write("/srv/gone.pem", certificate + &key, 0o600).await.unwrap();
    let node = json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": name }, "status": {
        "conditions": [{ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown" }],
        "nodeInfo": { "machineID": "00000000000000000000000000000001", "kubeletVersion": "v1.35.1" } } });
    machine.write("/srv/gone.json", node.to_string(), 0o600).await.unwrap();
    let curl = "curl --silent --fail --cacert /srv/mirror-ca.crt --cert /srv/gone.pem";
    let post = "--header 'Content-Type: application/json' --data @/srv/gone.json https://127.0.0.1:8443/api/v1/nodes";
    machine.script(&format!("{curl} {post}")).await.unwrap();
}

/// Two hours behind this host's, a cluster signs for one hour: what the kubelet gets has expired. Ten minutes ahead, it gets
/// what is not valid yet, which is no obstacle to it, nor to the API server.
async fn a_certificate_that_bootstraps_by_clocks_that_differ(machine: &Machine) {
    bootstrap_with(machine, authority(machine).await.bootstrapper(|_| ())).await;
    control(machine, &json!({ "clock-ahead": -7200, "cluster-signing-duration": 3600 })).await;
    let clocks = ["the clocks differ", "this host's clock: ", "; the API server's clock: "];
    let said = [&["kubelet-client-current.pem has expired at", "timedatectl set-ntp true"], &clocks[..]].concat();
    is_missing(machine, "certificate", &said).await;
    assert!(exists(machine, BOOTSTRAP).await && exists(machine, CERTIFICATE[1]).await, "they are needed still");
    control(machine, &json!({ "clock-ahead": 600 })).await;
    // A real one ends by itself after five minutes without a certificate that is valid.
    machine.script("systemctl restart kubelet").await.unwrap();
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && output.stdout.contains("The Node is Ready (kubelet v1.36.4)"), "{output}");
    assert!(clocks.iter().all(|text| output.stdout.contains(text)), "{output}");
    let machine_id = machine.read("/etc/machine-id").await.unwrap();
    let readiness = result(machine).await["readiness"].clone();
    let registered = readiness["reached"][1]["seen"].as_str().unwrap();
    assert!(registered.contains(machine_id.trim()), "the Node was another machine's: {registered}");
    assert!(readiness["clock-skew"].as_str().is_some_and(|skew| skew.contains("timedatectl")), "{readiness:#}");
    assert!(readiness["reached"][0]["seen"].as_str().unwrap().contains("by this host's clock"), "{readiness:#}");
    for gone in [BOOTSTRAP, CERTIFICATE[0], CERTIFICATE[1]] {
        assert!(!exists(machine, gone).await, "{gone}");
    }
    nothing_is_restarted(machine).await;
}

/// With the same configuration, whose files are gone.
async fn nothing_is_restarted(machine: &Machine) {
    let pids = async || (pid(machine, "kubelet.service").await, pid(machine, "flanneld.service").await);
    let before = pids().await;
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && output.stdout.contains("Nothing to do"), "{output}");
    assert!(output.stdout.contains("The Node is Ready"), "{output}");
    assert_eq!(pids().await, before);
}

/// A node that lost its identity gets another, with a kubeconfig that is somebody else's and stays.
async fn a_kubeconfig_that_bootstraps(machine: &Machine) {
    let (certificate, key) = authority(machine).await.bootstrapper(|_| ());
    let data = |pem: &str| STANDARD.encode(pem);
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://elsewhere:6443'}}}}]\nusers:\n- name: u\n  user:\n    \
         client-certificate-data: {}\n    client-key-data: {}\n",
        data(&certificate),
        data(&key)
    );
    machine.write("/srv/join.kubeconfig", kubeconfig, 0o600).await.unwrap();
    machine.write(SETTINGS, format!("[cluster]\nkubeconfig-file = \"/srv/join.kubeconfig\"\n{TIMES}"), 0o600).await.unwrap();
    machine.script("rm -r /var/lib/kubelet/pki /etc/kubernetes/kubelet.conf").await.unwrap();
    control(machine, &json!({})).await;
    let output = hostlet(machine, &["install"]).await;
    assert!(output.status.success() && !output.stdout.contains("clocks differ"), "{output}");
    assert!(output.stdout.contains("The Node is Ready (kubelet v1.36.4)"), "{output}");
    assert!(output.stderr.contains("/srv/join.kubeconfig still holds what the kubelet bootstrapped with"), "{output}");
    assert!(exists(machine, "/srv/join.kubeconfig").await && !exists(machine, BOOTSTRAP).await, "{output}");
    nothing_is_restarted(machine).await;
}

async fn refuses_what_the_real_one_refuses(machine: &Machine) {
    let ask = async |arguments: &str| {
        let curl = "curl --silent --cacert /srv/mirror-ca.crt --write-out ' %{http_code}'";
        let said = machine.script(&format!("{curl} {}", arguments.replace('@', "https://127.0.0.1:8443"))).await.unwrap();
        let (body, code) = said.rsplit_once(' ').unwrap();
        let status: Value = serde_json::from_str(body).unwrap_or_default();
        (code.trim().to_owned(), status["reason"].as_str().unwrap_or_default().to_owned(), status["message"].clone())
    };
    let token = "--header 'Authorization: Bearer abcdef.0123456789abcdef'";
    let csr = "@/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let json = "--header 'Content-Type: application/json'";
    for (arguments, code, reason, message) in [
        ("@/api/v1/nodes/x".to_owned(), "403", "Forbidden", "User \"system:anonymous\" cannot get resource \"nodes\""),
        ("--header 'Authorization: Bearer no.such' @/api/v1/nodes/x".to_owned(), "401", "Unauthorized", "Unauthorized"),
        (format!("{token} @/api/v1/nodes/x"), "404", "NotFound", "nodes \"x\" not found"),
        (format!("{token} @/api/v1/nodes"), "403", "Forbidden", "User \"system:bootstrap:abcdef\" cannot list resource"),
        (format!("{token} --data '{{}}' @/api/v1/nodes"), "403", "Forbidden", "cannot create resource \"nodes\""),
        (
            format!("{token} --data '{{}}' {csr}"),
            "415",
            "UnsupportedMediaType",
            "accepted media types include: application/json",
        ),
        (format!("{token} {json} --data '{{}}' {csr}"), "400", "BadRequest", "the object provided is unrecognized"),
        (
            format!(
                "{token} {json} --data '{{\"kind\":\"CertificateSigningRequest\",\"apiVersion\":\"certificates.k8s.io/v1\",\
                 \"metadata\":{{\"name\":\"x\"}},\"spec\":{{\"request\":\"eA==\"}}}}' {csr}"
            ),
            "422",
            "Invalid",
            "CertificateSigningRequest \"x\" is invalid: spec.request",
        ),
        (format!("{token} --header 'Accept: application/yaml' {csr}"), "406", "NotAcceptable", "application/json"),
        (format!("{token} @/apis/apps/v1/deployments"), "404", "NotFound", "could not find the requested resource"),
    ] {
        let (found, why, said) = ask(&arguments).await;
        assert_eq!((found.as_str(), why.as_str()), (code, reason), "{arguments}: {said}");
        assert!(said.as_str().unwrap_or_default().contains(message), "{arguments}: {said}");
    }
}
