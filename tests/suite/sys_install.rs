//! `hostlet install` on a booted machine with real systemd and containerd: fresh, again, and every way it must refuse.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// What a run may leave behind that changes nothing: downloads, its result, its lock.
const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];

async fn scene() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await.unwrap();
    drop_in(&machine, "[kubelet]\nstable-window = 2\nhealth-timeout = 20\n").await;
    machine
}

async fn drop_in(machine: &Machine, text: &str) {
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", text, 0o600).await.unwrap();
}

async fn install(machine: &Machine, arguments: &[&str]) -> Output {
    machine.run(&[&[HOSTLET, "install"], arguments].concat()).await.unwrap()
}

async fn result(machine: &Machine) -> Value {
    serde_json::from_str(&machine.read("/run/hostlet/result.json").await.unwrap()).unwrap()
}

async fn snapshot(machine: &Machine) -> Snapshot {
    machine.snapshot().await.unwrap().without(OWN)
}

/// Asserts that the run refused with this exit code, said all of this, told the result file, and changed nothing.
async fn assert_refused(machine: &Machine, before: &Snapshot, output: &Output, code: i32, said: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output}");
    for text in said {
        assert!(output.stderr.contains(text), "{text:?} is not in: {output}");
    }
    assert_eq!(result(machine).await["exit-code"], code);
    let difference = before.diff(&snapshot(machine).await);
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn sys_a_fresh_install_brings_both_units_up_and_a_second_one_touches_nothing() {
    let machine = scene().await;
    let output = install(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    assert_eq!(result(&machine).await["outcome"], "success");
    let active = machine.expect(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active, "active\nactive\n");
    let modes = machine
        .script(
            "stat -c '%a %n' /etc/kubernetes/flannel.conf /etc/kubernetes/kubelet.conf
            stat -Lc '%a %n' /var/lib/kubelet/pki/kubelet-client-current.pem; test ! -e /etc/kubernetes/bootstrap-kubelet.conf",
        )
        .await
        .unwrap();
    assert!(modes.lines().all(|line| line.starts_with("600 ")), "{modes}");
    assert!(output.stdout.contains("The Node is Ready (kubelet v1.36.4)"), "{output}");

    let status = machine.expect(&[HOSTLET, "status", "--output", "json"]).await.unwrap();
    let status: Value = serde_json::from_str(status.lines().last().unwrap()).unwrap();
    assert_eq!(status["propagation"]["state"], "proved", "{status:#}");
    assert_eq!(status["differences"], Value::Array(Vec::new()), "{status:#}");
    let components = status["components"].as_array().unwrap();
    assert_eq!(components.len(), 4);
    assert!(components.iter().all(|component| component["obtained"]["from"] == "source"), "{status:#}");

    let before = snapshot(&machine).await;
    let output = install(&machine, &[]).await;
    assert!(output.status.success() && output.stdout.contains("Nothing to do"), "{output}");
    let difference = before.diff(&snapshot(&machine).await);
    assert!(difference.is_empty(), "{difference}");
    let plan = machine.run(&[HOSTLET, "plan", "--exit-code"]).await.unwrap();
    assert!(plan.status.success() && plan.stdout.contains("Nothing to do"), "{plan}");
    from_a_bundle_without_any_route(&machine).await;
}

/// The same node again, on the same machine: with nothing but a bundle, which is the only thing that has the artifacts.
async fn from_a_bundle_without_any_route(machine: &Machine) {
    let made = machine.run(&[HOSTLET, "bundle", "create", "-o", "/srv/node.bundle"]).await.unwrap();
    assert!(made.status.success(), "{made}");
    let digest = made.stdout.split("sources.bundle-digest = \"").nth(1).unwrap().split('"').next().unwrap();
    machine.expect(&[HOSTLET, "uninstall"]).await.unwrap();
    // The mirror goes on as the API server, which a node without internet has, too. It has no artifacts any more.
    machine
        .script(
            "rm -rf /var/cache/hostlet /srv/mirror/kubelet /srv/mirror/flanneld /srv/mirror/cni*
            ip -4 -brief address show scope global | awk '{ print $3 }' | cut -d/ -f1 | head -n1 > /srv/address
            ip route flush table main; ip -6 route flush table main",
        )
        .await
        .unwrap();
    assert_eq!(machine.script("ip route; ls /srv/mirror | grep -E 'kubelet|flanneld|cni' || true").await.unwrap(), "");
    let address = machine.read("/srv/address").await.unwrap();
    let node = format!(
        "[node]\nip = \"{0}\"\n[flannel]\ninterface = \"{0}\"\n\
         [[preflight.waive]]\ncheck = \"route\"\nreason = \"this network has no gateway\"\n",
        address.trim()
    );
    machine.write("/etc/hostlet/hostlet.d/60-air-gap.toml", node, 0o600).await.unwrap();

    let output = install(machine, &[]).await;
    assert_eq!(output.status.code(), Some(3), "without the bundle there is no way: {output}");
    let other = format!("sources.bundle-digest={}", "0".repeat(64));
    let output = install(machine, &["--bundle", "/srv/node.bundle", "--set", &other]).await;
    assert_eq!(output.status.code(), Some(3), "{output}");
    assert!(output.stderr.contains("another than the one that is pinned"), "{output}");
    let pinned = format!("sources.bundle-digest={digest}");
    let preflight = machine
        .run(&[HOSTLET, "preflight", "--bundle", "/srv/node.bundle", "--set", &pinned, "--output", "json"])
        .await
        .unwrap();
    let report: Value = serde_json::from_str(preflight.stdout.lines().last().unwrap()).unwrap();
    let sources = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "sources").unwrap();
    assert_eq!(sources["outcome"], "pass", "{report:#}");
    let output = install(machine, &["--bundle", "/srv/node.bundle", "--set", &pinned]).await;
    assert!(output.status.success(), "{output}");
    let active = machine.expect(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active, "active\nactive\n");
    // Nobody signed the stand-ins: that is told, too.
    assert_eq!(result(machine).await["signatures"]["kubelet"]["state"], "unverified");
    let status = machine.expect(&[HOSTLET, "status"]).await.unwrap();
    assert!(status.contains("who signed it is not verified: no signature was found"), "{status}");
    assert!(status.contains("from the bundle /srv/node.bundle"), "{status}");
}

#[tokio::test]
async fn sys_no_secret_is_seen_in_arguments_logs_plan_json_or_journal() {
    let machine = scene().await;
    let token = machine.read("/srv/bootstrap-token").await.unwrap();
    let (id, secret) = token.trim().split_once('.').unwrap();
    let plan = machine.run(&[HOSTLET, "plan", "--output", "json"]).await.unwrap();
    let installed = install(&machine, &["-v", "--output", "json"]).await;
    assert!(installed.status.success(), "{installed}");
    let journal = machine.expect(&["journalctl", "--no-pager", "--all"]).await.unwrap();
    let arguments = machine.script("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await.unwrap();
    let result = machine.read("/run/hostlet/result.json").await.unwrap();
    for (place, text) in [
        ("plan", plan.stdout + &plan.stderr),
        ("install", installed.stdout + &installed.stderr),
        ("journal", journal),
        ("arguments", arguments),
        ("result", result),
    ] {
        assert!(!text.contains(secret) && !text.contains(&format!("{id}.")), "{place}: {text}");
    }
    let joined = machine.script("readlink /var/lib/kubelet/pki/kubelet-client-current.pem").await.unwrap();
    assert!(joined.contains("/kubelet-client-"), "the kubelet did get it: {joined}");
}

#[tokio::test]
async fn sys_hand_edits_are_seen_and_mended_and_only_what_reads_them_restarts() {
    let machine = scene().await;
    assert!(install(&machine, &[]).await.status.success());
    let pids = "systemctl show --value --property=MainPID kubelet flanneld | xargs";
    let before = machine.script(pids).await.unwrap();
    machine
        .script("echo '# edited' >> /etc/sysctl.d/90-hostlet.conf; chmod 0666 /etc/cni/net.d/10-flannel.conflist; rm /usr/local/bin/kubelet")
        .await
        .unwrap();
    let status = machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap();
    assert_eq!(status.status.code(), Some(1), "{status}");
    for path in [
        "/etc/sysctl.d/90-hostlet.conf: content differs",
        "10-flannel.conflist: mode is 0666",
        "/usr/local/bin/kubelet: missing",
    ] {
        assert!(status.stdout.contains(path), "{status}");
    }
    assert!(install(&machine, &[]).await.status.success());
    assert_eq!(machine.script(pids).await.unwrap(), before, "nothing was restarted");
    machine.script("echo '# edited' >> /etc/systemd/system/flanneld.service").await.unwrap();
    let output = install(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    let after = machine.script(pids).await.unwrap();
    let (kubelet, flanneld) = before.trim().split_once(' ').unwrap();
    assert!(after.starts_with(&format!("{kubelet} ")) && !after.trim().ends_with(flanneld), "{before} {after}");
    assert!(machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap().status.success());
}

#[tokio::test]
async fn sys_a_kubelet_that_is_not_healthy_is_caught_and_the_host_is_as_before() {
    let machine = boot_with_hostlet().await;
    for (behaviour, said) in
        [("\"exit-at-start\"", "kubelet.service"), ("\"crash-after-ready\"", "did not stay up"), ("\"no-healthz\"", "healthz")]
    {
        let versions = format!(r#"{{"kubelet":{{"version":"1.36.4","behaviour":{behaviour}}}}}"#);
        machine
            .script("systemctl stop hostlet-mirror 2>/dev/null || true; systemctl reset-failed; rm -rf /srv/mirror")
            .await
            .unwrap();
        set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, &versions).await.unwrap();
        drop_in(&machine, "[kubelet]\nstable-window = 3\nhealth-timeout = 15\n").await;
        let before = snapshot(&machine).await;
        let output = install(&machine, &[]).await;
        assert_refused(&machine, &before, &output, 5, &[said, "the last lines of its journal"]).await;
        assert!(!machine.run(&["systemctl", "is-active", "kubelet.service"]).await.unwrap().status.success());
    }
}

#[tokio::test]
async fn sys_what_the_mirror_serves_wrongly_is_refused_before_anything_is_changed() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    let kubelet = "/kubelet/v1.36.4/bin/linux/amd64/kubelet";
    drop_in(&machine, "[sources]\nattempts = 2\n").await;
    // What its head already tells is preflight's finding.
    for (fault, code, said) in [
        ("\"wrong-bytes\"", 4, vec!["digest", kubelet]),
        ("\"html\"", 4, vec!["HTML", kubelet]),
        ("\"not-found\"", 3, vec!["404", kubelet]),
        ("\"truncate\"", 4, vec![kubelet]),
        ("{\"redirect\": \"http://127.0.0.1/kubelet\"}", 3, vec!["http://127.0.0.1/kubelet", "https"]),
    ] {
        machine.write("/srv/mirror/faults.json", format!("{{\"{kubelet}\": {fault}}}"), 0o644).await.unwrap();
        let output = install(&machine, &[]).await;
        assert_refused(&machine, &before, &output, code, &said).await;
    }
    let partial = machine.script("ls /var/cache/hostlet | grep -c partial || true").await.unwrap();
    assert!(partial.trim().parse::<u32>().unwrap() <= 1, "only the truncated download may be resumed later: {partial}");
    // Without its pin the plugin's digest is the one published beside it, once that is allowed.
    let unpin = format!("sed -i '/^\\[sources.flannel-cni\\]/,/^\\[/{{/^digest/d}}' {CONFIGURATION}");
    machine.script(&unpin).await.unwrap();
    let output = install(&machine, &[]).await;
    assert_refused(&machine, &before, &output, 2, &["nobody vouches for flannel-cni", "trust-on-first-use = true"]).await;
    drop_in(&machine, "[sources]\nattempts = 2\nflannel-cni.trust-on-first-use = true\n").await;
    machine.script("cd /srv/mirror/cni-plugin/v*/ && sha256sum *.tgz > \"$(ls *.tgz).sha256\"").await.unwrap();
    killed_at_90_percent_it_goes_on_there(&machine, kubelet).await;
    let trusted = machine
        .script("grep ^flannel-cni, /var/lib/hostlet/trusted.csv; cat /srv/mirror/cni-plugin/v*/*.sha256")
        .await
        .unwrap();
    let (recorded, published) = trusted.trim().split_once('\n').unwrap();
    assert!(recorded.ends_with(published.split_whitespace().next().unwrap()), "{trusted}");
    // What is published later is not asked for any more.
    machine.script("echo 0000 > \"$(ls /srv/mirror/cni-plugin/v*/*.sha256)\"").await.unwrap();
    let output = install(&machine, &["--reinstall"]).await;
    assert!(output.status.success(), "{output}");
}

/// The real program, ended by SIGKILL, and its next run.
async fn killed_at_90_percent_it_goes_on_there(machine: &Machine, kubelet: &str) {
    machine.write("/srv/mirror/faults.json", format!("{{\"{kubelet}\": {{\"stall-at\": 90}}}}"), 0o644).await.unwrap();
    let script = format!(
        "rm -rf /var/cache/hostlet
        size=$(stat -c %s /srv/mirror{kubelet})
        digest=$(sha256sum /srv/mirror{kubelet} | cut -d' ' -f1)
        {HOSTLET} install & pid=$!
        until [ \"$(stat -c %s /var/cache/hostlet/$digest.partial || echo 0)\" -ge $((size / 100 * 90)) ]; do sleep 0.1; done
        kill -KILL $pid
        ! wait $pid
        [ ! -e /var/cache/hostlet/$digest ]
        rm /srv/mirror/faults.json
        {HOSTLET} install >&2
        from=$(journalctl --unit hostlet-mirror --output cat | sed -n 's|^mirror: GET {kubelet} from byte ||p' | tail -1)
        echo $(((size - from) * 100 / size))"
    );
    let again = machine.script(&script).await.unwrap();
    let percent: u32 = again.lines().last().unwrap().trim().parse().unwrap();
    println!("killed at 90% of a download: {percent}% of the bytes were sent again");
    assert!(percent <= 15, "{again}");
}

#[tokio::test]
async fn sys_a_wrong_digest_names_both_digests_and_the_source_and_the_file_is_gone() {
    let machine = scene().await;
    let wrong = "0".repeat(64);
    let before = snapshot(&machine).await;
    let output = install(&machine, &["--set", &format!("sources.kubelet.digest={wrong}")]).await;
    let actual = machine.script("sha256sum /srv/mirror/kubelet/v1.36.4/bin/linux/amd64/kubelet").await.unwrap();
    let actual = actual.split_whitespace().next().unwrap();
    assert_refused(&machine, &before, &output, 4, &[&wrong, actual, "127.0.0.1:8443"]).await;
    let kept = machine.script(&format!("ls /var/cache/hostlet | grep -E '{wrong}|{actual}' || true")).await.unwrap();
    assert_eq!(kept, "", "neither the file nor a part of it is kept");
}

#[tokio::test]
async fn sys_an_unfit_host_is_refused_with_what_to_do_and_stays_as_it_is() {
    let machine = scene().await;
    // Another process on a port of the kubelet's.
    machine
        .script("systemd-run --quiet --unit=squatter python3 -m http.server 10250; until ss -ltn | grep -q :10250; do sleep 0.1; done")
        .await
        .unwrap();
    let before = snapshot(&machine).await;
    assert_refused(&machine, &before, &install(&machine, &[]).await, 3, &["10250", "squatter.service"]).await;
    machine
        .script("systemctl stop squatter; systemctl reset-failed; until ! ss -ltn | grep -q :10250; do sleep 0.1; done")
        .await
        .unwrap();
    // A runtime that does not run.
    machine.script("systemctl stop containerd").await.unwrap();
    let before = snapshot(&machine).await;
    assert_refused(&machine, &before, &install(&machine, &[]).await, 3, &["containerd.sock", "systemctl start containerd"])
        .await;
    machine.script("systemctl start containerd").await.unwrap();
    // A read-only /opt.
    machine.script("mount --bind /opt /opt && mount -o remount,bind,ro /opt").await.unwrap();
    let before = snapshot(&machine).await;
    assert_refused(&machine, &before, &install(&machine, &[]).await, 3, &["/opt", "read-only"]).await;
    machine.script("umount /opt").await.unwrap();
    // A full disk.
    machine.script("mkdir -p /opt/hostlet && mount -t tmpfs -o size=8m tmpfs /opt/hostlet").await.unwrap();
    let before = snapshot(&machine).await;
    assert_refused(&machine, &before, &install(&machine, &[]).await, 3, &["/opt/hostlet"]).await;
    machine.script("umount /opt/hostlet && rmdir /opt/hostlet").await.unwrap();
    // No token.
    machine.script("mv /srv/bootstrap-token /srv/elsewhere").await.unwrap();
    let before = snapshot(&machine).await;
    let said = ["/srv/bootstrap-token", "kubeadm token create"];
    assert_refused(&machine, &before, &install(&machine, &[]).await, 2, &said).await;
    machine.script("mv /srv/elsewhere /srv/bootstrap-token").await.unwrap();
    // Not root: the result file is root's, so it stays as it was.
    let output = machine.run(&["setpriv", "--reuid=65534", "--clear-groups", HOSTLET, "install"]).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output}");
    assert!(output.stderr.contains("root") && output.stderr.contains("sudo"), "{output}");
    // The host was fit all along, but for that.
    assert!(install(&machine, &[]).await.status.success());
}

#[tokio::test]
async fn sys_without_d_bus_the_install_is_refused() {
    let machine = scene().await;
    machine.script("systemctl stop dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket").await.unwrap();
    // systemd's own socket still answers root, so this alone is no obstacle.
    let plan = machine.run(&[HOSTLET, "plan"]).await.unwrap();
    assert!(plan.status.success(), "{plan}");
    machine.script("mv /run/systemd/private /run/systemd/private.away").await.unwrap();
    let output = install(&machine, &[]).await;
    assert_eq!(output.status.code(), Some(3), "{output}");
    assert!(output.stderr.contains("D-Bus") || output.stderr.contains("systemd"), "{output}");
    assert!(!machine.run(&["test", "-e", "/opt/hostlet"]).await.unwrap().status.success());
    machine.script("mv /run/systemd/private.away /run/systemd/private").await.unwrap();
}

#[tokio::test]
async fn sys_a_private_root_gets_a_mount_unit_and_the_secret_reaches_containerd() {
    let machine = scene().await;
    machine.script("mount --make-rprivate / && systemctl restart containerd").await.unwrap();
    let output = install(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    assert_eq!(machine.expect(&["systemctl", "is-active", "var-lib-kubelet.mount"]).await.unwrap(), "active\n");
    let count = machine.script("grep -c ' /var/lib/kubelet ' /proc/1/mountinfo").await.unwrap();
    assert_eq!(count, "1\n", "one bind, not a stack of them");
    let seen = machine.script("grep -c 'kubernetes.io~secret' /proc/$(pidof -s containerd)/mountinfo").await.unwrap();
    assert_eq!(seen, "1\n");
    let before = snapshot(&machine).await;
    let output = install(&machine, &[]).await;
    assert!(output.status.success() && output.stdout.contains("Nothing to do"), "{output}");
    let difference = before.diff(&snapshot(&machine).await);
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn sys_a_drop_in_that_sandboxes_the_kubelet_or_containerd_is_found_and_named() {
    let machine = scene().await;
    let drop_in = "/etc/systemd/system/kubelet.service.d/99-hardening.conf";
    machine.write(drop_in, "[Service]\nProtectSystem=full\n", 0o644).await.unwrap();
    let before = snapshot(&machine).await;
    let output = install(&machine, &[]).await;
    assert_refused(&machine, &before, &output, 3, &["ProtectSystem", drop_in]).await;
    machine.script(&format!("rm {drop_in}; rmdir /etc/systemd/system/kubelet.service.d")).await.unwrap();
    let drop_in = "/etc/systemd/system/containerd.service.d/99-hardening.conf";
    machine.write(drop_in, "[Service]\nPrivateTmp=yes\n", 0o644).await.unwrap();
    machine.script("systemctl daemon-reload; systemctl restart containerd").await.unwrap();
    let before = snapshot(&machine).await;
    let output = install(&machine, &[]).await;
    assert_eq!(output.status.code(), Some(0), "a slave namespace still receives mounts: {output}");
    assert!(output.stderr.contains("PrivateTmp") && output.stderr.contains(drop_in), "it is named all the same: {output}");
    drop(before);
}

#[tokio::test]
async fn sys_a_second_run_at_the_same_time_is_told_who_holds_the_lock() {
    let machine = scene().await;
    let script = format!(
        "{HOSTLET} install & pid=$!; until [ -s /run/hostlet/lock ]; do sleep 0.02; done
        code=0; {HOSTLET} install 2>/tmp/second || code=$?; cat /tmp/second; echo $code; grep -c \"pid $pid\" /tmp/second; wait $pid"
    );
    let said = machine.script(&script).await.unwrap();
    assert!(said.contains("\n7\n1\n"), "{said}");
}

#[tokio::test]
async fn sys_an_interrupted_install_undoes_what_it_did() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    let script = format!(
        "{HOSTLET} install & pid=$!; until systemctl is-active --quiet kubelet.service; do sleep 0.05; done
        kill -TERM $pid; code=0; wait $pid || code=$?; echo \"code $code\""
    );
    let said = machine.script(&script).await.unwrap();
    assert!(said.contains("code 5"), "{said}");
    let difference = before.diff(&snapshot(&machine).await);
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn sys_run_by_systemd_it_writes_to_the_journal_with_fields() {
    let machine = scene().await;
    machine.expect(&["systemd-run", "--quiet", "--wait", "--unit=first-boot", HOSTLET, "install"]).await.unwrap();
    let journal = machine.expect(&["journalctl", "--no-pager", "--output=json", "--unit=first-boot"]).await.unwrap();
    let entries: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |id: &str| entries.iter().any(|entry| entry["MESSAGE_ID"] == id);
    assert!(has(hostlet::output::journal::STARTED) && has(hostlet::output::journal::SUCCEEDED), "{journal}");
    let change =
        entries.iter().find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains("switch to generation 1")));
    assert!(change.is_some(), "each change is a line of the journal: {journal}");
}
