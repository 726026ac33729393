//! A host of a test's own: new mount, network and pid namespaces, in which the test is process 1, with its own /etc and
//! /run, an address, a default route, hostlet's directories below /mnt/host, and something called iptables, since not every
//! machine that tests run on has one. Nothing of it outlives the test.

use std::{
    any::type_name_of_val,
    collections::BTreeMap,
    env,
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hostlet::{
    config::{Backend, Cni, Datastore, Flannel, FlannelIdentity, Kubelet, Node, Preflight, Role, Runtime, Settings, Sources},
    model::{Architecture, NodeIdentity, Port, Version},
    output::{Events, Silent},
    preflight::{Finding, Looks, Outcome, Places, Report, Subject, run},
};

const REACHED: &str = "HOSTLET_TEST_REACHED";

/// Runs the body on a fresh host: this test again, as process 1 of new namespaces.
pub(crate) fn on_a_fresh_host(body: impl FnOnce()) {
    let arguments = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"];
    let name = name_of(&body);
    through("unshare", &arguments, name, || {
        if is_inside(name) {
            return body();
        }
        // A file where the runtime's socket would be: the one check that waits for a runtime is over at once.
        sh("mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/host /mnt/etc/upper /mnt/etc/work
            mount -t overlay -o lowerdir=/etc,upperdir=/mnt/etc/upper,workdir=/mnt/etc/work overlay /etc
            mount -t tmpfs -o mode=755 tmpfs /run
            ip link set lo up && ip link add bridge0 type bridge && ip link set bridge0 up
            ip address add 10.0.1.7/24 dev bridge0 && ip route add default via 10.0.1.1
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo 10.0.1.7 node-07 >> /etc/hosts
            mount -t tmpfs tmpfs /usr/local/sbin && cp /bin/true /usr/local/sbin/iptables
            touch /mnt/host/cri.sock");
        body();
    });
}

/// A closure's name begins with that of the test it stands in.
pub(crate) fn name_of(body: &impl FnOnce()) -> &'static str {
    type_name_of_val(body)
}

/// Whether this process was started further inside than the test that the name belongs to: then the host is laid out.
fn is_inside(name: &str) -> bool {
    env::var(REACHED).unwrap_or_default().lines().last() != Some(&format!("unshare {name}"))
}

/// Runs the body in another process, started through a program that changes what the process is or sees. What
/// stands before it in the test happens there again, and must be true there too.
pub(crate) fn through(program: &str, arguments: &[&str], name: &str, body: impl FnOnce()) {
    let reached = env::var(REACHED).unwrap_or_default();
    let key = format!("{program} {name}");
    if reached.lines().any(|line| line == key) {
        return body();
    }
    let test = name.strip_prefix("suite::").unwrap().split("::{{closure}}").next().unwrap();
    let package = if program == "strace" { "strace" } else { "util-linux" };
    let output = Command::new(program)
        .args(arguments)
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(REACHED, format!("{reached}\n{key}"))
        .output()
        .unwrap_or_else(|error| panic!("{program} (package {package}) cannot be started: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("1 passed"), "{test} through {program}:\n{printed}");
    print!("{printed}");
}

/// Runs a script; every line of it must succeed.
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What a script prints.
pub(crate) fn printed(script: &str) -> String {
    String::from_utf8(Command::new("sh").args(["-c", script]).output().unwrap().stdout).unwrap()
}

/// A child process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, which may become another one, and leaves it running.
pub(crate) fn launch(program: &str, arguments: &[&str]) -> Running {
    Running(Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap())
}

/// Starts a program and leaves it running under its name.
pub(crate) fn start(program: &str, arguments: &[&str]) -> Running {
    let running = launch(program, arguments);
    // The kernel lets the parent go on before it has given the child its new name.
    let name: String = Path::new(program).file_name().unwrap().to_string_lossy().chars().take(15).collect();
    let comm = format!("/proc/{}/comm", running.0.id());
    until("its name", || std::fs::read_to_string(&comm).is_ok_and(|found| found.trim_end() == name));
    running
}

/// Waits until it is so, for at most five seconds.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process of its own that listens on a CRI socket, in another mount namespace.
pub(crate) fn runtime_apart(socket: &Path, propagation: &str) -> Running {
    let _ = std::fs::remove_file(socket);
    let child = Command::new("unshare")
        .args(["--mount", "--propagation", propagation])
        .arg(env::current_exe().unwrap())
        .args(["ns_preflight_world::a_process_that_listens", "--exact", "--ignored"])
        .env("HOSTLET_TEST_LISTEN", socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("listening", || socket.exists());
    Running(child)
}

#[test]
#[ignore = "no test: a process that other tests start"]
fn a_process_that_listens() {
    let listener = UnixListener::bind(env::var("HOSTLET_TEST_LISTEN").unwrap()).unwrap();
    let mut taken = Vec::new();
    for stream in listener.incoming() {
        taken.push(stream);
    }
}

/// A worker with vxlan, whose directories are below /mnt/host.
pub(crate) fn subject() -> Subject {
    let host = Path::new("/mnt/host");
    let settings = Settings {
        node: Node {
            name: None,
            addresses: Vec::new(),
            role: Role::Worker,
            cloud_provider: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        },
        cluster: None,
        kubelet: Kubelet {
            version: Version::new(1, 36, 4),
            root_directory: host.join("kubelet"),
            config: serde_json::Map::new(),
            extra_args: Vec::new(),
            health_timeout: Duration::from_mins(1),
            stable_window: Duration::from_secs(5),
        },
        flannel: Some(Flannel {
            version: Version::new(0, 28, 9),
            network: "10.244.0.0/16".parse().unwrap(),
            ipv6_network: None,
            backend: Backend::Vxlan { port: Port::known(8472), vni: 1, direct_routing: false },
            mtu: None,
            datastore: Datastore::Kube(FlannelIdentity::Kubeconfig("/etc/flannel.kubeconfig".into())),
            interface: None,
            nftables: false,
        }),
        cni: Cni { version: Version::new(1, 9, 1), flannel_version: "1.9.1-flannel1".parse().unwrap() },
        runtime: Runtime { socket: host.join("cri.sock"), unit: "containerd.service".parse().unwrap() },
        sources: Sources::default(),
        preflight: Preflight::default(),
        mesh: None,
    };
    let identity = NodeIdentity {
        name: "node-07".parse().unwrap(),
        addresses: vec!["10.0.1.7".parse().unwrap()],
        architecture: Architecture::from_machine(env::consts::ARCH).unwrap(),
    };
    let places = Places {
        home: host.join("home"),
        cache: host.join("cache"),
        cni_executables: host.join("cni/bin"),
        cni_configuration: host.join("cni/net.d"),
        images: host.join("images"),
        state: host.join("state"),
    };
    Subject { settings, identity, places, adopt: false, wait: Duration::ZERO, looks: Looks::default() }
}

/// Sets a field of KubeletConfiguration.
pub(crate) fn with_field(name: &str, value: impl Into<serde_json::Value>) -> Subject {
    let mut subject = subject();
    subject.settings.kubelet.config.insert(name.to_owned(), value.into());
    subject
}

/// The whole preflight, in a runtime of its own; it must be over in two seconds.
pub(crate) fn preflight(subject: Subject) -> Report {
    let events: Events = Arc::new(Silent);
    let start = Instant::now();
    let report = tokio::runtime::Runtime::new().unwrap().block_on(run(Arc::new(subject), &events));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    report
}

/// What one check found.
pub(crate) fn finding(subject: Subject, id: &str) -> Finding {
    let report = preflight(subject);
    let found = report.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}:\n{report}"));
    found.clone()
}

/// The check passes, and says this.
pub(crate) fn passes(subject: Subject, id: &str, said: &str) {
    ends(subject, id, &Outcome::Pass, said);
}

/// The check fails, and says this.
pub(crate) fn fails(subject: Subject, id: &str, said: &str) -> Finding {
    let found = ends(subject, id, &Outcome::Failure, said);
    assert!(found.remedy.is_some());
    found
}

/// The check ends so, and says this.
pub(crate) fn ends(subject: Subject, id: &str, outcome: &Outcome, said: &str) -> Finding {
    let found = finding(subject, id);
    assert!(found.outcome == *outcome && found.observed.contains(said), "{found:#?}");
    found
}
