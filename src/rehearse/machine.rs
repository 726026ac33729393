//! A throwaway copy of this machine that looks like a node: containerd runs, and a default route leads to a gateway.

use std::path::{Path, PathBuf};

use super::{Layer, RehearseError, Snapshot};
use crate::{
    host::{
        container::{Container, Start},
        files,
        process::{Invocation, Output, ProcessError},
    },
    model::layout,
};

/// Exists in every copy; the stand-ins refuse to run where it does not.
pub const MARKER: &str = layout::REHEARSAL;
/// The copy's own address.
pub const ADDRESS: &str = "10.77.0.2";
/// The gateway, a network namespace named `gateway` in the copy. Nothing lies behind it.
pub const GATEWAY: &str = "10.77.0.1";
/// The interface with the default route.
pub const INTERFACE: &str = "node0";

/// Units that stay enabled if they were, as patterns.
const KEEP_ENABLED: [&str; 3] = ["containerd.service", "dbus*", "cloud-*"];

/// How to boot.
#[derive(Debug, Default)]
pub struct MachineOptions<'a> {
    /// A directory that is copied over the root before the boot: units, cloud-init's seed ...
    pub seed: Option<&'a Path>,
    /// No veth, no address, no default route: loopback alone.
    pub without_network: bool,
}

/// A booted copy. It ends, and all of it vanishes, when this is dropped or the process is killed.
#[derive(Debug)]
pub struct Machine {
    container: Container,
}

impl Machine {
    /// Boots a copy of this machine with the layer over it, and waits until systemd has started everything. 1 to 5 s.
    pub async fn boot(layer: &Layer, options: MachineOptions<'_>) -> Result<Self, RehearseError> {
        let start = Start { layer: Some(layer.archive()), seed: options.seed, keep_enabled: &KEEP_ENABLED };
        let machine = Self { container: Container::boot(start).await? };
        machine.write(MARKER, "A throwaway copy of a machine, made by hostlet.\n", 0o644).await?;
        if !options.without_network {
            machine.set_up_network().await?;
        }
        Ok(machine)
    }

    /// Runs a command in the copy to its end, as root with a clean environment. A failing status is not an error.
    pub async fn run(&self, command: &[&str]) -> Result<Output, ProcessError> {
        self.container.run(command).await
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub async fn expect(&self, command: &[&str]) -> Result<String, ProcessError> {
        Ok(self.run(command).await?.success()?.stdout)
    }

    /// Runs a shell script that must succeed, and returns what it printed.
    pub async fn script(&self, script: &str) -> Result<String, ProcessError> {
        self.expect(&["bash", "-euo", "pipefail", "-c", script]).await
    }

    /// A command in the copy, to be given input, an environment or a deadline before it runs.
    #[must_use]
    pub fn invocation(&self, command: &[&str]) -> Invocation {
        self.container.invocation(command)
    }

    /// Writes a file in the copy, and the directories it lies in.
    pub async fn write(&self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Result<(), ProcessError> {
        self.install(path, mode).input(content).run().await?.success().map(drop)
    }

    /// Copies a file of the machine into the copy, and makes the directories it lies in.
    pub async fn copy_in(&self, from: &Path, path: &str, mode: u32) -> Result<(), RehearseError> {
        Ok(self.install(path, mode).input_file(files::open(from)?).run().await?.success().map(drop)?)
    }

    fn install(&self, path: &str, mode: u32) -> Invocation {
        self.invocation(&["install", "-D", "--mode", &format!("{mode:o}"), "/dev/stdin", path])
    }

    /// A file's content in the copy, which must be text.
    pub async fn read(&self, path: &str) -> Result<String, ProcessError> {
        self.expect(&["cat", path]).await
    }

    /// The path of a file of the copy as this process can reach it. Only to look: absolute links on the way lead out of
    /// the copy, into the machine itself.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.container.leader().to_string()).join("root").join(path.trim_start_matches('/'))
    }

    /// Everything that a run of hostlet could change, as it is now.
    pub async fn snapshot(&self) -> Result<Snapshot, ProcessError> {
        Snapshot::take(self).await
    }

    /// The same without what only systemd tells of unit files and processes: the files and links in /etc/systemd/system are
    /// in it, and it takes a fraction of the time.
    pub async fn quick_snapshot(&self) -> Result<Snapshot, ProcessError> {
        Snapshot::take_quickly(self).await
    }

    /// The copy's process 1, as the machine numbers it.
    #[must_use]
    pub fn leader(&self) -> u32 {
        self.container.leader()
    }

    /// A link to a namespace beside it, so that routes, ARP and refusals behave as on a real network.
    async fn set_up_network(&self) -> Result<(), ProcessError> {
        self.script(&format!(
            "ip netns add gateway
            ip link add {INTERFACE} type veth peer name {INTERFACE} netns gateway
            ip -netns gateway link set lo up
            ip -netns gateway address add {GATEWAY}/24 dev {INTERFACE}
            ip -netns gateway link set {INTERFACE} up
            ip address add {ADDRESS}/24 dev {INTERFACE}
            ip link set {INTERFACE} up
            ip route add default via {GATEWAY}
            until ip link show {INTERFACE} | grep --quiet 'state UP'; do sleep 0.02; done"
        ))
        .await
        .map(drop)
    }
}
