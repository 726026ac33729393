//! What the tests that kill hostlet share: a machine with small stand-ins, runs that end at a checkpoint, and what must hold
//! afterwards.

use std::{path::Path, process::Command};

use hostlet::{
    host::process::Output,
    rehearse::{Machine, Snapshot, set_up_stand_ins},
};

pub(crate) use crate::machine::HOSTLET;
use crate::machine::boot;

pub(crate) const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// What differs between the configurations of a scene.
pub(crate) const DROP_IN: &str = "/etc/hostlet/hostlet.d/60-new.toml";
/// What a run may leave behind that changes nothing, and what only the kubelet writes.
const OWN: &[&str] = &["/var/cache/hostlet", "/run/hostlet", "/etc/hostlet", "/tmp", "/var/lib/kubelet/pods"];
const PRECIOUS: &str = "/var/lib/kubelet/pods/of-somebody/precious";
const POINTS: &str = "/tmp/points";

/// Makes the machine bare again, as far as a test needs it.
pub(crate) const REMOVE_ALL: &str = "
    systemctl --quiet disable --now kubelet.service flanneld.service 2>/dev/null
    awk '$5 ~ \"^/var/lib/kubelet/\" { print $5 }' /proc/self/mountinfo | sort --reverse | xargs --no-run-if-empty umount
    ip link delete flannel.1 2>/dev/null || true
    cd /etc/systemd/system
    rm -rf kubelet.service flanneld.service hostlet-recover.service multi-user.target.wants/hostlet-recover.service
    rm -rf /opt/hostlet /var/lib/hostlet /var/lib/kubelet /etc/kubernetes /etc/cni /opt/cni /usr/local/bin/kubelet \\
        /usr/local/bin/flanneld /etc/sysctl.d/90-hostlet.conf /etc/modules-load.d/hostlet.conf
    systemctl daemon-reload
    systemctl reset-failed
    if [ -e /tmp/sysctls ]; then sysctl --quiet --load /tmp/sysctls; fi";

/// A booted machine with two versions of the kubelet to be had.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
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
        if self.output.stdout.trim_end().ends_with("ended with 137") {
            return Some(self.names.lines().last().unwrap_or_default().to_owned());
        }
        assert!(self.output.stdout.trim_end().ends_with("ended with 0"), "{}\n{}", self.output, self.names);
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
        let settings = "[kubelet]\nstable-window = 0\nhealth-timeout = 20\n";
        machine.write("/etc/hostlet/hostlet.d/50-test.toml", settings, 0o600).await.unwrap();
        let sysctls = "sysctl net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables 2>/dev/null >/tmp/sysctls || true";
        machine.script(sysctls).await.unwrap();
        Self { machine }
    }

    /// Writes what the configuration says beyond the usual; the digest of a version goes with it.
    pub(crate) async fn configure(&self, text: &str) {
        if text.is_empty() {
            self.machine.script(&format!("rm -f {DROP_IN}")).await.unwrap();
            return;
        }
        let sum = "sha256sum /srv/mirror/kubelet/v1.36.5/bin/linux/*/kubelet";
        let digest = self.machine.script(sum).await.unwrap();
        let digest = digest.split_whitespace().next().unwrap();
        let text = format!("{text}\n[sources.kubelet]\ndigest = \"{digest}\"\n");
        self.machine.write(DROP_IN, text, 0o600).await.unwrap();
    }

    /// Installs what the configuration with this text says.
    pub(crate) async fn install(&self, text: &str) {
        self.configure(text).await;
        let output = self.machine.run(&[HOSTLET, "install"]).await.unwrap();
        assert!(output.status.success(), "{output}");
    }

    /// Fills the cache and loads what stays loaded, and leaves the machine bare.
    pub(crate) async fn warm_up(&self, texts: &[&str]) {
        for text in texts {
            self.install(text).await;
        }
        self.machine.script(REMOVE_ALL).await.unwrap();
        self.configure("").await;
    }

    /// The process of the kubelet; 0 where none runs.
    pub(crate) async fn kubelet(&self) -> String {
        self.machine.expect(&["systemctl", "show", "--value", "--property=MainPID", "kubelet.service"]).await.unwrap()
    }

    /// The node is what its configuration says, healthy, and nothing of the run lies about.
    pub(crate) async fn assert_installed(&self, when: &str) {
        let status = self.machine.run(&[HOSTLET, "status", "--exit-code"]).await.unwrap();
        assert!(status.status.success(), "{when}: {status}");
        let plan = self.machine.run(&[HOSTLET, "plan", "--exit-code"]).await.unwrap();
        assert!(plan.status.success(), "{when}: {plan}");
        let leftovers = self.leftovers().await;
        assert_eq!(leftovers, "", "{when}");
    }

    /// Files that only a run that was killed leaves.
    pub(crate) async fn leftovers(&self) -> String {
        let find = "find /etc /opt /usr/local /var/lib/hostlet /var/lib/kubelet -xdev \
            \\( -name '.hostlet-*' -o -name '.staging-*' -o -name '.removing-*' -o -path /var/lib/hostlet/journal \
            -o -path /var/lib/hostlet/backup \\) 2>/dev/null || true; grep hostlet-canary /proc/self/mountinfo || true";
        self.machine.script(find).await.unwrap()
    }

    /// What was put under the kubelet's root directory is there.
    pub(crate) async fn assert_nothing_lost(&self, when: &str) {
        if self.machine.run(&["test", "-e", "/tmp/precious"]).await.unwrap().status.success() {
            let found = self.machine.script(&format!("stat -c %a {PRECIOUS}; cat {PRECIOUS}")).await;
            assert_eq!(found.as_deref().unwrap_or_default(), "640\ndata", "{when}");
        }
    }

    /// Puts something under the kubelet's root directory that nobody else has.
    pub(crate) async fn put_something_precious(&self) {
        self.machine.write(PRECIOUS, "data", 0o640).await.unwrap();
        self.machine.script("touch /tmp/precious").await.unwrap();
    }
}

/// Everything that must be as before or as after.
pub(crate) async fn snapshot(machine: &Machine) -> Snapshot {
    machine.snapshot().await.unwrap().without(OWN).lasting()
}

/// Runs hostlet until the N-th point, or the first one of a name, where it is killed.
pub(crate) async fn at(machine: &Machine, point: impl ToString, command: &[&str]) -> Killed {
    let script = format!(
        "rm -f {POINTS}; code=0
        HOSTLET_TEST_COUNT={POINTS} HOSTLET_TEST_KILL_AT='{}' {} 2>&1 || code=$?
        echo; echo \"ended with $code\"",
        point.to_string(),
        command.join(" ")
    );
    let output = machine.run(&["bash", "-c", &script]).await.unwrap();
    let names = machine.script(&format!("cat {POINTS} 2>/dev/null || true")).await.unwrap();
    Killed { output, names }
}
