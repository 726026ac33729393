//! Other versions on a booted machine: upgrade, its return by itself, rollback, garbage collection, and reinstalling.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
const DROP_IN: &str = "/etc/hostlet/hostlet.d/90-upgrade.toml";
const FAST: &str = "[kubelet]\nstable-window = 2\nhealth-timeout = 15\n";
const ONLY_IN_1_37: &str =
    "[kubelet.config]\ndefaultPodSysctls = { \"net.ipv4.tcp_syncookies\" = \"1\" }\nfeatureGates.DefaultPodSysctls = true\n";
/// What an upgrade that came back may leave: downloads, its result, another process of the kubelet, and a link that was made
/// twice.
const TOUCHED: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "kubelet.service", "/opt/hostlet/current"];

/// A machine on which kubelet 1.36.4 is installed and runs.
async fn scene() -> Machine {
    let machine = bare_scene().await;
    succeeds(&machine, &["install"]).await;
    machine
}

async fn bare_scene() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await.unwrap();
    drop_in(&machine, FAST).await;
    machine
}

async fn drop_in(machine: &Machine, text: &str) {
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", text, 0o600).await.unwrap();
}

async fn hostlet(machine: &Machine, arguments: &[&str]) -> Output {
    machine.run(&[&[HOSTLET], arguments].concat()).await.unwrap()
}

async fn succeeds(machine: &Machine, arguments: &[&str]) -> Output {
    let output = hostlet(machine, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output}");
    output
}

async fn refused(machine: &Machine, arguments: &[&str], code: i32, said: &[&str]) -> Output {
    let output = hostlet(machine, arguments).await;
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output}");
    for text in said {
        assert!(output.stderr.contains(text), "{text:?} is not in: {output}");
    }
    output
}

async fn nothing_to_do(machine: &Machine) {
    let before = machine.snapshot().await.unwrap().without(&["/run/hostlet"]);
    // The mirror, and with it the API server, may be away.
    let output = succeeds(machine, &["install", "--no-wait"]).await;
    assert!(output.stdout.contains("Nothing to do"), "{output}");
    let difference = before.diff(&machine.snapshot().await.unwrap().without(&["/run/hostlet"]));
    assert!(difference.is_empty(), "{difference}");
}

/// Publishes a kubelet on the mirror, and gives its digest.
async fn publish(machine: &Machine, component: &str, version: &str, behaviour: &str) -> String {
    let release = format!(r#"{{"{component}":{{"version":"{version}","behaviour":"{behaviour}"}}}}"#);
    let made = machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", &release]).await.unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    made[component]["digest"].as_str().unwrap().to_owned()
}

async fn upgrade(machine: &Machine, version: &str) -> Output {
    let digest = publish(machine, "kubelet", version, "good").await;
    succeeds(machine, &["upgrade", version, "--digest", &digest]).await
}

async fn pid(machine: &Machine, unit: &str) -> String {
    machine.expect(&["systemctl", "show", "--value", "--property=MainPID", unit]).await.unwrap().trim().to_owned()
}

/// What runs as the kubelet, by what its process executes.
async fn running_version(machine: &Machine) -> String {
    let pid = pid(machine, "kubelet.service").await;
    let version = machine.script(&format!("exec -a kubelet /proc/{pid}/exe --version")).await.unwrap();
    version.trim().trim_start_matches("Kubernetes v").to_owned()
}

async fn names(machine: &Machine, directory: &str) -> Vec<String> {
    machine.script(&format!("ls -A {directory}")).await.unwrap().lines().map(str::to_owned).collect()
}

async fn snapshot(machine: &Machine) -> Snapshot {
    machine.snapshot().await.unwrap().without(TOUCHED)
}

async fn assert_as_before(machine: &Machine, before: &Snapshot) {
    let difference = before.diff(&snapshot(machine).await);
    assert!(difference.is_empty(), "{difference}");
}

async fn current(machine: &Machine) -> String {
    machine.expect(&["readlink", "/opt/hostlet/current"]).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn sys_an_upgrade_restarts_the_kubelet_alone_and_rollback_goes_back_without_the_mirror() {
    let machine = scene().await;
    refused(&machine, &["rollback"], 2, &["no previous generation"]).await;
    // What belongs to a pod lives in the kubelet's control group, as its mount helpers do.
    let pod = machine
        .script(
            "sleep 1000 >/dev/null 2>&1 & pod=$!
            group=$(systemctl show --value --property=ControlGroup kubelet.service)
            for base in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
                [ -w $base$group/cgroup.procs ] && echo $pod >$base$group/cgroup.procs
            done
            grep -q kubelet.service /proc/$pod/cgroup; disown; echo $pod",
        )
        .await
        .unwrap();
    let (kubelet, flanneld) = (pid(&machine, "kubelet.service").await, pid(&machine, "flanneld.service").await);

    let digest = publish(&machine, "kubelet", "1.36.5", "good").await;
    refused(&machine, &["upgrade", "1.36.5"], 2, &["sources.kubelet.digest", "1.36.4", "--digest"]).await;
    let later = ["upgrade", "1.36.5", "--digest", &digest, "--set", "kubelet.version=1.36.4"];
    refused(&machine, &later, 2, &["90-upgrade.toml", "1.36.4"]).await;
    succeeds(&machine, &["upgrade", "1.36.5", "--digest", &digest]).await;
    assert_eq!(running_version(&machine).await, "1.36.5");
    assert_ne!(pid(&machine, "kubelet.service").await, kubelet);
    assert_eq!(pid(&machine, "flanneld.service").await, flanneld, "flannel did not change, so it is not restarted");
    machine.script(&format!("grep -q kubelet.service /proc/{}/cgroup", pod.trim())).await.expect("a pod's process survives");
    assert!(machine.read(DROP_IN).await.unwrap().contains("version = \"1.36.5\""));
    nothing_to_do(&machine).await;

    machine.script("systemctl stop hostlet-mirror; rm -r /var/cache/hostlet").await.unwrap();
    let output = succeeds(&machine, &["rollback"]).await;
    assert!(output.stdout.contains("Rolled back: generation 1 is in force"), "{output}");
    assert_eq!(running_version(&machine).await, "1.36.4");
    assert_eq!(pid(&machine, "flanneld.service").await, flanneld);
    machine.script(&format!("test -d /proc/{}", pod.trim())).await.unwrap();
    assert!(machine.read(DROP_IN).await.unwrap().contains("version = \"1.36.4\""));
    nothing_to_do(&machine).await;
    // Where it came from is the previous one now.
    succeeds(&machine, &["rollback"]).await;
    assert_eq!(running_version(&machine).await, "1.36.5");
    nothing_to_do(&machine).await;
}

#[tokio::test]
async fn sys_an_upgrade_to_a_kubelet_that_crashes_returns_by_itself_and_says_why() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    let flanneld = pid(&machine, "flanneld.service").await;
    for (behaviour, said) in
        [("crash-after-ready", "kubelet.service"), ("no-healthz", "healthz"), ("exit-at-start", "does not start")]
    {
        let digest = publish(&machine, "kubelet", "1.36.5", behaviour).await;
        let said = [said, "the last lines of its journal", "Kubelet version v1.36.5"];
        refused(&machine, &["upgrade", "1.36.5", "--digest", &digest], 5, &said).await;
        assert_as_before(&machine, &before).await;
        assert_eq!(current(&machine).await, "generations/1");
        assert_eq!(running_version(&machine).await, "1.36.4");
        assert_eq!(pid(&machine, "flanneld.service").await, flanneld);
        assert!(!machine.run(&["test", "-e", DROP_IN]).await.unwrap().status.success(), "nothing is remembered of it");
        let status = hostlet(&machine, &["status", "--exit-code"]).await;
        assert!(status.status.success(), "{status}");
    }
    nothing_to_do(&machine).await;
}

#[tokio::test]
async fn sys_when_the_old_kubelet_does_not_recover_either_both_errors_are_told() {
    let machine = scene().await;
    drop_in(&machine, "[kubelet]\nstable-window = 2\nhealth-timeout = 6\n").await;
    let old = machine.expect(&["readlink", "-f", "/opt/hostlet/current/bin/kubelet"]).await.unwrap();
    let crashing = r#"{"kubelet":{"version":"1.36.4","behaviour":"crash-after-ready"}}"#;
    machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/other", crashing]).await.unwrap();
    let digest = publish(&machine, "kubelet", "1.36.5", "no-healthz").await;
    let script = format!(
        "{HOSTLET} upgrade 1.36.5 --digest {digest} 2>/tmp/said & pid=$!
        until [ $(readlink /opt/hostlet/current) = generations/2 ]; do sleep 0.05; done
        install -m 0755 /srv/other/kubelet/v1.36.4/bin/linux/*/kubelet /srv/broken && mv /srv/broken {}
        code=0; wait $pid || code=$?; cat /tmp/said; echo \"code $code\"",
        old.trim()
    );
    let said = machine.script(&script).await.unwrap();
    for text in ["code 6", "healthz", "a person is needed", "could not restart kubelet.service", "it was restarted, but"] {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
    // A person mends it.
    succeeds(&machine, &["install"]).await;
    // The same when it was a kill that the old one has to come back after.
    let digest = publish(&machine, "kubelet", "1.36.5", "good").await;
    let old = machine.expect(&["readlink", "-f", "/opt/hostlet/current/bin/kubelet"]).await.unwrap();
    let killed = format!(
        "HOSTLET_TEST_KILL_AT='stage: active' {HOSTLET} upgrade 1.36.5 --digest {digest} || true
        install -m 0755 /srv/other/kubelet/v1.36.4/bin/linux/*/kubelet /srv/broken && mv /srv/broken {}",
        old.trim()
    );
    machine.script(&killed).await.unwrap();
    refused(&machine, &["recover"], 6, &["a person is needed", "could not restart kubelet.service", "it was restarted, but"])
        .await;
    succeeds(&machine, &["install"]).await;
    assert!(hostlet(&machine, &["status", "--exit-code"]).await.status.success());
}

#[tokio::test]
async fn sys_a_new_flannel_does_not_restart_the_kubelet() {
    let machine = scene().await;
    let (kubelet, flanneld) = (pid(&machine, "kubelet.service").await, pid(&machine, "flanneld.service").await);
    let digest = publish(&machine, "flanneld", "0.28.10", "good").await;
    let text =
        format!("[kubelet]\nstable-window = 2\n[flannel]\nversion = \"0.28.10\"\n[sources.flanneld]\ndigest = \"{digest}\"\n");
    drop_in(&machine, &text).await;
    succeeds(&machine, &["install"]).await;
    assert_eq!(pid(&machine, "kubelet.service").await, kubelet);
    assert_ne!(pid(&machine, "flanneld.service").await, flanneld);
    // Going back takes flannel back, too, and remembers that.
    succeeds(&machine, &["rollback"]).await;
    assert_eq!(pid(&machine, "kubelet.service").await, kubelet);
    assert_eq!(machine.expect(&["flanneld", "--version"]).await.unwrap(), "v0.28.9\n");
    nothing_to_do(&machine).await;
}

#[tokio::test]
async fn sys_a_downgrade_a_skipped_minor_version_and_a_kubelet_newer_than_the_api_server_are_refused() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    let skipping = publish(&machine, "kubelet", "1.38.0", "good").await;
    let skip = ["upgrade", "1.38.0", "--digest", &skipping];
    refused(&machine, &skip, 3, &["1.36.4", "1.38.0", "one minor version at a time", "--allow-minor-skip"]).await;
    let older = publish(&machine, "kubelet", "1.36.3", "good").await;
    let digest = format!("sources.kubelet.digest=\"{older}\"");
    let back = ["install", "--set", "kubelet.version=1.36.3", "--set", &digest];
    refused(&machine, &back, 3, &["1.36.3 is older than 1.36.4", "--allow-downgrade", "hostlet rollback"]).await;
    let plan = succeeds(&machine, &[&["plan"], &back[1..]].concat()).await;
    assert!(plan.stderr.contains("install refuses this unless --allow-downgrade asks for it"), "{plan}");
    machine.write("/srv/mirror/version", r#"{"major":"1","minor":"36+","gitVersion":"v1.36.9-of-ours"}"#, 0o644).await.unwrap();
    let newer = publish(&machine, "kubelet", "1.37.0", "good").await;
    let newer = ["upgrade", "1.37.0", "--digest", newer.as_str()];
    refused(&machine, &newer, 3, &["the API server has version 1.36.9", "1.37.0", "control plane"]).await;
    assert_as_before(&machine, &before).await;
    // One that tells its version to nobody does not stop anybody.
    machine.write("/srv/mirror/faults.json", r#"{"/version": "forbidden"}"#, 0o644).await.unwrap();
    drop_in(&machine, &format!("{FAST}{ONLY_IN_1_37}")).await;
    refused(&machine, &["install"], 2, &["kubelet 1.36.4 has no defaultPodSysctls", "DefaultPodSysctls"]).await;
    let output = succeeds(&machine, &newer).await;
    assert!(output.stderr.contains("the API server's version is not known: it answered 403"), "{output}");
    a_generation_runs_with_its_own_configuration(&machine).await;
    let lacking = ["upgrade", "1.36.3", "--digest", &older, "--allow-downgrade"];
    refused(&machine, &lacking, 2, &["kubelet 1.36.3 has no defaultPodSysctls: it was added in 1.37"]).await;
    drop_in(&machine, FAST).await;
    let output = succeeds(&machine, &["upgrade", "1.36.3", "--digest", &older, "--allow-downgrade"]).await;
    assert!(output.stderr.contains("1.36.3 is older than 1.37.0"), "{output}");
    assert_eq!(running_version(&machine).await, "1.36.3");
}

/// Going back to a kubelet that lacks a field of the configuration of now, and forth again.
async fn a_generation_runs_with_its_own_configuration(machine: &Machine) {
    let has_field = async || machine.read("/opt/hostlet/current/etc/kubelet.json").await.unwrap().contains("defaultPodSysctls");
    assert!(has_field().await);
    let output = succeeds(machine, &["rollback"]).await;
    let said = ["runs with its own configuration", "kubelet 1.36.4 has no defaultPodSysctls: it was added in 1.37"];
    assert!(said.iter().all(|text| output.stderr.contains(text)), "{output}");
    assert_eq!((running_version(machine).await.as_str(), has_field().await), ("1.36.4", false));
    assert!(hostlet(machine, &["status", "--exit-code"]).await.status.success());
    refused(machine, &["install"], 2, &["kubelet 1.36.4 has no defaultPodSysctls", "1.37.0 or later"]).await;
    succeeds(machine, &["rollback"]).await;
    assert_eq!((running_version(machine).await.as_str(), has_field().await), ("1.37.0", true));
}

#[tokio::test]
async fn sys_old_generations_are_collected_and_a_damaged_previous_one_is_not_gone_back_to() {
    let machine = scene().await;
    machine
        .script("echo half >/opt/hostlet/store/.staging-of-a-kill; echo x >/var/cache/hostlet/$(printf 0%.0s {1..64}).partial")
        .await
        .unwrap();
    for version in ["1.36.5", "1.36.6", "1.36.7"] {
        upgrade(&machine, version).await;
    }
    assert_eq!(names(&machine, "/opt/hostlet/generations").await, ["2", "3", "4"]);
    let store = names(&machine, "/opt/hostlet/store").await;
    let kubelets: Vec<_> = store.iter().filter_map(|name| name.rsplit_once("-kubelet-")).map(|(_, version)| version).collect();
    assert_eq!((kubelets.len(), store.len()), (3, 6), "{store:?}");
    assert!(!kubelets.contains(&"1.36.4"), "{store:?}");
    assert_eq!(names(&machine, "/var/cache/hostlet").await.len(), 6);
    // However old it is, what is in force and what was before it stay.
    succeeds(&machine, &["rollback"]).await;
    for version in ["1.36.8", "1.36.9"] {
        upgrade(&machine, version).await;
    }
    assert_eq!(names(&machine, "/opt/hostlet/generations").await, ["4", "5", "6"]);
    assert_eq!(
        machine.read("/var/lib/hostlet/state.json").await.unwrap().replace(char::is_whitespace, ""),
        r#"{"schema":1,"committed":6,"previous":5}"#
    );

    machine.script("echo '# damage' >>/opt/hostlet/store/*-kubelet-1.36.8/bin/kubelet").await.unwrap();
    let before = snapshot(&machine).await;
    let kubelet = pid(&machine, "kubelet.service").await;
    refused(&machine, &["rollback"], 3, &["generation 5 is damaged", "bin/kubelet: content differs", "nothing was changed"])
        .await;
    assert_as_before(&machine, &before).await;
    assert_eq!(pid(&machine, "kubelet.service").await, kubelet);
}

#[tokio::test]
async fn sys_reinstall_repairs_any_damage() {
    let machine = scene().await;
    let pristine = machine.snapshot().await.unwrap().without(&["/run/hostlet"]);
    let damages = [
        "rm /opt/hostlet/store/*-kubelet-*/bin/kubelet",
        "f=$(readlink -f /opt/hostlet/current/bin/flanneld); cp $f /tmp/f; echo more >>/tmp/f; mv /tmp/f $f; chmod 0755 $f",
        "rm /etc/systemd/system/kubelet.service; ln -s /dev/null /etc/systemd/system/flanneld.service.new; mv -T /etc/systemd/system/flanneld.service.new /etc/systemd/system/flanneld.service",
        "rm /usr/local/bin/kubelet /opt/cni/bin/bridge; ln -sfn /nowhere /opt/cni/bin/portmap",
        "echo '{}' >/opt/hostlet/current/etc/kubelet.json; rm /opt/hostlet/current/etc/kubelet.env /etc/sysctl.d/90-hostlet.conf",
        "systemctl disable --quiet kubelet flanneld; systemctl stop kubelet",
        "rm /opt/hostlet/current",
        "rm /opt/hostlet/current/manifest.json",
        "rm -r /opt/hostlet/generations/*",
    ];
    for damage in damages {
        machine.script(damage).await.unwrap();
        succeeds(&machine, &["install", "--reinstall"]).await;
        let status = hostlet(&machine, &["status", "--exit-code"]).await;
        assert!(status.status.success(), "{damage}: {status}");
        nothing_to_do(&machine).await;
    }
    let kept = |snapshot: &Snapshot| {
        ["/etc/systemd/system/kubelet.service", "/etc/systemd/system/flanneld.service"]
            .map(|path| snapshot.get(&format!("digest {path}")).map(str::to_owned))
    };
    assert_eq!(kept(&pristine), kept(&machine.snapshot().await.unwrap()));
    // A damaged file in the store is seen by its digest, and fetched again, also without being told to; one in the cache, too.
    machine.script("for f in /var/cache/hostlet/*; do echo damage >>$f; done; f=$(readlink -f /opt/hostlet/current/bin/kubelet); cp $f /tmp/k; echo x >>/tmp/k; mv /tmp/k $f").await.unwrap();
    let output = succeeds(&machine, &["install"]).await;
    assert!(output.stderr.contains("is damaged") && output.stderr.contains("fetched"), "{output}");
    assert!(hostlet(&machine, &["status", "--exit-code"]).await.status.success());
    // A repair is nothing to go back from.
    refused(&machine, &["rollback"], 2, &["no previous generation"]).await;
}

#[tokio::test]
async fn sys_an_upgrade_that_is_killed_is_forgotten_with_all_it_did() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    let digest = publish(&machine, "kubelet", "1.36.5", "good").await;
    let script = format!(
        "{HOSTLET} upgrade 1.36.5 --digest {digest} & pid=$!; until [ -e {DROP_IN} ]; do sleep 0.01; done; kill -KILL $pid
        wait $pid || true; test -e /var/lib/hostlet/journal"
    );
    machine.script(&script).await.unwrap();
    let output = succeeds(&machine, &["install"]).await;
    assert!(output.stderr.contains("did not finish") && output.stdout.contains("Nothing to do"), "{output}");
    assert_as_before(&machine, &before).await;
    assert_eq!(running_version(&machine).await, "1.36.4");
    assert!(!machine.run(&["test", "-e", DROP_IN]).await.unwrap().status.success());
}
