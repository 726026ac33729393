//! A machine on which hostlet has installed a kubelet, and what must hold of it.

use std::collections::BTreeMap;

use hostlet::{
    model::Component,
    preflight,
    rehearse::{Scene, serve_stand_ins},
};

use super::{Disk, Image, Machine, Payload};
use crate::machine::HOSTLET;

pub(crate) const OLD: &str = "1.36.4";
pub(crate) const NEW: &str = "1.36.5";
const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// Downloads that are of no use any more are collected, so they are laid out each time.
const WITH_DOWNLOADS: &str = r#"
    mkdir --parents /var/cache/hostlet
    cp --link --no-clobber /srv/downloads/* /var/cache/hostlet/
    exec "$@""#;
/// The API server that the stand-ins joined, from the next boot on.
const CLUSTER: &str = "[Unit]\nBefore=kubelet.service flanneld.service\n[Service]\nType=notify\nExecStart=/usr/local/sbin/hostlet \
    stand-in mirror --directory /srv/mirror --listen 127.0.0.1:8443 --ca-out /srv/mirror-ca.crt\n[Install]\nWantedBy=multi-user.target\n";
const POINTS: &str = "/run/points";
const PRECIOUS: &str = "/var/lib/kubelet/pods/of-somebody/precious";

/// A node.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    /// Of the new version's kubelet.
    digest: String,
}

impl Node {
    /// Boots a machine with these disks, runs a script in it, and installs the old version.
    pub(crate) async fn install(disks: Vec<Disk>, prepare: &str) -> Self {
        let image = Image::prepare();
        let payload = Payload::new(&image, &["{}", &format!(r#"{{"kubelet":{{"version":"{NEW}"}}}}"#)]);
        let machine = Machine::boot(&image, &payload, disks).await;
        machine.script(prepare).await.unwrap();
        serve_stand_ins(&machine, HOSTLET, CONFIGURATION, &payload.made[0]).await.unwrap();
        machine.write("/etc/hostlet/hostlet.d/50-test.toml", settings(), 0o600).await.unwrap();
        machine.expect(&["bash", "-c", WITH_DOWNLOADS, "-", HOSTLET, "install"]).await.unwrap();
        machine.write(PRECIOUS, "data".to_owned(), 0o640).await.unwrap();
        machine.write("/etc/systemd/system/cluster.service", CLUSTER.to_owned(), 0o644).await.unwrap();
        machine.script("systemctl --quiet enable cluster.service").await.unwrap();
        // What others wrote and never flushed is not hostlet's to keep.
        machine.script("sync").await.unwrap();
        Self { machine, digest: payload.made[1][&Component::Kubelet].digest.to_string() }
    }

    /// Upgrades to the new version.
    pub(crate) async fn upgrade(&self) {
        let upgrade = [HOSTLET, "upgrade", NEW, "--digest", &self.digest];
        self.machine.expect(&[&["bash", "-c", WITH_DOWNLOADS, "-"][..], &upgrade].concat()).await.unwrap();
    }

    /// Begins to upgrade, and returns when it waits at a point.
    pub(crate) async fn upgrade_until(&self, point: &str) {
        let (count, hold) = (format!("--setenv=HOSTLET_TEST_COUNT={POINTS}"), format!("--setenv=HOSTLET_TEST_HOLD_AT={point}"));
        let unit = ["systemd-run", "--quiet", "--unit=upgrade", &count, &hold, "bash", "-c", WITH_DOWNLOADS, "-"];
        let upgrade = [HOSTLET, "upgrade", NEW, "--digest", &self.digest];
        self.machine.script(&format!("rm --force {POINTS}")).await.unwrap();
        self.machine.expect(&[&unit[..], &upgrade].concat()).await.unwrap();
        self.wait_for_hold("upgrade.service", point).await;
    }

    /// Waits until the hostlet of a unit waits at a point.
    pub(crate) async fn wait_for_hold(&self, unit: &str, point: &str) {
        let wait = format!(
            "until cut -d ' ' -f 2- {POINTS} 2>/dev/null | grep --quiet --line-regexp --fixed-strings -- \"$2\"; do
                case $(systemctl is-active $1) in active | activating) ;; *)
                    journalctl --no-pager --unit $1 >&2; cat {POINTS} >&2; exit 1 ;;
                esac
                sleep 0.2
            done"
        );
        self.machine.expect(&["bash", "-c", &wait, "-", unit, point]).await.unwrap();
    }

    /// What its kernel is told for a recovery at boot to wait at a point.
    pub(crate) fn hold_at_boot(point: &str) -> String {
        format!("systemd.setenv=HOSTLET_TEST_COUNT={POINTS} \"systemd.setenv=HOSTLET_TEST_HOLD_AT={point}\"")
    }

    /// The kubelet of this version runs, healthy and as configured, and nothing of a run that was cut lies about.
    pub(crate) async fn assert_runs(&self, version: &str, when: &str) {
        assert_eq!(self.running_version().await, version, "{when}");
        let status = self.machine.run(&[HOSTLET, "status", "--exit-code"]).await;
        assert!(status.status.success(), "{when}: {status}");
        assert_eq!(self.leftovers().await, "", "{when}");
        let precious = self.machine.script(&format!("stat --format=%a {PRECIOUS}; cat {PRECIOUS}")).await;
        assert_eq!(precious.as_deref().unwrap_or_default(), "640\ndata", "{when}");
    }

    /// What runs as the kubelet, by what its process executes.
    pub(crate) async fn running_version(&self) -> String {
        let version = self
            .machine
            .script("exec -a kubelet /proc/$(systemctl show --value --property=MainPID kubelet.service)/exe --version")
            .await
            .unwrap();
        version.trim().trim_start_matches("Kubernetes v").to_owned()
    }

    /// Files that only a run that was cut leaves.
    pub(crate) async fn leftovers(&self) -> String {
        let find = "find /etc /opt /usr/local /var/lib/hostlet /var/lib/kubelet \
            \\( -name '.hostlet-*' -o -name '.staging-*' -o -name '.removing-*' -o -path /var/lib/hostlet/journal \
            -o -path /var/lib/hostlet/backup \\) 2>/dev/null || true; grep hostlet-canary /proc/self/mountinfo || true";
        self.machine.script(find).await.unwrap()
    }

    /// Properties of a unit.
    pub(crate) async fn unit(&self, name: &str) -> BTreeMap<String, String> {
        let shown = self.machine.expect(&["systemctl", "show", name]).await.unwrap();
        shown.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

fn settings() -> String {
    format!("[kubelet]\nstable-window = 1\nhealth-timeout = 120\n[preflight]\nwaive = [{}]\n", waivers(&[]))
}

/// Preflight has two seconds for all, which is little on an emulated processor that others use, too; its checks have tests of
/// their own.
pub(crate) fn waivers(but: &[&str]) -> String {
    let waivers = preflight::list().iter().filter(|check| !but.contains(&check.id)).map(|check| {
        format!("{{ check = \"{}\", reason = \"an emulated processor is too slow for the deadline\" }}", check.id)
    });
    waivers.collect::<Vec<_>>().join(", ")
}
