//! Points at which a test kills this process, as a power cut would: they number themselves, so that a test reaches each.
//!
//! Promise: outside of a rehearsal, which only the marker in /run tells, a point does nothing at all.
//! `HOSTLET_TEST_KILL_AT` ends the process with SIGKILL at a point: its number, or its name; of several, one a line, at the
//! first that it passes. `HOSTLET_TEST_HOLD_AT` has it wait there for ever, for a test that cuts the machine's power.
//! `HOSTLET_TEST_COUNT=FILE` appends the number and the name of each point to a file.

use std::{
    env, fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::model::layout;

/// What the environment asks for.
#[derive(Debug, Default)]
struct Mode {
    kill_at: Option<String>,
    hold_at: Option<String>,
    names: Option<PathBuf>,
}

impl Mode {
    fn read() -> Self {
        if !Path::new(layout::REHEARSAL).exists() {
            return Self::default();
        }
        Self {
            kill_at: env::var("HOSTLET_TEST_KILL_AT").ok(),
            hold_at: env::var("HOSTLET_TEST_HOLD_AT").ok(),
            names: env::var_os("HOSTLET_TEST_COUNT").map(PathBuf::from),
        }
    }

    fn is_idle(&self) -> bool {
        self.kill_at.is_none() && self.hold_at.is_none() && self.names.is_none()
    }
}

/// A point at which the process may be killed. Between two of them nothing happens that a kill could tear further.
pub fn checkpoint(name: impl fmt::Display) {
    static MODE: OnceLock<Mode> = OnceLock::new();
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let mode = MODE.get_or_init(Mode::read);
    if mode.is_idle() {
        return;
    }
    let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(path) = &mode.names
        && let Ok(mut file) = fs::OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = writeln!(file, "{number} {name}");
    }
    let is_here = |points: &Option<String>| {
        let mut points = points.iter().flat_map(|points| points.lines());
        points.any(|at| at == number.to_string() || at == name.to_string())
    };
    if is_here(&mode.kill_at) {
        let _ = kill(Pid::this(), Signal::SIGKILL);
        // The signal takes a moment to reach every thread, and this one must not go on.
        wait_for_ever();
    }
    if is_here(&mode.hold_at) {
        wait_for_ever();
    }
}

fn wait_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
