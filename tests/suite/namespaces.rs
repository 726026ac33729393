//! Tests that mount run alone: as PID 1 of mount and pid namespaces of their own, so that "the host" is theirs.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tests set the host up")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hostlet::host::{
    mounts::{self, Tmpfs},
    propagation::Observer,
};

const ALONE: &str = "HOSTLET_TEST_ALONE";

/// Runs the body in namespaces of its own, by running this test, `module::name`, again in them.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some_and(|name| name == test) {
        return body();
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, test)
        .output()
        .expect("unshare (package util-linux) is needed");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "needs root, or failed:\n{printed}");
    assert!(printed.contains("1 passed"), "{test} is not the name of a test:\n{printed}");
}

/// How the mounts below the arena travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arena {
    Shared,
    Private,
}

/// A file system for the test alone, with a directory `kubelet` in it.
pub(crate) fn arena(kind: Arena) -> PathBuf {
    let place = Path::new("/mnt");
    mounts::mount_tmpfs(place, &Tmpfs { source: "arena", kibibytes: 1024 }).unwrap();
    if kind == Arena::Shared {
        mounts::make_shared(place).unwrap();
    }
    let root = place.join("kubelet");
    fs::create_dir(&root).unwrap();
    root
}

/// A process that does nothing, in a mount namespace of its own; ended when dropped.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// `propagation` as unshare(1) takes it; the script prepares the namespace.
    pub(crate) fn in_its_own_namespace(name: &'static str, propagation: &str, script: &str) -> Self {
        let script = format!("{script}\necho ready; exec sleep 1000");
        Self::run(name, Command::new("unshare").args(["--mount", "--propagation", propagation, "sh", "-ec", &script]))
    }

    /// In the test's namespace.
    pub(crate) fn on_the_host(name: &'static str) -> Self {
        Self::run(name, Command::new("sh").args(["-c", "echo ready; exec sleep 1000"]))
    }

    fn run(name: &'static str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{name} did not come up");
        Self { child, name }
    }

    pub(crate) fn observer(&self) -> Observer {
        Observer { name: self.name.to_owned(), pid: self.child.id() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
