//! What the tests that kill hostlet share: a machine with small stand-ins, runs that end at a checkpoint, states of the host
//! that are gone back to, and what must hold whenever a run was killed.

use std::{collections::BTreeSet, path::Path, process::Command};

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};

pub(crate) use crate::machine::HOSTLET;
use crate::machine::boot;

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// What a run may leave behind that changes nothing, what only the kubelet writes, and a manifest, which has the time in it
/// (`hostlet status` reads it).
const OWN: &[&str] = &[
    "/var/cache/hostlet",
    "/run/hostlet",
    "/etc/hostlet/hostlet.d/60-other.toml",
    "/tmp",
    "/var/lib/kubelet/pods",
    // The kubelet joins beside the run, and gets its certificate when it gets it.
    "/var/lib/kubelet/pki",
    "/etc/kubernetes/bootstrap-kubelet.conf",
    // systemd hears of mounts a while after they were made, up to a second when there are many.
    "var-lib-kubelet-pods",
    "/opt/hostlet/generations/1/manifest.json",
    "/opt/hostlet/generations/2/manifest.json",
    "/opt/hostlet/generations/3/manifest.json",
    "/opt/hostlet/generations/4/manifest.json",
];
/// Values of kernel parameters stay after an uninstallation, until the next boot, and modules loaded.
pub(crate) const KERNEL: &[&str] =
    &["net/ipv4/ip_forward", "net/ipv4/conf", "net/bridge", "br_netfilter", "overlay", "net/ipv4/neigh"];
const POINTS: &str = "/tmp/points";

/// Where all lies that a run writes. A state is these as they are, and the units that are active.
const PLACES: &str = "opt/hostlet opt/cni var/lib/hostlet var/lib/kubelet etc/systemd/system etc/kubernetes etc/cni \
    etc/sysctl.d etc/modules-load.d etc/hostlet usr/local/bin";

/// Puts the host into a state that was saved, whatever it is in.
const GO_BACK: &str = r#"
    systemctl --quiet stop kubelet.service flanneld.service hostlet-responder.socket 2>/dev/null || true
    awk '$5 ~ "^/var/lib/kubelet/" { print $5 }' /proc/self/mountinfo | tac | xargs --no-run-if-empty umount
    ip link delete flannel.1 2>/dev/null || true
    cd /
    rm -rf $PLACES
    tar --extract --preserve-permissions --file "$STATE.tar"
    systemctl daemon-reload
    systemctl reset-failed
    sysctl --quiet --load "$STATE.sysctls"
    xargs --no-run-if-empty --arg-file "$STATE.active" systemctl start"#;

const SAVE: &str = r#"
    cd /
    for place in $PLACES; do if [ -e "$place" ]; then echo "$place"; fi; done | tar --create --one-file-system --file "$STATE.tar" --files-from -
    sysctl net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables >"$STATE.sysctls" 2>/dev/null || true
    for unit in flanneld.service kubelet.service hostlet-responder.socket; do
        if systemctl --quiet is-active $unit; then echo $unit; fi
    done >"$STATE.active""#;

/// A booted machine with two versions of the kubelet to be had.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    /// The digest of kubelet 1.36.5; 1.36.4 is what the configuration says.
    pub(crate) newer: String,
}

/// A run that was to be killed.
pub(crate) struct Killed {
    output: Output,
    /// The points that it passed, numbered, one a line.
    pub(crate) names: String,
}

impl Killed {
    /// The point at which it was killed; none where it ended by itself, which must be well.
    pub(crate) fn point(&self) -> Option<String> {
        if self.output.status.code() == Some(137) {
            return Some(self.names.lines().last().unwrap_or_default().to_owned());
        }
        assert!(self.output.status.success(), "{}\n{}", self.output, self.names);
        None
    }
}

impl Scene {
    /// The stand-ins are hostlet's own executable: without what is in it for debugging, copying them takes a third.
    pub(crate) async fn new() -> Self {
        let machine = boot().await;
        let directory = tempfile::tempdir().unwrap();
        let small = directory.path().join("hostlet");
        let executable = Path::new(env!("CARGO_BIN_EXE_hostlet"));
        let stripped = Command::new("strip").arg("-o").arg(&small).arg(executable).status();
        let small = if stripped.is_ok_and(|status| status.success()) { &small } else { executable };
        machine.copy_in(small, HOSTLET, 0o755).await.unwrap();
        let old = r#"{"kubelet":{"version":"1.36.4"}}"#;
        set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, old).await.unwrap();
        // The newer one lies beside it on the mirror.
        let new = r#"{"kubelet":{"version":"1.36.5"}}"#;
        machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", new]).await.unwrap();
        machine.write("/etc/hostlet/mesh-key", "0123456789abcdef0123456789abcdef", 0o600).await.unwrap();
        // A mesh of one node, which needs to ask nobody: the responder's units are installed with the rest.
        let settings = "[kubelet]\nstable-window = 1\nhealth-timeout = 20\n\
            [node]\nname = \"node\"\nip = \"10.77.0.2\"\n[mesh]\npeers = [{ name = \"node\", ip = \"10.77.0.2\" }]\n";
        machine.write("/etc/hostlet/hostlet.d/50-test.toml", settings, 0o600).await.unwrap();
        let sum = machine.script("sha256sum /srv/mirror/kubelet/v1.36.5/bin/linux/*/kubelet").await.unwrap();
        let newer = sum.split_whitespace().next().unwrap().to_owned();
        Self { machine, newer }
    }

    /// What else the configuration says: in a fragment that is no part of any state.
    pub(crate) async fn configure(&self, text: &str) {
        self.machine.write("/etc/hostlet/hostlet.d/60-other.toml", text, 0o600).await.unwrap();
    }

    /// A run that must succeed.
    pub(crate) async fn succeeds(&self, arguments: &[&str]) {
        let command = patient(arguments);
        let command: Vec<&str> = [HOSTLET].into_iter().chain(command).collect();
        let output = self.machine.run(&command).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output}");
    }

    /// Everything is fetched once, and what stays loaded in the kernel is; the machine is bare afterwards.
    pub(crate) async fn warm_up(&self) {
        self.save("bare").await;
        self.succeeds(&["install"]).await;
        self.succeeds(&["upgrade", "1.36.5", "--digest", &self.newer]).await;
        self.go_back("bare").await;
    }

    /// Remembers the state of the host.
    pub(crate) async fn save(&self, state: &str) {
        self.in_state(state, SAVE).await;
    }

    /// Puts the host into a state that was saved.
    pub(crate) async fn go_back(&self, state: &str) {
        self.in_state(state, GO_BACK).await;
    }

    async fn in_state(&self, state: &str, script: &str) {
        self.machine.script(&format!("PLACES='{PLACES}' STATE=/tmp/{state}\n{script}")).await.unwrap();
    }

    /// Everything that must be as before or as after.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.machine.quick_snapshot().await.unwrap().without(OWN).lasting()
    }

    /// The process of the kubelet; 0 where none runs.
    pub(crate) async fn kubelet(&self) -> String {
        self.machine.expect(&["systemctl", "show", "--value", "--property=MainPID", "kubelet.service"]).await.unwrap()
    }

    /// The node is what its configuration says, and healthy.
    pub(crate) async fn assert_installed(&self, when: &str) {
        let status = self.machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap();
        assert!(status.status.success(), "{when}: {status}");
    }

    /// Runs hostlet until the N-th point, or the first one of a name, where it is killed.
    pub(crate) async fn at(&self, point: impl ToString, arguments: &[&str]) -> Killed {
        let script = format!(
            "rm -f {POINTS}; code=0; {HOSTLET} {} >/tmp/output 2>&1 || code=$?
            cat {POINTS} 2>/dev/null; cat /tmp/output >&2; exit $code",
            patient(arguments).join(" ")
        );
        let run = self.machine.invocation(&["bash", "-c", &script]);
        let run = run.env("HOSTLET_TEST_COUNT", POINTS).env("HOSTLET_TEST_KILL_AT", point.to_string());
        let output = run.run().await.unwrap();
        let names = output.stdout.clone();
        Killed { output, names }
    }

    /// The names of the points that a run to its end passes, each once.
    pub(crate) async fn points(&self, arguments: &[&str]) -> Vec<String> {
        let whole = self.at("none", arguments).await;
        assert_eq!(whole.point(), None);
        let mut seen = BTreeSet::new();
        let names = whole.names.lines().filter_map(|line| line.split_once(' ').map(|(_, name)| name.to_owned()));
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// Kills a run at the first of the points that it passes, the next run at the first of those after it, and so on: each
    /// goes on where the one before was killed, so what that had done has no point again. The number of kills.
    pub(crate) async fn kill_at_each(&self, points: &[String], arguments: &[&str]) -> usize {
        let (mut kills, mut rest) = (0, points);
        while let Some(point) = self.at(rest.join("\n"), arguments).await.point() {
            let (_, name) = point.split_once(' ').unwrap();
            let at = rest.iter().position(|point| point == name).unwrap();
            rest = &rest[at + 1..];
            kills += 1;
        }
        kills
    }

    /// Files that only a run that was killed leaves, and canaries.
    pub(crate) async fn assert_nothing_left(&self, when: &str) {
        let find = "find /etc /opt /usr/local /var/lib/hostlet /var/lib/kubelet -xdev \
            \\( -name '.hostlet-*' -o -name '.staging-*' -o -name '.removing-*' -o -path /var/lib/hostlet/journal \
            -o -path /var/lib/hostlet/backup \\) 2>/dev/null || true; grep hostlet-canary /proc/self/mountinfo || true";
        assert_eq!(self.machine.script(find).await.unwrap(), "", "{when}");
    }
}

/// Where preflight looks, it waits for what a busy machine answers late: that is not what these tests are about, and neither
/// is the Node.
pub(crate) fn patient<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let looks = matches!(arguments[0], "install" | "upgrade");
    arguments.iter().copied().chain(["--wait", "60s", "--no-wait"].into_iter().filter(|_| looks)).collect()
}

/// Each of these tests takes minutes with every point (`HOSTLET_KILL_EVERY=1`); the suite takes every third, beginning anywhere,
/// so that it comes to all of them in time.
pub(crate) fn every() -> usize {
    std::env::var("HOSTLET_KILL_EVERY").ok().map_or(3, |every| every.parse().expect("HOSTLET_KILL_EVERY is a number"))
}

/// Of points those that are tried.
pub(crate) fn some<T>(points: Vec<T>) -> Vec<T> {
    points.into_iter().skip(fastrand::usize(..every())).step_by(every()).collect()
}
