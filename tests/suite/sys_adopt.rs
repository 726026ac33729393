//! `hostlet install --adopt` on a booted machine where a kubelet runs already: from a package, or the old way, in a mount
//! namespace of its own.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};

use crate::machine::{HOSTLET, boot_with_hostlet};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];
/// Kernel parameters keep their values, also after a failure only those are restored that were there.
const KERNEL: &[&str] = &["net/ipv4/ip_forward", "net/ipv4/conf", "net/bridge", "br_netfilter", "overlay", "net/ipv4/neigh"];
/// What the new process of an old unit changes.
const PROCESSES: &[&str] = &["kubelet.service", "kubelet-container.service", "hostlet-mirror.service"];

/// The configuration of the old kubelet, as kubeadm would have written it.
const OLD: &str = r#"
mkdir -p /etc/kubernetes /var/lib/kubelet/pki
cat >/var/lib/kubelet/config.yaml <<'END'
{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","failCgroupV1":false,"failSwapOn":false,
"containerRuntimeEndpoint":"unix:///run/containerd/containerd.sock"}
END
install -m 0755 /usr/local/sbin/hostlet /usr/bin/kubelet
cat >/etc/kubernetes/bootstrap-kubelet.conf <<'END'
{"clusters":[{"name":"k","cluster":{"server":"https://127.0.0.1:8443","certificate-authority":"/srv/mirror-ca.crt"}}],
"users":[{"name":"b","user":{"token":"abcdef.0123456789abcdef"}}],
"contexts":[{"name":"k","context":{"cluster":"k","user":"b"}}],"current-context":"k"}
END
unshare --mount --propagation private /usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf \
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --config=/var/lib/kubelet/config.yaml & joining=$!
until [ -e /var/lib/kubelet/pki/kubelet-client-current.pem ]; do sleep 0.05; done
kill $joining; wait $joining || true
rm -r /etc/kubernetes/bootstrap-kubelet.conf /srv/bootstrap-token /var/lib/kubelet/pods
sha256sum /var/lib/kubelet/pki/kubelet-client-current.pem >/srv/identity
"#;

/// As the deb packages of Kubernetes lay it.
const PACKAGED: &str = r"
mkdir -p /usr/lib/systemd/system/kubelet.service.d
cat >/usr/lib/systemd/system/kubelet.service <<'END'
[Unit]
Description=kubelet of a package
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10
[Install]
WantedBy=multi-user.target
END
cat >/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml
END
mkdir -p /etc/systemd/system/kubelet.service.d
printf '[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--v=2\n' >/etc/systemd/system/kubelet.service.d/20-mine.conf
systemctl daemon-reload; systemctl enable --now kubelet.service
until ss -ltn | grep -q :10250; do sleep 0.05; done
";

/// The containerized kubelet: its mounts stay in its own namespace.
const CONTAINERIZED: &str = r"
cat >/etc/systemd/system/kubelet-container.service <<'END'
[Unit]
Description=kubelet in a container
[Service]
ExecStart=/usr/bin/unshare --mount --propagation private /usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl enable --now kubelet-container.service
until ss -ltn | grep -q :10250; do sleep 0.05; done
";

const SECRET: &str = "/var/lib/kubelet/pods/5ec7e700-0000-4000-8000-000000000001/volumes/kubernetes.io~secret/token/token";

async fn scene(old: &str, releases: &str) -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, releases).await.unwrap();
    machine
        .write("/etc/hostlet/hostlet.d/50-test.toml", "[kubelet]\nstable-window = 2\nhealth-timeout = 15\n", 0o600)
        .await
        .unwrap();
    // The node has its identity: no token is needed.
    machine.script(&format!("{OLD}{old}")).await.unwrap();
    machine
}

async fn hostlet(machine: &Machine, arguments: &[&str]) -> Output {
    machine.run(&[&[HOSTLET], arguments].concat()).await.unwrap()
}

async fn snapshot(machine: &Machine) -> Snapshot {
    machine.snapshot().await.unwrap().without(OWN).without(KERNEL).without(PROCESSES)
}

async fn assert_refused_without_the_flag(machine: &Machine, named: &[&str]) {
    let before = snapshot(machine).await;
    let output = hostlet(machine, &["install"]).await;
    assert_eq!(output.status.code(), Some(3), "{output}");
    for text in named.iter().chain(&["hostlet install --adopt"]) {
        assert!(output.stderr.contains(text), "{text:?} is not in {output}");
    }
    let difference = before.diff(&snapshot(machine).await);
    assert!(difference.is_empty(), "{difference}");
}

/// Whether only the time and the inode of a file or link differ: it was restored.
fn is_the_same_written_again(line: &str, before: &Snapshot, after: &Snapshot) -> bool {
    let Some(name) = line.strip_prefix("~ ").and_then(|line| line.split(": ").next()) else { return false };
    let without_time = |snapshot: &Snapshot| {
        let words: Vec<String> = snapshot.get(name).unwrap_or_default().split(' ').map(str::to_owned).collect();
        [words.get(..4).unwrap_or_default(), words.get(6..).unwrap_or_default()].concat()
    };
    name.starts_with("file ") && without_time(before) == without_time(after)
}

/// Whether containerd sees the secret, and whether the host reads it.
async fn secret_is_seen(machine: &Machine) -> (bool, bool) {
    let in_containerd = "grep -q 'kubernetes.io~secret' /proc/$(pidof -s containerd)/mountinfo";
    let containerd = machine.run(&["bash", "-c", in_containerd]).await.unwrap().status.success();
    (containerd, machine.run(&["test", "-s", SECRET]).await.unwrap().status.success())
}

async fn assert_installed(machine: &Machine, output: &Output) {
    assert!(output.status.success(), "{output}");
    let status = hostlet(machine, &["status", "--exit-code"]).await;
    assert!(status.status.success(), "{status}");
    let executable = machine.script("readlink /proc/$(systemctl show --value -p MainPID kubelet.service)/exe").await.unwrap();
    assert!(executable.starts_with("/opt/hostlet/store/"), "{executable}");
    machine.script("sha256sum --check --quiet /srv/identity; test ! -e /etc/kubernetes/bootstrap-kubelet.conf").await.unwrap();
    let again = hostlet(machine, &["install"]).await;
    assert!(again.status.success() && again.stdout.contains("Nothing to do"), "without the flag, too: {again}");
}

#[tokio::test]
async fn sys_a_containerized_kubelet_is_replaced_and_the_secret_that_nobody_saw_is_seen() {
    let machine = scene(CONTAINERIZED, "{}").await;
    let own = "grep -q 'kubernetes.io~secret' /proc/$(pidof -s kubelet)/mountinfo";
    machine.script(own).await.unwrap();
    assert_eq!(secret_is_seen(&machine).await, (false, false), "that is what was wrong with it");
    assert_refused_without_the_flag(&machine, &["kubelet-container.service"]).await;

    let plan = hostlet(&machine, &["plan", "--adopt"]).await;
    assert!(
        plan.stdout.contains("stop kubelet-container.service") && plan.stdout.contains("disable kubelet-container.service"),
        "{plan}"
    );
    let output = hostlet(&machine, &["install", "--adopt"]).await;
    assert_installed(&machine, &output).await;
    assert_eq!(secret_is_seen(&machine).await, (true, true));
    let old = machine.run(&["systemctl", "is-active", "kubelet-container.service"]).await.unwrap();
    assert_eq!(old.stdout, "inactive\n");
    assert_eq!(machine.run(&["systemctl", "is-enabled", "kubelet-container.service"]).await.unwrap().stdout, "disabled\n");
}

#[tokio::test]
async fn sys_a_packages_kubelet_is_taken_over_with_its_identity_and_uninstall_puts_its_files_back() {
    let machine = scene(PACKAGED, "{}").await;
    let files =
        "find /etc/systemd/system/kubelet.service* /usr/lib/systemd/system/kubelet.service* -type f | sort | xargs sha256sum";
    let before = machine.script(files).await.unwrap();
    assert_refused_without_the_flag(&machine, &["kubelet.service is not hostlet's", "10-kubeadm.conf"]).await;
    let output = hostlet(&machine, &["install", "--adopt"]).await;
    assert_installed(&machine, &output).await;
    let drop_ins = machine.script("systemctl show --value -p DropInPaths kubelet.service").await.unwrap();
    assert_eq!(drop_ins, "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf\n", "the link to /dev/null, and no other");

    let output = hostlet(&machine, &["uninstall"]).await;
    assert!(output.status.success() && output.stdout.contains("system/kubelet.service: not hostlet's"), "{output}");
    assert_eq!(machine.script(files).await.unwrap(), before);
    let state = machine.run(&["systemctl", "is-enabled", "kubelet.service"]).await.unwrap();
    assert_eq!(state.stdout, "disabled\n");
}

#[tokio::test]
async fn sys_when_the_new_kubelet_crashes_the_old_one_is_back_whichever_it_was() {
    let crashing = r#"{"kubelet":{"version":"1.36.4","behaviour":"crash-after-ready"}}"#;
    for (old, unit) in [(CONTAINERIZED, "kubelet-container.service"), (PACKAGED, "kubelet.service")] {
        let machine = scene(old, crashing).await;
        let before = snapshot(&machine).await;
        let output = hostlet(&machine, &["install", "--adopt"]).await;
        assert_eq!(output.status.code(), Some(5), "{output}");
        assert!(output.stderr.contains("this release crashes after it was ready"), "{output}");
        let after = snapshot(&machine).await;
        let difference = before.diff(&after).0.into_iter().filter(|line| !is_the_same_written_again(line, &before, &after));
        assert_eq!(difference.collect::<Vec<_>>(), Vec::<String>::new(), "{unit}");
        for (question, answer) in [("is-active", "active\n"), ("is-enabled", "enabled\n")] {
            assert_eq!(machine.run(&["systemctl", question, unit]).await.unwrap().stdout, answer, "{unit}");
        }
        machine.script("until ss -ltn | grep -q :10250; do sleep 0.05; done; test $(readlink /proc/$(pidof -s kubelet)/exe) = /usr/bin/kubelet").await.unwrap();
    }
}

#[tokio::test]
async fn sys_a_kubelet_unit_of_the_administrators_in_etc_is_moved_aside_and_put_back() {
    let own = "install -D /dev/stdin /etc/systemd/system/kubelet.service <<'END'
[Service]
PrivateMounts=yes
ExecStart=/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl enable --now kubelet.service
until ss -ltn | grep -q :10250; do sleep 0.05; done
";
    let machine = scene(own, "{}").await;
    let before = machine.read("/etc/systemd/system/kubelet.service").await.unwrap();
    assert_refused_without_the_flag(&machine, &["/etc/systemd/system/kubelet.service is not hostlet's"]).await;
    let output = hostlet(&machine, &["install", "--adopt"]).await;
    assert_installed(&machine, &output).await;
    assert_eq!(secret_is_seen(&machine).await, (true, true));
    assert_eq!(machine.read("/etc/systemd/system/kubelet.service.before-hostlet").await.unwrap(), before);
    assert!(hostlet(&machine, &["uninstall"]).await.status.success());
    assert_eq!(machine.read("/etc/systemd/system/kubelet.service").await.unwrap(), before);
}
