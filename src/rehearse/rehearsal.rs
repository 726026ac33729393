//! One rehearsal: boot, install, look, throw away.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Layer, Machine, MachineOptions, Outcome, RehearseError, outcome, scenery};
use crate::{
    host::files,
    output::{Event, Events},
};

/// Where the copy has hostlet.
const HOSTLET: &str = "/usr/local/sbin/hostlet";
/// Where the copy has its configuration.
const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";
/// And what is laid over it: the last of the drop-ins.
const DROP_IN: &str = "/etc/hostlet/hostlet.d/99-rehearsal.toml";

/// What to rehearse.
#[derive(Debug, Clone, Default)]
pub struct RehearsalOptions {
    /// The configuration; without one, stand-ins are installed from a mirror in the copy. The copy has no network beyond
    /// itself, so what a configuration names must lie on this machine: `file://` sources, or downloads in the cache.
    pub configuration: Option<PathBuf>,
    /// A drop-in beside the configuration, where there is one.
    pub drop_in: Option<String>,
    /// Further arguments of the `install` that is rehearsed: `--set key=value`, `-v` ...
    pub arguments: Vec<String>,
}

/// What came of a rehearsal.
#[derive(Debug)]
pub struct Rehearsal {
    /// How `hostlet install` ended.
    pub install: ExitStatus,
    /// How long that took.
    pub install_time: Duration,
    /// How long everything took.
    pub total_time: Duration,
    /// Whether stand-ins were installed.
    pub stand_ins: bool,
    /// What was found afterwards, if it succeeded.
    pub outcome: Option<Outcome>,
}

/// Installs on a throwaway copy of this machine, with our own standard output and error. Ctrl-C and SIGTERM end it; in any
/// case the copy is gone when this returns.
pub async fn run(options: RehearsalOptions, events: &Events) -> Result<Rehearsal, RehearseError> {
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hang_up = watch(SignalKind::hangup())?;
    tokio::select! {
        rehearsal = rehearse(options, events) => rehearsal,
        _ = interrupt.recv() => Err(RehearseError::Interrupted),
        _ = terminate.recv() => Err(RehearseError::Interrupted),
        _ = hang_up.recv() => Err(RehearseError::Interrupted),
    }
}

async fn rehearse(options: RehearsalOptions, events: &Events) -> Result<Rehearsal, RehearseError> {
    let begun = Instant::now();
    let modules_before = modules()?;
    let note = |text: String| events.emit(Event::Note { text });
    if !Layer::is_prepared(&[])? {
        note("installing containerd into a throwaway copy of this machine; this is kept for the next time".to_owned());
    }
    let layer = Layer::prepare(&[]).await?;
    let booting = Instant::now();
    let machine = Machine::boot(&layer, MachineOptions::default()).await?;
    note(format!(
        "a copy of this machine is up after {:.1} s, with its own systemd and containerd",
        booting.elapsed().as_secs_f64()
    ));
    machine.copy_in(Path::new("/proc/self/exe"), HOSTLET, 0o755).await?;
    if let Some(configuration) = &options.configuration {
        machine.copy_in(configuration, CONFIGURATION, 0o600).await?;
        if let Some(text) = &options.drop_in {
            machine.write(DROP_IN, text.as_str(), 0o600).await?;
        }
    } else {
        note(
            "no configuration: kubelet and flanneld are hostlet's stand-ins, served by a mirror in the copy; systemd, \
             containerd, mounts and files are real"
                .to_owned(),
        );
        scenery::set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await?;
    }
    let installing = Instant::now();
    let mut arguments = options.arguments.clone();
    if options.configuration.is_some() {
        // It cannot reach that cluster, and so does not join it.
        arguments.push("--no-wait".to_owned());
    }
    let install = install(&machine, &arguments).await?;
    let install_time = installing.elapsed();
    let outcome = if install.success() { Some(outcome::look(&machine, HOSTLET).await?) } else { None };
    drop(machine);
    let loaded: Vec<_> = modules()?.into_iter().filter(|module| !modules_before.contains(module)).collect();
    if loaded.is_empty() {
        note("the copy is gone; this machine is as it was".to_owned());
    } else {
        let names = loaded.join(" ");
        note(format!("the copy is gone; the kernel, which it shared, has loaded modules for it (modprobe -r {names})"));
    }
    Ok(Rehearsal { install, install_time, total_time: begun.elapsed(), stand_ins: options.configuration.is_none(), outcome })
}

/// The kernel's loaded modules.
fn modules() -> Result<Vec<String>, RehearseError> {
    // A kernel without modules has no such file.
    let text = files::if_present(files::read_text(Path::new("/proc/modules")))?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// With our own terminal, so that progress shows as it would.
async fn install(machine: &Machine, arguments: &[String]) -> Result<ExitStatus, RehearseError> {
    let mut command = vec![HOSTLET, "install"];
    command.extend(arguments.iter().map(String::as_str));
    let mut invocation = machine.invocation(&command);
    for name in ["TERM", "NO_COLOR", "COLUMNS"] {
        if let Some(value) = std::env::var_os(name) {
            invocation = invocation.env(name, value);
        }
    }
    Ok(invocation.run_in_foreground().await?)
}

fn watch(kind: SignalKind) -> Result<Signal, RehearseError> {
    signal(kind).map_err(RehearseError::Signal)
}
