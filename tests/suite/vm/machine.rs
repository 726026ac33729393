//! An emulated computer: boots, runs commands, loses its power, boots again from the same disks.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hostlet::{
    host::process::{Output, ProcessError},
    rehearse::Scene,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::{net::UnixStream, sync::Mutex, time::sleep};

use super::{Image, Payload, agent::Agent};

/// Takes 20 s on a processor of its own.
const BOOT_DEADLINE: Duration = Duration::from_mins(5);
const COMMAND_DEADLINE: Duration = Duration::from_mins(5);
/// Nothing that only makes emulation slower, and nothing on the console but what is wrong.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr panic=-1 systemd.show_status=0";
/// Where files without a name are made: a machine's disks are larger than some /tmp.
const DISKS: &str = "/var/tmp";

/// An empty disk beside the root, `/dev/disk/by-id/virtio-NAME` in the machine.
#[derive(Debug)]
pub(crate) struct Disk {
    name: &'static str,
    pub(crate) file: File,
}

impl Disk {
    /// Takes room only for what is written to it.
    pub(crate) fn new(name: &'static str, bytes: u64) -> Self {
        let file = tempfile::tempfile_in(DISKS).unwrap();
        file.set_len(bytes).unwrap();
        Self { name, file }
    }
}

/// A machine. Its disks stay as they are while it is off.
#[derive(Debug)]
pub(crate) struct Machine {
    image: Image,
    /// What differs from the image (qcow2).
    root: File,
    payload: File,
    disks: Vec<Disk>,
    /// The end of a cable (see [`Machine::connect`]).
    cable: Option<Cable>,
    running: Option<Running>,
}

/// Two machines on one cable have two addresses.
#[derive(Debug)]
struct Cable {
    end: OwnedFd,
    address: &'static str,
}

#[derive(Debug)]
struct Running {
    qemu: Child,
    agent: Mutex<Agent>,
    console: File,
}

impl Machine {
    /// A machine that is off, with the image's content on its root.
    pub(crate) fn new(image: Image, payload: &Payload, disks: Vec<Disk>) -> Self {
        let root = tempfile::tempfile_in(DISKS).unwrap();
        let root = Self { image, root, payload: payload.archive.try_clone().unwrap(), disks, cable: None, running: None };
        let handed = handed_on(&root.root);
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(root.image.root())
            .arg(path(&handed))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        root
    }

    /// Boots one with the payload unpacked and waits until systemd has started everything.
    pub(crate) async fn boot(image: &Image, payload: &Payload, disks: Vec<Disk>) -> Self {
        let mut machine = Self::new(image.clone(), payload, disks);
        machine.start().await;
        machine
    }

    /// Boots it for the first time, and unpacks the payload.
    pub(crate) async fn start(&mut self) {
        self.power_on("");
        self.wait_until_up().await;
        self.script("tar --extract --directory / --file /dev/disk/by-id/virtio-payload").await.unwrap();
    }

    /// Lays a cable between two machines that are off: each has one more interface from then on.
    pub(crate) fn connect(one: &mut Self, other: &mut Self) {
        let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
        one.cable = Some(Cable { end: near.into(), address: "52:54:00:00:00:01" });
        other.cable = Some(Cable { end: far.into(), address: "52:54:00:00:00:02" });
    }

    /// Starts it; `arguments` are for its kernel and its systemd.
    pub(crate) fn power_on(&mut self, arguments: &str) {
        assert!(self.running.is_none(), "it is on");
        let (line, far_end) = UnixStream::pair().unwrap();
        let far_end: OwnedFd = far_end.into_std().unwrap().into();
        let (far_end, root, payload) = (handed_on(&far_end), handed_on(&self.root), handed_on(&self.payload));
        let console = tempfile::tempfile().unwrap();
        // Killed with this thread, which is a test's main one: nothing outlives a test that is killed.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024"])
            .arg("-kernel")
            .arg(self.image.kernel())
            .arg("-initrd")
            .arg(self.image.initrd())
            .args(["-append", &format!("{KERNEL_ARGUMENTS} {arguments}")])
            .args(["-serial", "stdio", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
            .args(["-chardev", &format!("socket,id=agent,fd={}", far_end.as_raw_fd())])
            .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]);
        drive(&mut qemu, "root", &root, "qcow2");
        drive(&mut qemu, "payload", &payload, "raw,readonly=on");
        let disks: Vec<_> = self.disks.iter().map(|disk| (disk.name, handed_on(&disk.file))).collect();
        for (name, file) in &disks {
            drive(&mut qemu, name, file, "raw");
        }
        let cable = self.cable.as_ref().map(|cable| (handed_on(&cable.end), cable.address));
        if let Some((end, address)) = &cable {
            qemu.args(["-netdev", &format!("dgram,id=cable,local.type=fd,local.str={}", end.as_raw_fd())])
                .args(["-device", &format!("virtio-net-pci,netdev=cable,mac={address}")]);
        }
        // A signal to the tests, such as Ctrl-C's, is theirs to act on.
        let qemu = qemu.process_group(0).stdin(Stdio::null()).stdout(console.try_clone().unwrap());
        let qemu = qemu.stderr(console.try_clone().unwrap()).spawn().unwrap();
        self.running = Some(Running { qemu, agent: Mutex::new(Agent::new(line)), console });
    }

    /// Waits until commands can be run: systemd may still be starting what it has to.
    pub(crate) async fn wait_until_reachable(&mut self) {
        let begun = Instant::now();
        while !self.agent().lock().await.answers(Duration::from_secs(2)).await {
            let ended = self.running.as_mut().unwrap().qemu.try_wait().unwrap();
            let console = || self.console();
            assert!(ended.is_none(), "the machine ended: {}\n{}", ended.unwrap(), console());
            assert!(begun.elapsed() < BOOT_DEADLINE, "no agent within {} s\n{}", BOOT_DEADLINE.as_secs(), console());
        }
    }

    /// Waits until systemd has started everything.
    pub(crate) async fn wait_until_up(&mut self) {
        let begun = Instant::now();
        self.wait_until_reachable().await;
        loop {
            let state = self.run(&["systemctl", "is-system-running"]).await.stdout;
            match state.trim() {
                "running" => return,
                "degraded" => {
                    let failed = self.run(&["systemctl", "--failed", "--no-legend"]).await.stdout;
                    panic!("units failed at boot: {failed}\n{}", self.console());
                }
                _ => assert!(begun.elapsed() < BOOT_DEADLINE, "systemd says {state:?}\n{}", self.console()),
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// What its disks hold after this is all that is left of it.
    pub(crate) fn power_cut(&mut self) {
        let mut running = self.running.take().expect("it is off");
        running.qemu.kill().and_then(|()| running.qemu.wait()).unwrap();
    }

    /// Has systemd end everything, and boots again.
    pub(crate) async fn reboot(&mut self) {
        self.begin_reboot().await;
        self.wait_until_up().await;
    }

    /// The same, without waiting for what the boot starts.
    pub(crate) async fn begin_reboot(&mut self) {
        // Its answer may come too late: the agent is ended, too.
        let _ = self.agent().lock().await.run(&["systemctl", "--no-block", "reboot"], &[], COMMAND_DEADLINE).await;
        let begun = Instant::now();
        while self.running.as_mut().is_some_and(|running| running.qemu.try_wait().unwrap().is_none()) {
            assert!(begun.elapsed() < BOOT_DEADLINE, "it does not end\n{}", self.console());
            sleep(Duration::from_millis(200)).await;
        }
        self.running = None;
        self.power_on("");
    }

    /// Runs a command to its end, as root. A failing status is no error.
    pub(crate) async fn run(&self, command: &[&str]) -> Output {
        self.run_with(command, &[]).await
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) async fn expect(&self, command: &[&str]) -> Result<String, ProcessError> {
        Ok(self.run(command).await.success()?.stdout)
    }

    async fn run_with(&self, command: &[&str], input: &[u8]) -> Output {
        let ran = self.agent().lock().await.run(command, input, COMMAND_DEADLINE).await;
        ran.unwrap_or_else(|_| panic!("the machine was lost while it ran {command:?}\n{}", self.console()))
    }

    fn agent(&self) -> &Mutex<Agent> {
        &self.running.as_ref().expect("it is off").agent
    }

    /// The end of what its kernel and its systemd had to say.
    pub(crate) fn console(&self) -> String {
        let Some(running) = &self.running else { return String::new() };
        let mut console = running.console.try_clone().unwrap();
        let mut bytes = Vec::new();
        console.rewind().and_then(|()| console.read_to_end(&mut bytes)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// An empty disk that it was given.
    pub(crate) fn disk(&self, name: &str) -> &File {
        &self.disks.iter().find(|disk| disk.name == name).unwrap().file
    }
}

impl Scene for Machine {
    async fn script(&self, script: &str) -> Result<String, ProcessError> {
        self.expect(&["bash", "-euo", "pipefail", "-c", script]).await
    }

    async fn write(&self, path: &str, content: String, mode: u32) -> Result<(), ProcessError> {
        let mode = format!("{mode:o}");
        self.run_with(&["install", "-D", "--mode", &mode, "/dev/stdin", path], content.as_bytes()).await.success().map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.power_cut();
        }
    }
}

/// A flush of the machine's is one of the file's, so that what a cut leaves is what the machine was promised.
fn drive(qemu: &mut Command, name: &str, file: &OwnedFd, format: &str) {
    let file = path(file);
    qemu.args(["-drive", &format!("if=none,id={name},file={file},format={format},cache=writeback,discard=unmap")])
        .args(["-device", &format!("virtio-blk-pci,drive={name},serial={name}")]);
}

/// The same file, for programs that are started from here to open once more.
fn handed_on(file: &impl std::os::fd::AsFd) -> OwnedFd {
    let copy = file.as_fd().try_clone_to_owned().unwrap();
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    copy
}

fn path(file: &OwnedFd) -> String {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()).to_string_lossy().into_owned()
}
