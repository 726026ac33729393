//! A throwaway copy of this machine: an overlay of its root, booted with its own systemd in namespaces of its own.
//!
//! Promise: the copy ends with the value that holds it, and also when the process that holds it is killed: its lifeline is
//! a pipe, whose end is the end of the copy's process 1, and with that of all its processes and mounts. Nothing of it was
//! ever visible outside of its mount namespace. Gap: the copy shares the machine's kernel: what it sets outside of
//! namespaces (loaded modules) stays; /proc/sys is read-only in there but for /proc/sys/net, and what a kubelet sets lands in files
//! of the copy's own.

mod namespaces;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use self::namespaces::Namespaces;
use super::process::{Invocation, Output, ProcessError};

const BOOT: &str = concat!(include_str!("container/overlay.sh"), include_str!("container/boot.sh"));
const LAYER: &str = concat!(include_str!("container/overlay.sh"), include_str!("container/layer.sh"));

/// How long the copy's systemd may take to start everything.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);
/// The copy could not be made or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// A program that it needs could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Packages could not be installed into the copy.
    #[error("preparing the copy of this machine failed ({status}):\n{output}")]
    Layer {
        /// How the script ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// It needs privileges.
    #[error("a copy of this machine can be booted by root only: run this with sudo")]
    NotRoot,
    /// A program that it needs is not installed.
    #[error("{program} is not installed, and a copy of this machine cannot be booted without: apt-get install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// Debian's package with it.
        package: &'static str,
    },
    /// It ended before it was up.
    #[error("the copy of this machine ended before it had started:\n{console}")]
    Ended {
        /// The end of its console's output.
        console: String,
    },
    /// Its systemd is not up in time.
    #[error("the copy of this machine was not up within {} s (systemd says {state:?}):\n{console}", BOOT_DEADLINE.as_secs())]
    Deadline {
        /// What systemd last said about itself.
        state: String,
        /// The end of its console's output.
        console: String,
    },
}

/// What a copy starts from.
#[derive(Debug, Default)]
pub struct Start<'a> {
    /// The archive of a prepared layer.
    pub layer: Option<&'a Path>,
    /// A directory that is copied over the root before it boots.
    pub seed: Option<&'a Path>,
    /// Patterns of units of the machine that stay enabled; systemd's own always start.
    pub keep_enabled: &'a [&'a str],
}

/// A booted copy.
#[derive(Debug)]
pub struct Container {
    namespaces: Namespaces,
    leader: u32,
}

/// Installs packages into a copy and keeps what that wrote as an archive. The machine itself stays as it is.
pub async fn prepare_layer(archive: &Path, packages: &[String]) -> Result<(), ContainerError> {
    let arguments: Vec<_> = std::iter::once(archive.as_os_str()).chain(packages.iter().map(AsRef::as_ref)).collect();
    let mut namespaces = Namespaces::start(LAYER, &arguments)?;
    let status = loop {
        match namespaces.has_ended() {
            Some(status) => break status,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    if status.success() {
        Ok(())
    } else {
        Err(ContainerError::Layer { status: status.to_string(), output: namespaces.console() })
    }
}

impl Container {
    /// Boots a copy and waits until its systemd has started everything.
    pub async fn boot(start: Start<'_>) -> Result<Self, ContainerError> {
        let none = Path::new("");
        let paths = [start.layer.unwrap_or(none), start.seed.unwrap_or(none)];
        let arguments: Vec<_> =
            paths.iter().map(|path| path.as_os_str()).chain(start.keep_enabled.iter().map(AsRef::as_ref)).collect();
        let mut namespaces = Namespaces::start(BOOT, &arguments)?;
        let begun = Instant::now();
        let leader = loop {
            if let Some(leader) = namespaces.cgroups().iter().find_map(|cgroup| leader_in(cgroup)) {
                break leader;
            }
            namespaces.wait_a_moment(begun, "").await?;
        };
        let mut container = Self { namespaces, leader };
        loop {
            let output = container.invocation(["systemctl", "is-system-running"]).run().await?;
            let state = output.stdout.trim();
            if matches!(state, "running" | "degraded") {
                return Ok(container);
            }
            container.namespaces.wait_a_moment(begun, state).await?;
        }
    }

    /// The copy's process 1, as it is numbered outside: its root and its namespaces are below `/proc/PID`.
    #[must_use]
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// The end of what it wrote to its console.
    #[must_use]
    pub fn console(&self) -> String {
        self.namespaces.console()
    }

    /// Runs a command in the copy: in its namespaces and cgroup, with a clean environment.
    pub fn invocation(&self, command: impl IntoIterator<Item: AsRef<std::ffi::OsStr>>) -> Invocation {
        // Entering a namespace leaves the cgroup as it is, and the journal and containerd would wonder.
        const ENTER: &str =
            r#"for file in $CGROUPS; do echo 0 >"$file"; done; unset CGROUPS; exec nsenter --target "$0" --all -- "$@""#;
        let cgroups: Vec<_> = self
            .namespaces
            .cgroups()
            .iter()
            .map(|cgroup| cgroup.join("payload/init.scope/cgroup.procs").to_string_lossy().into_owned())
            .collect();
        let command: Vec<_> = command.into_iter().map(|part| part.as_ref().to_owned()).collect();
        let shown: Vec<_> = command.iter().map(|part| part.to_string_lossy()).collect();
        Invocation::new("/bin/sh")
            .shown_as(shown.join(" "))
            .args(["-c", ENTER, &self.leader.to_string()])
            .args(&command)
            .clean_environment()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .env("CGROUPS", cgroups.join(" "))
    }

    /// Runs a command in the copy's network alone, with the machine's own programs and files.
    pub fn invocation_in_network(&self, command: impl IntoIterator<Item: AsRef<std::ffi::OsStr>>) -> Invocation {
        Invocation::new("nsenter").args(["--target", &self.leader.to_string(), "--net", "--"]).args(command)
    }

    /// Runs a command in the copy to its end.
    pub async fn run(&self, command: &[&str]) -> Result<Output, ProcessError> {
        self.invocation(command).run().await
    }
}

impl Namespaces {
    async fn wait_a_moment(&mut self, begun: Instant, state: &str) -> Result<(), ContainerError> {
        if self.has_ended().is_some() {
            return Err(ContainerError::Ended { console: self.console() });
        }
        if begun.elapsed() > BOOT_DEADLINE {
            return Err(ContainerError::Deadline { state: state.to_owned(), console: self.console() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }
}

/// The container's process 1: the one in its init scope that is number 1 in its own pid namespace.
fn leader_in(cgroup: &Path) -> Option<u32> {
    let processes = fs::read_to_string(cgroup.join("payload/init.scope/cgroup.procs")).ok()?;
    processes.lines().filter_map(|line| line.parse().ok()).find(|pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    })
}
