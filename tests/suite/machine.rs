//! What the sys_ tests share: booting a throwaway copy of this machine.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use hostlet::{
    model::Component,
    rehearse::{Layer, Machine, MachineOptions},
    standin::Made,
};

/// A booted copy with containerd, a default route and nothing else.
pub(crate) async fn boot() -> Machine {
    let layer = Layer::prepare(&[]).await.unwrap_or_else(|error| panic!("{error}"));
    Machine::boot(&layer, MachineOptions::default()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The program under test, where the copy has it.
pub(crate) const HOSTLET: &str = "/usr/local/sbin/hostlet";

/// A booted copy with the program under test in it.
pub(crate) async fn boot_with_hostlet() -> Machine {
    let machine = boot().await;
    machine.copy_in(Path::new(env!("CARGO_BIN_EXE_hostlet")), HOSTLET, 0o755).await.unwrap();
    machine
}

/// Makes artifacts in the copy (see `hostlet::standin::Versions` for the JSON) and serves them at
/// `https://127.0.0.1:8443`, with the authority in /srv/mirror-ca.crt.
pub(crate) async fn serve_artifacts(machine: &Machine, versions: &str) -> BTreeMap<Component, Made> {
    let made = machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", versions]).await.unwrap();
    let serve = "systemd-run --quiet --unit=mirror --service-type=notify \
        /usr/local/sbin/hostlet stand-in mirror --directory /srv/mirror --listen 127.0.0.1:8443 --ca-out /srv/mirror-ca.crt";
    machine.script(serve).await.unwrap();
    serde_json::from_str(&made).unwrap()
}

/// Processes and paths with this in their name, and mounts of a copy in our own namespace.
pub(crate) fn left_behind(name: &str) -> Vec<String> {
    let files = Command::new("find")
        .args(["/sys/fs/cgroup", "/run", "/tmp", "/var/tmp", "/mnt", "-name"])
        .arg(format!("*{name}*"))
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(|process| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        command.windows(name.len()).any(|part| part == name.as_bytes())
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" /mnt/root") || line.contains(" - tmpfs hostlet "));
    let processes = processes.map(|process| process.display().to_string());
    files.lines().map(str::to_owned).chain(processes).chain(mounts.map(str::to_owned)).collect()
}
