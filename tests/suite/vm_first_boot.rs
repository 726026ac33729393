//! Two computers with kernels of their own, fresh Debians with the package installed, boot for the first time with user-data:
//! each proves that it reaches the other, becomes a node, and is one again after a reboot.

use std::{
    env,
    time::{Duration, Instant},
};

use hostlet::{host::process::Output, rehearse::Scene as _};
use tokio::time::sleep;

use crate::{
    first_boot::{Image as Seed, example, package},
    vm::{Image, Machine, Payload, stripped, waivers},
};

const DEB: &str = "/srv/hostlet.deb";
const ADDRESSES: [&str; 2] = ["10.78.0.1", "10.78.0.2"];
/// Takes two minutes on a processor of its own.
const FIRST_BOOT: Duration = Duration::from_mins(12);
/// The user-data of the two machines, of packaging/cloud-init; HOSTLET_EXAMPLES names two others (mirror,air-gapped).
const EXAMPLES: &str = "minimal,cluster-api";

/// Gives the interface on the cable its address, at every boot before the network counts as online.
const CABLE: &str = "[Unit]
DefaultDependencies=no
After=node-network.service systemd-udev-settle.service
Wants=systemd-udev-settle.service
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c 'device=$(basename $(ls -d /sys/bus/virtio/drivers/virtio_net/virtio*/net/*)); ip address add ADDRESS/24 dev $device; ip link set $device up'
[Install]
WantedBy=network-online.target multi-user.target
";

#[tokio::test]
async fn vm_two_fresh_machines_prove_each_other_become_nodes_at_their_first_boot_and_are_nodes_after_a_reboot() {
    let examples = env::var("HOSTLET_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let (first, second) = examples.split_once(',').expect("HOSTLET_EXAMPLES has two names, with a comma between them");
    let image = Image::prepare();
    let mut machines = [first, second].map(|example| {
        let payload = Payload::of(seed(&image, example).root(), (&package("deb"), DEB));
        Machine::new(image.clone(), &payload, Vec::new())
    });
    let [one, other] = &mut machines;
    Machine::connect(one, other);
    tokio::join!(one.start(), other.start());
    tokio::join!(prepare(one, 0), prepare(other, 1));
    tokio::join!(one.begin_reboot(), other.begin_reboot());
    tokio::join!(assert_became_a_node(one, first), assert_became_a_node(other, second));
    assert_proves_the_other(one).await;
    // One of them shows the rest.
    other.power_cut();
    let begun = Instant::now();
    one.reboot().await;
    println!("rebooting took {} s", begun.elapsed().as_secs());
    assert_is_as_before(one).await;
    remove_the_package(one).await;
}

#[tokio::test]
async fn vm_a_first_boot_with_wrong_user_data_is_an_error_of_cloud_inits_and_leaves_the_machine_as_it_was() {
    let image = Image::prepare();
    let seed = seed(&image, "minimal");
    seed.user_data(&example("minimal").replace("token-file", "token-flie"));
    let mut machine = Machine::new(image, &Payload::of(seed.root(), (&package("deb"), DEB)), Vec::new());
    machine.start().await;
    prepare(&machine, 0).await;
    let everything =
        "find /etc /usr /opt /var/lib/kubelet -xdev -newer /srv/before ! -path '/etc/cloud/*' ! -path '/etc/ssh/*' 2>/dev/null";
    machine.script("touch /srv/before; sync").await.unwrap();
    machine.begin_reboot().await;
    let (status, log) = first_boot(&mut machine).await;
    assert!(!status.status.success() && status.stdout.contains("status: error"), "{status}\n{log}");
    assert_eq!(
        machine.expect(&["cat", "/run/hostlet/failed"]).await.unwrap(),
        "install: misconfigured (exit code 2)\n",
        "{log}"
    );
    assert!(log.contains("token-flie"), "{log}");
    assert!(machine.console().contains("hostlet install: "), "{}", machine.console());
    let changed = machine.script(&format!("{everything} || true")).await.unwrap();
    let hostlets = |path: &str| ["hostlet", "kubelet", "flannel", "cni"].iter().any(|name| path.contains(name));
    // User-data wrote the configuration and the tokens itself.
    let left: Vec<_> = changed.lines().filter(|path| hostlets(path) && !path.starts_with("/etc/hostlet")).collect();
    assert!(left.is_empty(), "{left:?}");
    let active = machine.run(&["systemctl", "is-active", "kubelet", "flanneld"]).await;
    assert_eq!(active.stdout, "inactive\ninactive\n");
}

/// User-data and what it needs, a mirror that plays the API server, too, and the package, which is still to be installed.
fn seed(image: &Image, example: &str) -> Seed {
    let directory = tempfile::tempdir().unwrap();
    let seed = Seed::of_a_computer(&stripped(directory.path()), &image.plugins());
    seed.with_example(example);
    seed
}

async fn prepare(machine: &Machine, number: usize) {
    let installed = machine.expect(&["dpkg", "--install", DEB]).await.unwrap();
    assert!(installed.contains("Setting up hostlet"), "{installed}");
    let version = machine.expect(&["hostlet", "--version"]).await.unwrap();
    assert!(version.contains("target: x86_64-unknown-linux-gnu"), "{version}");
    let enabled = machine.run(&["systemctl", "is-enabled", "hostlet.service"]).await;
    assert_eq!(enabled.stdout, "disabled\n", "installing the package starts nothing");
    let manual = machine.run(&["test", "-e", "/run/hostlet/result.json"]).await;
    assert!(!manual.status.success(), "installing the package ran nothing");

    let write = async |path: &str, content: String| machine.write(path, content, 0o600).await.unwrap();
    write("/etc/systemd/system/cable.service", CABLE.replace("ADDRESS", ADDRESSES[number])).await;
    write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef".to_owned()).await;
    write("/etc/hostlet/hostlet.d/91-mesh.toml", mesh(number)).await;
    write("/var/lib/cloud/seed/nocloud/meta-data", format!("instance-id: i-{number}\nlocal-hostname: node-{number}\n")).await;
    machine.script("systemctl --quiet enable cable.service; rm /etc/cloud/cloud-init.disabled; sync").await.unwrap();
}

/// The mesh is proved for real; other checks have two seconds that an emulated processor has not.
fn mesh(number: usize) -> String {
    let peers = [0, 1].map(|peer| format!("{{ name = \"node-{peer}\", ip = \"{}\" }}", ADDRESSES[peer]));
    format!(
        "[node]\nip = \"{}\"\n[mesh]\npeers = [{}]\nkey-file = \"/etc/hostlet/mesh-key\"\n[preflight]\nwaive = [{}]\n",
        ADDRESSES[number],
        peers.join(", "),
        waivers(&["mesh"]),
    )
}

/// What cloud-init says at its end, and the log of what it started.
async fn first_boot(machine: &mut Machine) -> (Output, String) {
    machine.wait_until_reachable().await;
    let begun = Instant::now();
    // A command of its own each time: one that waits would run out of time where others use the processors.
    let at_its_end = |said: &str| ["status: done", "status: error"].iter().any(|end| said.contains(end));
    while !at_its_end(&machine.run(&["cloud-init", "status"]).await.stdout) && begun.elapsed() < FIRST_BOOT {
        sleep(Duration::from_secs(1)).await;
    }
    let status = machine.run(&["cloud-init", "status", "--long"]).await;
    let log = machine.run(&["journalctl", "--no-pager", "--unit=hostlet", "--unit=kubelet", "--unit=flanneld"]).await;
    (status, log.stdout)
}

async fn assert_became_a_node(machine: &mut Machine, example: &str) {
    let (status, log) = first_boot(machine).await;
    assert!(
        status.status.success() && status.stdout.contains("status: done"),
        "{example}: {status}\n{log}\n{}",
        machine.console()
    );
    let result: serde_json::Value =
        serde_json::from_str(&machine.expect(&["cat", "/run/hostlet/result.json"]).await.unwrap()).unwrap();
    assert_eq!(result["outcome"], "success", "{result}");
    let active = machine.expect(&["systemctl", "is-active", "kubelet", "flanneld", "hostlet-responder.socket"]).await;
    assert_eq!(active.unwrap(), "active\nactive\nactive\n", "{example}: {log}");
    assert!(machine.console().contains("hostlet install: install succeeded"), "{}", machine.console());
    println!("{example}:\n{}", timeline(machine).await);
}

/// The other answers by its responder now. The mesh is the only check that was not waived, so they did before, too.
async fn assert_proves_the_other(machine: &Machine) {
    let checked = machine.run(&["hostlet", "preflight", "--wait", "3m", "--output", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(checked.stdout.lines().last().unwrap()).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let mesh = findings.iter().find(|finding| finding["id"] == "mesh").unwrap();
    assert_eq!(mesh["outcome"], "pass", "{mesh}");
}

/// From cloud-init's start of the unit to the kubelet's READY=1, and where the time goes.
async fn timeline(machine: &Machine) -> String {
    let show = "for unit in cloud-final hostlet kubelet flanneld; do
        systemctl show $unit --property=Id,ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic
        done
        journalctl --unit=hostlet --output=short-monotonic --no-pager | grep -E 'hostlet 0|== |switch|start kubelet|healthy|succeeded' || true";
    machine.script(show).await.unwrap()
}

async fn assert_is_as_before(machine: &Machine) {
    let status = machine.run(&["hostlet", "status", "--exit-code"]).await;
    assert!(status.status.success(), "{status}");
    let plan = machine.run(&["hostlet", "plan", "--exit-code"]).await;
    assert!(plan.status.success(), "{plan}");
    let active = machine.expect(&["systemctl", "is-active", "kubelet", "flanneld", "hostlet-responder.socket"]).await;
    assert_eq!(active.unwrap(), "active\nactive\nactive\n");
    // cloud-init's runcmd belongs to the first boot.
    let run = machine.run(&["test", "-e", "/run/hostlet/result.json"]).await;
    assert!(!run.status.success(), "nothing was installed again");
    let shared = machine.expect(&["findmnt", "--noheadings", "--output=PROPAGATION", "--target=/var/lib/kubelet"]).await;
    assert!(shared.unwrap().starts_with("shared"));
    let kernel = machine.script("sysctl --values net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables").await.unwrap();
    assert_eq!(kernel, "1\n1\n");
}

async fn remove_the_package(machine: &Machine) {
    let before = machine.expect(&["systemctl", "show", "--value", "--property=MainPID", "kubelet"]).await.unwrap();
    machine.expect(&["dpkg", "--remove", "hostlet"]).await.unwrap();
    machine.expect(&["test", "-e", "/etc/hostlet/hostlet.toml"]).await.unwrap();
    let purged = machine.run(&["dpkg", "--purge", "hostlet"]).await;
    assert!(purged.status.success() && purged.stderr.contains("this machine is still a node"), "{purged}");
    let after = machine.expect(&["systemctl", "show", "--value", "--property=MainPID", "kubelet"]).await.unwrap();
    assert_eq!(after, before, "the kubelet goes on");
    machine.expect(&["/opt/hostlet/bin/hostlet", "uninstall", "--purge"]).await.unwrap();
    let left = machine
        .script("ls -d /etc/hostlet /opt/hostlet /var/lib/hostlet /var/cache/hostlet 2>/dev/null || true")
        .await
        .unwrap();
    assert_eq!(left, "");
}
