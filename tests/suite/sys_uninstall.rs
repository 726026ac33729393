//! `hostlet uninstall` on a booted machine: the host is as it was before, and nobody's data is touched.

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};
use serde_json::Value;

use crate::machine::{HOSTLET, boot_with_hostlet};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// What stays without --purge, and the outcome.
const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet"];
/// Values of kernel parameters stay until the next boot, and modules loaded.
const KERNEL: &[&str] = &["net/ipv4/ip_forward", "net/ipv4/conf", "net/bridge", "br_netfilter", "overlay", "net/ipv4/neigh"];

async fn scene() -> Machine {
    let machine = boot_with_hostlet().await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await.unwrap();
    machine
        .write("/etc/hostlet/hostlet.d/50-test.toml", "[kubelet]\nstable-window = 1\nhealth-timeout = 20\n", 0o600)
        .await
        .unwrap();
    machine
}

async fn install(machine: &Machine) -> Output {
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert!(output.status.success(), "{output}");
    output
}

async fn uninstall(machine: &Machine, arguments: &[&str]) -> Output {
    machine.run(&[&[HOSTLET, "uninstall"], arguments].concat()).await.unwrap()
}

async fn result(machine: &Machine) -> Value {
    serde_json::from_str(&machine.read("/run/hostlet/result.json").await.unwrap()).unwrap()
}

async fn snapshot(machine: &Machine) -> Snapshot {
    machine.snapshot().await.unwrap().without(OWN).without(KERNEL)
}

async fn assert_as_before(machine: &Machine, before: &Snapshot) {
    let difference = before.diff(&snapshot(machine).await);
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn sys_uninstall_leaves_the_host_as_it_was_and_install_works_again() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    install(&machine).await;
    machine.script("grep -q 'kubernetes.io~secret' /proc/1/mountinfo").await.unwrap();
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    assert!(output.stdout.contains("Uninstalled generation 1"), "{output}");
    assert!(output.stdout.contains("net.ipv4.ip_forward") && output.stdout.contains("until the next boot"), "{output}");
    assert_eq!(result(&machine).await["command"], "uninstall");
    assert_eq!(result(&machine).await["outcome"], "success");
    assert_as_before(&machine, &before).await;

    let again = uninstall(&machine, &[]).await;
    assert!(again.status.success() && again.stdout.contains("Nothing is installed."), "{again}");
    assert_as_before(&machine, &before).await;

    install(&machine).await;
    assert!(machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap().status.success());
    let output = uninstall(&machine, &["--purge", "--output", "json"]).await;
    assert!(output.status.success(), "{output}");
    let json: Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    assert!(json["kept"].is_array() && !json["changes"].as_array().unwrap().is_empty(), "{json:#}");
    assert_as_before(&machine, &before).await;
    machine.script("test ! -e /etc/hostlet && test ! -e /var/cache/hostlet").await.unwrap();
}

#[tokio::test]
async fn sys_a_private_root_with_its_mount_unit_is_taken_back_too() {
    let machine = scene().await;
    machine.script("mount --make-rprivate / && systemctl restart containerd").await.unwrap();
    let before = snapshot(&machine).await;
    install(&machine).await;
    machine.script("grep -q ' /var/lib/kubelet ' /proc/1/mountinfo").await.unwrap();
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    assert_as_before(&machine, &before).await;
}

#[tokio::test]
async fn sys_a_precious_directory_bound_below_the_root_keeps_its_files_whether_it_can_be_unmounted_or_not() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    install(&machine).await;
    // As in eks-hybrid#664, where /etc was deleted through a bind; and one more below a volume of a pod.
    let precious = "mkdir -p /srv/precious/deep && echo 'years of work' >/srv/precious/deep/file
        volume=/var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/data/mount
        mkdir -p /var/lib/kubelet/leftover $volume && mount --bind /etc /var/lib/kubelet/leftover && mount --bind /srv/precious $volume";
    machine.script(precious).await.unwrap();
    let etc = "cd /etc && find . -xdev -type f ! -path './hostlet/*' ! -path './systemd/*' ! -path './kubernetes/*' ! -path './cni/*' ! -path './sysctl.d/*' ! -path './modules-load.d/*' | sort | xargs -d '\\n' sha256sum | sha256sum";
    let etc_before = machine.script(etc).await.unwrap();
    // Somebody works in it.
    machine
        .script("systemd-run --quiet --unit=worker --working-directory=/var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/data/mount sleep 1000")
        .await
        .unwrap();
    let output = uninstall(&machine, &[]).await;
    assert_eq!(output.status.code(), Some(6), "{output}");
    for text in ["kubernetes.io~csi/data/mount: still mounted", "worker.service", "run `hostlet uninstall` again"] {
        assert!(output.stderr.contains(text), "{text:?} is not in {output}");
    }
    let work = machine.read("/var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/data/mount/deep/file").await.unwrap();
    assert_eq!(work, "years of work\n");
    machine.script("test ! -e /var/lib/kubelet/leftover && test ! -e /var/lib/kubelet/pki").await.unwrap();
    assert_eq!(machine.script(etc).await.unwrap(), etc_before);
    // Installing over the remains says the same, and destroys nothing.
    let output = machine.run(&[HOSTLET, "install"]).await.unwrap();
    assert_eq!(output.status.code(), Some(6), "{output}");

    machine.script("systemctl stop worker.service").await.unwrap();
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    assert_eq!(machine.read("/srv/precious/deep/file").await.unwrap(), "years of work\n");
    assert_eq!(machine.script(etc).await.unwrap(), etc_before);
    assert_as_before(&machine, &before).await;
}

#[tokio::test]
async fn sys_a_root_directory_on_a_file_system_of_its_own_is_emptied_of_what_kubelets_make_and_stays() {
    let machine = scene().await;
    machine.script("mkdir /var/lib/kubelet && mount -t tmpfs disk /var/lib/kubelet && mount --make-shared /var/lib/kubelet && touch /var/lib/kubelet/mine").await.unwrap();
    let before = snapshot(&machine).await;
    install(&machine).await;
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success() && output.stdout.contains("/var/lib/kubelet: it is a mount point"), "{output}");
    assert_eq!(machine.expect(&["ls", "/var/lib/kubelet"]).await.unwrap(), "mine\n");
    assert_as_before(&machine, &before).await;
}

#[tokio::test]
async fn sys_what_was_edited_or_added_by_hand_is_kept_and_named() {
    let machine = scene().await;
    install(&machine).await;
    machine
        .script(
            "echo '# mine' >>/etc/sysctl.d/90-hostlet.conf; ln -sfn /bin/true /usr/local/bin/kubelet
            chmod 0600 /etc/modules-load.d/hostlet.conf; echo '{}' >/etc/kubernetes/manifests/mine.yaml
            mkdir -p /etc/systemd/system/kubelet.service.d; echo >/etc/systemd/system/kubelet.service.d/90-mine.conf",
        )
        .await
        .unwrap();
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success(), "{output}");
    for kept in [
        "/etc/sysctl.d/90-hostlet.conf: changed",
        "/usr/local/bin/kubelet: changed",
        "/etc/kubernetes/manifests: it holds mine.yaml",
    ] {
        assert!(output.stdout.contains(kept), "{kept:?} is not in {output}");
    }
    machine
        .script(
            "test -e /etc/sysctl.d/90-hostlet.conf && test -L /usr/local/bin/kubelet && test ! -e /etc/modules-load.d/hostlet.conf
            test -e /etc/kubernetes/manifests/mine.yaml && test -e /etc/systemd/system/kubelet.service.d/90-mine.conf",
        )
        .await
        .unwrap();
    // Still kept by a second one, which knows no manifest; purged only when asked for.
    assert!(uninstall(&machine, &[]).await.stdout.contains("/etc/sysctl.d/90-hostlet.conf"));
    machine.script("test -e /etc/sysctl.d/90-hostlet.conf").await.unwrap();
    assert!(uninstall(&machine, &["--purge"]).await.status.success());
    machine.script("test ! -e /etc/sysctl.d/90-hostlet.conf && test -e /etc/kubernetes/manifests/mine.yaml").await.unwrap();
}

#[tokio::test]
async fn sys_an_uninstall_that_is_killed_again_and_again_gets_to_its_end() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    install(&machine).await;
    let script = format!(
        "kills=0
        for delay in 0.02 0.03 0.04 0.05 0.06 0.08 0.1 0.12 0.15 0.2 0.25 0.3 0.4 0.5 0.7 1 1.5 2 3 5; do
            {HOSTLET} uninstall >/dev/null 2>/tmp/said & pid=$!
            sleep $delay; kill -KILL $pid 2>/dev/null || true
            code=0; wait $pid || code=$?
            [ $code = 137 ] || break
            kills=$((kills + 1))
        done
        echo $kills $code"
    );
    let said = machine.script(&script).await.unwrap();
    println!("kills and final code: {said}");
    assert!(said.ends_with(" 0\n") && !said.starts_with("0 "), "{said}");
    assert!(machine.run(&[HOSTLET, "uninstall"]).await.unwrap().stdout.contains("Nothing is installed."));
    assert_as_before(&machine, &before).await;
}

#[tokio::test]
async fn sys_an_install_after_a_killed_uninstall_finishes_that_first_and_a_killed_install_is_undone_first() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    // A killed install, then uninstall: not "already uninstalled".
    let script = format!(
        "{HOSTLET} install >/dev/null 2>&1 & pid=$!; until systemctl is-active --quiet kubelet.service; do sleep 0.02; done
        kill -KILL $pid; wait $pid || true"
    );
    machine.script(&script).await.unwrap();
    let output = uninstall(&machine, &[]).await;
    assert!(output.status.success() && output.stderr.contains("did not finish"), "{output}");
    assert_as_before(&machine, &before).await;

    install(&machine).await;
    let script = format!(
        "{HOSTLET} uninstall >/dev/null 2>&1 & pid=$!; until [ -e /var/lib/hostlet/uninstall.json ] && ! systemctl is-active --quiet flanneld.service; do sleep 0.005; done
        kill -KILL $pid; wait $pid || true; test -e /var/lib/hostlet/uninstall.json"
    );
    machine.script(&script).await.unwrap();
    let output = install(&machine).await;
    assert!(output.stderr.contains("`hostlet uninstall` of"), "{output}");
    assert!(machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap().status.success());
    assert!(uninstall(&machine, &[]).await.status.success());
    assert_as_before(&machine, &before).await;
}

#[tokio::test]
async fn sys_leftovers_of_an_installation_whose_directory_was_deleted_by_hand_are_swept() {
    let machine = scene().await;
    let before = snapshot(&machine).await;
    install(&machine).await;
    machine.script("rm -r /opt/hostlet /var/lib/hostlet").await.unwrap();
    let output = uninstall(&machine, &["--purge"]).await;
    assert!(output.status.success() && output.stdout.contains("leftovers"), "{output}");
    let active = machine.run(&["systemctl", "is-active", "kubelet.service", "flanneld.service"]).await.unwrap();
    assert_eq!(active.stdout, "inactive\ninactive\n");
    let difference = before.diff(&snapshot(&machine).await);
    // Without a manifest nobody knows what these belong to.
    let unknown =
        ["/var/lib/kubelet", "/etc/kubernetes", "/opt/cni", "/etc/cni", "kubernetes.io", "flannel.1", "10.244", "/run/flannel"];
    let unexpected: Vec<_> = difference.0.iter().filter(|line| !unknown.iter().any(|known| line.contains(known))).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}
