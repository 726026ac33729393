//! Where standard error leads, and a last word on the machine's console.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::sys::stat::fstat;

/// Whether standard error is a terminal that can move its cursor.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// How many columns the terminal has that standard output leads to; none where it leads elsewhere.
#[must_use]
pub fn stdout_columns() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(terminal_size::Width(columns), _)| columns.into())
}

/// Writes one line to a console that nobody may be reading. Failing to is no failure of the run.
pub fn announce(console: &Path, line: &str) {
    // A serial line without a reader blocks its writer for ever, otherwise.
    let opened = OpenOptions::new().write(true).custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK).open(console);
    if let Ok(mut file) = opened {
        let _ = file.write_all(format!("\r\n{line}\r\n").as_bytes());
    }
}

/// Whether standard error is a stream to the journal: systemd says which in `JOURNAL_STREAM`, and a process that was
/// started with its output elsewhere inherits the variable all the same (systemd.exec(5)).
#[must_use]
pub fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|status| names(&stream, status.st_dev, status.st_ino))
}

/// Whether `device:inode` names this file.
fn names(stream: &OsStr, device: u64, inode: u64) -> bool {
    let parsed = stream.to_str().and_then(|text| text.split_once(':'));
    parsed.is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(names(OsStr::new("9:42"), 9, 42));
        for other in ["", "9", "9:41", "8:42", "9:42:1", "x:y"] {
            assert!(!names(OsStr::new(other), 9, 42), "{other}");
        }
    }
}
