//! A machine's first boot: cloud-init reads user-data, starts hostlet.service, and a node runs, or it is said everywhere that
//! none does.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use hostlet::{model::Component, output::journal, rehearse::Machine, standin::FLANNEL_TOKEN};
use serde_json::Value;

use crate::first_boot::{Image, example};

/// What must hold after a first boot that went well.
async fn assert_is_a_node(machine: &Machine, example: &str) {
    let status = machine.run(&["cloud-init", "status", "--wait", "--long"]).await.unwrap();
    let log = machine.run(&["journalctl", "--no-pager", "--unit", "hostlet.service"]).await.unwrap();
    assert!(status.status.success() && status.stdout.contains("status: done"), "{example}: {status}\n{log}");
    let active = machine.expect(&["systemctl", "is-active", "hostlet.service", "kubelet.service", "flanneld.service"]).await;
    assert_eq!(active.unwrap(), "active\nactive\nactive\n", "{example}: {log}");
    let result: Value = serde_json::from_str(&machine.read("/run/hostlet/result.json").await.unwrap()).unwrap();
    assert_eq!((&result["command"], &result["outcome"]), (&"install".into(), &"success".into()), "{example}");
    assert_eq!(machine.read("/run/hostlet/succeeded").await.unwrap(), "install: success (exit code 0)\n", "{example}");
    assert!(!machine.run(&["test", "-e", "/run/hostlet/failed"]).await.unwrap().status.success(), "{example}");
    let entry = format!("MESSAGE_ID={}", journal::SUCCEEDED);
    let found = machine.expect(&["journalctl", "--output=json", &entry, "HOSTLET_COMMAND=install"]).await.unwrap();
    assert_eq!(found.lines().count(), 1, "{example}: {found}");
    assert!(console(machine).await.contains("hostlet install: install succeeded"), "{example}");
    // Nobody needs it any more, and user-data put it there.
    let token = machine.run(&["test", "-e", "/etc/hostlet/bootstrap-token"]).await.unwrap();
    assert!(!token.status.success(), "{example}: the bootstrap token is still there");
    let clean = machine.run(&["hostlet", "status", "--exit-code"]).await.unwrap();
    assert!(clean.status.success(), "{example}: {clean}");
    // Where it was all the time: for an administrator to start again after a change.
    let again = machine.run(&["systemctl", "restart", "hostlet.service"]).await.unwrap();
    assert!(again.status.success(), "{example}: {again}");
}

/// What stands on the console of a machine that has none (see [`Image`]).
async fn console(machine: &Machine) -> String {
    machine.read("/run/console").await.unwrap()
}

async fn assert_valid(machine: &Machine, name: &str) {
    let path = format!("/usr/share/doc/hostlet/examples/cloud-init/{name}.yaml");
    let valid = machine.run(&["cloud-init", "schema", "--config-file", &path]).await.unwrap();
    assert!(valid.status.success(), "{name}: {valid}");
}

/// Boots with an example to a node.
async fn becomes_a_node(name: &str) -> Machine {
    let image = Image::new();
    image.with_example(name);
    let machine = image.boot().await;
    assert_valid(&machine, name).await;
    assert_is_a_node(&machine, name).await;
    machine
}

#[tokio::test]
async fn sys_the_minimal_user_data_makes_a_node() {
    becomes_a_node("minimal").await;
}

#[tokio::test]
async fn sys_user_data_without_secrets_reads_them_from_files_that_the_image_brings() {
    becomes_a_node("secrets-from-a-file").await;
}

#[tokio::test]
async fn sys_user_data_names_a_mirror_with_an_authority_of_its_own() {
    becomes_a_node("mirror").await;
}

#[tokio::test]
async fn sys_user_data_of_a_machine_without_internet_takes_all_from_a_bundle() {
    becomes_a_node("air-gapped").await;
}

#[tokio::test]
async fn sys_user_data_in_the_style_of_cluster_api_leaves_its_sentinel() {
    let machine = becomes_a_node("cluster-api").await;
    assert_eq!(machine.read("/run/cluster-api/bootstrap-success.complete").await.unwrap(), "success\n");
}

#[tokio::test]
async fn sys_user_data_that_is_wrong_is_an_error_of_cloud_inits_and_leaves_the_host_as_it_was() {
    let image = Image::new();
    image.fetching_from_the_mirror().user_data(&example("cluster-api").replace("version = \"1.36.4\"", "verison = \"1.36.4\""));
    let machine = image.boot().await;
    let status = machine.run(&["cloud-init", "status", "--wait", "--long"]).await.unwrap();
    assert!(!status.status.success() && status.stdout.contains("status: error"), "{status}");
    assert_eq!(machine.read("/run/hostlet/failed").await.unwrap(), "install: misconfigured (exit code 2)\n");
    let result: Value = serde_json::from_str(&machine.read("/run/hostlet/result.json").await.unwrap()).unwrap();
    assert!(result["error"]["message"].as_str().unwrap().contains("verison"), "{result}");
    assert!(console(&machine).await.contains("hostlet install: "), "{}", console(&machine).await);
    let entry = format!("MESSAGE_ID={}", journal::FAILED);
    let found = machine.expect(&["journalctl", "--output=json", &entry]).await.unwrap();
    assert!(found.contains(r#""HOSTLET_EXIT_CODE":"2""#), "{found}");
    for absent in
        ["/run/cluster-api", "/run/hostlet/succeeded", "/opt/hostlet", "/var/lib/kubelet", "/etc/cni/net.d/10-flannel.conflist"]
    {
        assert!(!machine.run(&["test", "-e", absent]).await.unwrap().status.success(), "{absent}");
    }
    let units = machine.script("ls /etc/systemd/system").await.unwrap();
    assert!(!units.contains("kubelet") && !units.contains("flanneld"), "{units}");
    // A wrong configuration does not become right by trying again.
    let state = machine.run(&["systemctl", "is-failed", "hostlet.service"]).await.unwrap();
    assert_eq!(state.stdout, "failed\n");
}

#[tokio::test]
async fn sys_what_preflight_refused_is_an_error_of_cloud_inits_and_is_tried_again_by_itself() {
    let image = Image::new();
    image.fetching_from_the_mirror().user_data(&example("minimal"));
    // Somebody else holds the kubelet's port.
    let hold = "python3 -c \"import socket, time; s = socket.socket(); s.bind(('', 10250)); s.listen(); time.sleep(1000)\"";
    image.unit("foreign.service", &format!("[Service]\nExecStart={hold}\n"));
    image.write("etc/systemd/system/hostlet.service.d/soon.conf", "[Service]\nRestartSec=1\n");
    let machine = image.boot().await;
    let status = machine.run(&["cloud-init", "status", "--wait", "--long"]).await.unwrap();
    assert!(!status.status.success() && status.stdout.contains("status: error"), "{status}");
    assert_eq!(machine.read("/run/hostlet/failed").await.unwrap(), "install: refused (exit code 3)\n");
    assert!(console(&machine).await.contains("hostlet install: "), "{}", console(&machine).await);
    machine.expect(&["systemctl", "disable", "--now", "foreign.service"]).await.unwrap();
    machine.script("timeout 60 bash -c 'until test -e /run/hostlet/succeeded; do sleep 0.2; done'").await.unwrap();
    let active = machine.expect(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active, "active\nactive\n");
    assert!(!machine.run(&["test", "-e", "/run/hostlet/failed"]).await.unwrap().status.success());
}

/// An image is baked in a chroot, where neither systemd nor /proc is, and its first boot finds everything.
#[tokio::test]
async fn sys_an_image_that_was_baked_in_a_chroot_boots_to_a_node_without_any_source() {
    let image = Image::new();
    let mut configuration = "[cluster]\nserver = \"https://127.0.0.1:8443\"\nca-file = \"/srv/mirror-ca.crt\"\n\
        token-file = \"/etc/hostlet/bootstrap-token\"\n[flannel]\ntoken-file = \"/etc/hostlet/flannel-token\"\n[sources]\n"
        .to_owned();
    for (component, made) in &image.made {
        let _ = writeln!(configuration, "{component}.url = \"/srv/mirror/{}\"", made.template);
    }
    image.write("etc/hostlet/hostlet.toml", &configuration);
    image.write("etc/hostlet/bootstrap-token", "abcdef.0123456789abcdef\n").write("etc/hostlet/flannel-token", FLANNEL_TOKEN);
    // One of them is trusted on first use: what is recorded of it must be enough at the boot.
    let flannel = &image.made[&Component::FlannelCni];
    let settings = image.root().join("etc/hostlet/hostlet.d/90-test.toml");
    let pinned = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, pinned.replace(&format!("digest = \"{}\"", flannel.digest), "trust-on-first-use = true")).unwrap();
    image.write(&format!("srv/mirror/{}.sha256", flannel.path), &flannel.digest.to_string());
    // The authority of the API server is made at the boot: what it stands for is said then.
    let authority = "ca-file = \"/srv/mirror-ca.crt\"\n";
    let settings_text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, settings_text.replace(&format!("[sources]\n{authority}"), "[sources]\n")).unwrap();
    bake(image.root());
    image.without_files_on_the_mirror();
    image.enable("hostlet.service", "/usr/lib/systemd/system/hostlet.service");
    let machine = image.boot().await;
    let log = machine.run(&["journalctl", "--no-pager", "--unit", "hostlet.service"]).await.unwrap();
    let active = machine.expect(&["systemctl", "is-active", "hostlet.service", "kubelet.service", "flanneld.service"]).await;
    assert_eq!(active.unwrap(), "active\nactive\nactive\n", "{log}");
    assert!(!log.stdout.contains("fetching "), "{log}");
}

/// Runs `hostlet install --stage-only` in the image, over this machine's root and nothing else.
fn bake(root: &Path) {
    const SCRIPT: &str = r#"
        set -euo pipefail
        mount --make-rprivate /
        mount -t tmpfs bake /mnt
        mkdir /mnt/work-is-beside /mnt/root
        mkdir "$1/../bake-work-$$"
        trap 'rmdir "$1/../bake-work-$$/work" "$1/../bake-work-$$" 2>/dev/null || true' EXIT
        mount -t overlay -o "lowerdir=/,upperdir=$1,workdir=$1/../bake-work-$$" overlay /mnt/root
        chroot /mnt/root /usr/bin/hostlet install --stage-only
        umount /mnt/root
        "#;
    let output = Command::new("unshare").args(["--mount", "--", "bash", "-c", SCRIPT, "-"]).arg(root).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("Staged for the first boot") && printed.contains("kubelet 1.36.4"), "{printed}");
}
