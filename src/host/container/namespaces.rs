//! A script in mount and pid namespaces of its own, held by a lifeline.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::ContainerError;
use crate::host::process::ProcessError;

const JANITOR: &str = include_str!("janitor.sh");
/// Programs that the scripts call, beside those that every system has, and Debian's packages with them.
const NEEDS: [(&str, &str); 5] = [
    ("bash", "bash"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("tar", "tar"),
];
/// How much of the console is kept for messages.
const CONSOLE_KEPT: usize = 32 * 1024;

/// A script in namespaces of its own, and its lifeline.
#[derive(Debug)]
pub(super) struct Namespaces {
    janitor: Child,
    lifeline: Option<ChildStdin>,
    /// Lines of its standard output.
    said: Arc<Mutex<Vec<String>>>,
    console: Arc<Mutex<Vec<u8>>>,
}

impl Namespaces {
    pub(super) fn start(script: &str, arguments: &[&std::ffi::OsStr]) -> Result<Self, ContainerError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        check_needs()?;
        let name = format!("hostlet-rehearsal-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut janitor = Command::new("bash")
            .args(["-c", JANITOR, "janitor", &name, script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ProcessError::Start { program: "bash".to_owned(), source })?;
        let (said, console) = (Arc::default(), Arc::default());
        if let Some(stdout) = janitor.stdout.take() {
            let said = Arc::clone(&said);
            std::thread::spawn(move || collect_lines(stdout, &said));
        }
        if let Some(stderr) = janitor.stderr.take() {
            let console = Arc::clone(&console);
            std::thread::spawn(move || collect_end(stderr, &console));
        }
        Ok(Self { lifeline: janitor.stdin.take(), janitor, said, console })
    }

    pub(super) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.janitor.try_wait().ok().flatten()
    }

    pub(super) fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned()
    }

    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().filter_map(|line| line.strip_prefix("cgroup ")).map(PathBuf::from).collect()
    }
}

fn check_needs() -> Result<(), ContainerError> {
    // Its owner is our effective user.
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return Err(ContainerError::NotRoot);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let missing = NEEDS.iter().find(|(program, _)| !directories.iter().any(|directory| directory.join(program).is_file()));
    missing.map_or(Ok(()), |&(program, package)| Err(ContainerError::Missing { program, package }))
}

impl Drop for Namespaces {
    /// Ends everything in there, and waits until it has: the caller may count on the machine being as it was.
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.janitor.wait();
    }
}

fn collect_lines(stdout: impl Read, said: &Mutex<Vec<String>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

fn collect_end(mut stderr: impl Read, console: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        let mut kept = console.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(CONSOLE_KEPT);
        kept.drain(..surplus);
    }
}
