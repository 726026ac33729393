//! A booted copy of this machine with a control plane beside it and the programs of the directory in it.
#![allow(clippy::disallowed_types, reason = "it tidies up in the machine itself, when it is dropped")]

use std::{
    path::{Path, PathBuf},
    process::{self, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hostlet::rehearse::{Layer, Machine, MachineOptions};

const PROGRAMS: &str = "/srv/real";
const HOSTLET: &str = "/usr/local/sbin/hostlet";
const CONTROL_PLANE: &str = include_str!("control-plane.sh");
const CONTROL_GROUPS: &str = include_str!("control-groups.sh");
const CONTAINERD: &str = include_str!("containerd.sh");
const CRIO: &str = include_str!("crio.sh");
const JOIN: &str = include_str!("join.sh");
const REGISTRY: &str = include_str!("registry.py");
const POD: &str = include_str!("pod.yaml");
/// The control plane's address: the network namespace beside the node.
const ADDRESS: &str = "10.77.0.1";
/// Longer than hostlet waits for a Node.
const LIMIT: Duration = Duration::from_mins(10);

pub(crate) struct Node {
    machine: Machine,
    runtime: &'static str,
    // Dropped after the machine, whose processes are in them.
    groups: ControlGroups,
}

/// The kubelets that the node is given.
pub(crate) struct Versions {
    pub(crate) previous: String,
    pub(crate) current: String,
}

impl Node {
    /// Boots, starts runtime and control plane, and writes the configuration.
    pub(crate) async fn boot(directory: &Path, programs: &[&str], runtime: &'static str) -> Result<Self> {
        let groups = ControlGroups(format!("hostlet-real-{}-{runtime}", process::id()));
        let layer = Layer::prepare(&[]).await?;
        let machine = Machine::boot(&layer, MachineOptions::default()).await?;
        machine.copy_in(&hostlet_executable()?, HOSTLET, 0o755).await?;
        for program in programs {
            machine.copy_in(&directory.join(program), &format!("{PROGRAMS}/{program}"), 0o755).await?;
        }
        machine.write("/srv/registry.py", REGISTRY, 0o644).await?;
        let node = Self { machine, runtime, groups };
        node.run(CONTROL_GROUPS, &[&node.groups.0]).await?;
        node.script("systemd-run --quiet --unit=registry python3 /srv/registry.py").await?;
        node.run(if runtime == "crio" { CRIO } else { CONTAINERD }, &[PROGRAMS]).await?;
        node.run(CONTROL_PLANE, &[PROGRAMS, ADDRESS, &node.version_of("kubelet").await?, "abcdef.0123456789abcdef"]).await?;
        println!("{}", node.run(JOIN, &[PROGRAMS, &format!("{runtime}.service")]).await?);
        Ok(node)
    }

    /// Runs a script with arguments, and returns what it printed.
    async fn run(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let command = [&["bash", "-c", script, "script"], arguments].concat();
        Ok(self.machine.invocation(&command).deadline(LIMIT).run().await?.success()?.stdout)
    }

    pub(crate) async fn script(&self, script: &str) -> Result<String> {
        self.run(&format!("set -euo pipefail\n{script}"), &[]).await
    }

    /// Runs hostlet, which must succeed; tells how long it took and how it ended.
    pub(crate) async fn hostlet(&self, arguments: &str) -> Result<String> {
        let begun = Instant::now();
        let output =
            self.script(&format!("{HOSTLET} {arguments} 2>&1 || {{ code=$?; echo \"exit code $code\"; exit $code; }}")).await;
        let output = output.with_context(|| format!("hostlet {arguments}"))?;
        let last = output.lines().last().unwrap_or_default();
        println!("{}: hostlet {arguments}: {:.1} s: {last}", self.runtime, begun.elapsed().as_secs_f64());
        Ok(output)
    }

    pub(crate) async fn kubectl(&self, arguments: &str) -> Result<String> {
        self.script(&format!("{PROGRAMS}/kubectl --kubeconfig=/srv/control/super-admin.conf {arguments}")).await
    }

    /// Runs the pod, and waits until it does.
    pub(crate) async fn pod(&self) -> Result<()> {
        let name = self.kubectl("get nodes --output=name").await?;
        let name = name.trim().trim_start_matches("node/");
        self.machine.write("/srv/pod.yaml", POD.replace("NODE", name), 0o644).await?;
        // Its ServiceAccount is the controller manager's to make, and the signature of the last one.
        self.script("until [ -e /run/flannel/subnet.env ]; do sleep 0.1; done").await?;
        self.kubectl("apply --validate=false --filename=/srv/pod.yaml").await?;
        let waited = self.kubectl("wait --for=condition=Ready --timeout=90s pod/reader").await;
        let shown = self.kubectl("describe pod reader").await?;
        waited.with_context(|| shown)?;
        println!("{}", self.kubectl("get pod reader --output=wide").await?);
        Ok(())
    }

    /// A program that has just started has not written yet.
    pub(crate) async fn pod_says(&self, word: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let said = self.kubectl("logs reader").await?;
            if said.contains(word) {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_secs(10), "the pod says {said:?}, and not {word:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn version_of(&self, program: &str) -> Result<String> {
        let printed = self.script(&format!("{PROGRAMS}/{program} --version")).await?;
        Ok(printed.trim().rsplit_once('v').context("a version begins with v")?.1.to_owned())
    }

    pub(crate) async fn versions(&self) -> Result<Versions> {
        Ok(Versions { previous: self.version_of("previous-kubelet").await?, current: self.version_of("kubelet").await? })
    }

    pub(crate) async fn is_ready_with(&self, version: &str) -> Result<()> {
        let shown = self.kubectl("get nodes --no-headers").await?;
        ensure!(shown.contains(" Ready ") && shown.contains(&format!("v{version}")), "not Ready with {version}: {shown}");
        Ok(())
    }

    /// Another backend: flanneld starts at once in the closed unit, and the pod is reached as before.
    pub(crate) async fn change_flannel(&self, change: &str) -> Result<()> {
        println!("flannel: {}", change.replace('\n', ", "));
        self.machine.write("/etc/hostlet/hostlet.d/70-flannel.toml", format!("[flannel]\n{change}\n"), 0o644).await?;
        self.hostlet("install").await?;
        let restarts = self.script("systemctl show --value --property=NRestarts flanneld").await?;
        ensure!(restarts == "0\n", "flanneld was restarted {restarts} times");
        let address = self.kubectl("get pod reader --output=jsonpath={.status.podIP}").await?;
        let reached = self.script(&format!("bash -c 'exec 3<>/dev/tcp/{address}/80' 2>&1 || true")).await?;
        ensure!(reached.contains("Connection refused"), "the pod's kernel does not answer: {reached}");
        Ok(())
    }
}

/// With cgroup version 1 the copy's groups lie in the machine's hierarchies, and go with this.
struct ControlGroups(String);

impl Drop for ControlGroups {
    fn drop(&mut self) {
        // The kernel takes a moment to let go of processes that it has killed.
        let remove = "for _ in $(seq 50); do
                groups=$(find /sys/fs/cgroup -type d -name \"$0\" -prune)
                [ -n \"$groups\" ] || break
                for group in $groups; do find \"$group\" -depth -type d -exec rmdir {} + 2>/dev/null; done
                sleep 0.1
            done";
        let _ = Command::new("sh").args(["-c", remove, &self.0]).status();
    }
}

/// The build beside this program.
fn hostlet_executable() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let directory = own.parent().and_then(Path::parent).context("finding the build directory")?;
    Ok(directory.join("hostlet"))
}
