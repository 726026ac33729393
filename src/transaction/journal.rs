//! The journal of the run under way: what undoes each change, on the disk before the change is made.
//!
//! Promise: when [`Journal::record`] returns, a power cut cannot lose the entry. A line that a power cut tore is the last
//! one, and its change was never made. A journal from a newer hostlet is refused rather than guessed at, and so is one with
//! a line that is whole and unknown. Gap: none known.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Undo;
use crate::host::{
    checkpoint::checkpoint,
    files::{self, FileError},
    look,
    moment::Moment,
};

const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Header {
    format: u32,
    /// The command that runs: `install`.
    pub command: String,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// The same, for comparing: what a process that was started later has read, the run may have written.
    #[serde(default)]
    pub since: Moment,
}

impl Header {
    /// A header of this hostlet's format.
    pub fn new(command: impl Into<String>, started: impl Into<String>) -> Self {
        Self { format: FORMAT, command: command.into(), started: started.into(), since: Moment::default() }
    }

    /// The same of a run that began then.
    #[must_use]
    pub fn begun(self, since: Moment) -> Self {
        Self { since, ..self }
    }
}

/// The journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line in the middle is not an entry.
    #[error(
        "line {line} of {} is not an entry of a journal: {source}; each line says how one change is undone, the last one \
         first: undo by hand what is still to be undone, remove the file, and run `hostlet install`",
        path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A newer hostlet wrote it.
    #[error("{} has format {format}; this hostlet knows {FORMAT}: recover with the hostlet that wrote it", path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Starts a journal; there must be none.
    pub fn create(directory: &Path, header: &Header) -> Result<Self, JournalError> {
        files::create_directory(directory, 0o700)?;
        let path = path(directory);
        let file = files::create_new(&path, 0o600)?;
        checkpoint("journal: an empty file");
        files::sync_directory(directory)?;
        let mut journal = Self { path, file };
        journal.append(header)?;
        checkpoint("journal: its header");
        Ok(journal)
    }

    /// Makes an entry durable.
    pub fn record(&mut self, undo: &Undo) -> Result<(), JournalError> {
        self.append(undo)?;
        checkpoint(format_args!("journal: an entry: {undo}"));
        Ok(())
    }

    /// Ends the run: from now on there is nothing to undo. A journal that is gone, and may come back after a power cut, is
    /// as good: what it would undo is whole.
    pub fn close(&self) -> Result<(), JournalError> {
        checkpoint("journal: before its end");
        match files::remove_file(&self.path) {
            Err(error) if look::exists(&self.path) => return Err(error.into()),
            Err(error) => tracing::warn!("{error}"),
            Ok(()) => {}
        }
        checkpoint("journal: after its end");
        Ok(())
    }

    fn append(&mut self, entry: &impl Serialize) -> Result<(), JournalError> {
        let mut line = serde_json::to_string(entry).map_err(|source| self.damaged(source))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(FileError::doing("writing", &self.path))?;
        self.file.sync_data().map_err(FileError::doing("syncing", &self.path))?;
        Ok(())
    }

    fn damaged(&self, source: serde_json::Error) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), line: 0, source }
    }
}

/// The journal of the run under way, in the directory of hostlet's state.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    directory.join("journal")
}

/// Reads a journal that an earlier run left; `None` where there is none.
pub fn read(directory: &Path) -> Result<Option<(Header, Vec<Undo>)>, JournalError> {
    let path = path(directory);
    let Some(bytes) = files::if_present(files::read(&path))? else { return Ok(None) };
    parse(&path, &String::from_utf8_lossy(&bytes)).map(Some)
}

fn parse(path: &Path, text: &str) -> Result<(Header, Vec<Undo>), JournalError> {
    let lines = whole_lines(text);
    let damaged = |index: usize| move |source| JournalError::Damaged { path: path.to_owned(), line: index + 1, source };
    let Some(first) = lines.first() else {
        return Ok((Header::new("unknown", ""), Vec::new()));
    };
    let format: Format = serde_json::from_str(first).map_err(damaged(0))?;
    if format.format > FORMAT {
        return Err(JournalError::Newer { path: path.to_owned(), format: format.format });
    }
    let header: Header = serde_json::from_str(first).map_err(damaged(0))?;
    let entry = |(index, line): (usize, &&str)| serde_json::from_str(line).map_err(damaged(index));
    let undos = lines.iter().enumerate().skip(1).map(entry).collect::<Result<_, _>>()?;
    Ok((header, undos))
}

/// What is read of a header before the rest: of a newer one the rest may be anything.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The lines that a power cut did not tear. Only the last one can be torn: it lacks its line feed, or, where the file system
/// had made room for it and not written all of it, it is no JSON.
fn whole_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    let is_torn = |line: &&str| {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        !text.ends_with('\n') || parsed.is_err()
    };
    if lines.last().is_some_and(is_torn) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_entries() -> Vec<Undo> {
        vec![
            Undo::SwitchBack { to: Some(3) },
            Undo::RestorePath { path: "/etc/a".into(), prior: super::super::Prior::Link { target: "b".into() } },
            Undo::ReloadSystemd,
        ]
    }

    #[test]
    fn what_was_recorded_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let header = Header::new("install", "2026-11-23T00:00:00Z");
        let mut journal = Journal::create(directory.path(), &header).unwrap();
        for entry in some_entries() {
            journal.record(&entry).unwrap();
        }
        assert_eq!(read(directory.path()).unwrap(), Some((header, some_entries())));
        journal.close().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
    }

    #[test]
    fn a_second_journal_is_not_begun_over_an_unfinished_one() {
        let directory = tempfile::tempdir().unwrap();
        let header = Header::new("install", "");
        let _first = Journal::create(directory.path(), &header).unwrap();
        assert!(Journal::create(directory.path(), &header).is_err());
    }

    #[test]
    fn a_journal_of_a_newer_hostlet_is_refused() {
        let error = parse(Path::new("journal"), "{\"format\":99,\"run\":\"install\"}\n").unwrap_err();
        assert!(error.to_string().contains("format 99"), "{error}");
    }

    #[test]
    fn an_entry_that_is_whole_and_unknown_is_never_passed_over() {
        let header = serde_json::to_string(&Header::new("install", "now")).unwrap();
        let error = parse(Path::new("journal"), &format!("{header}\n{{\"undo\":\"dance\"}}\n")).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_line_that_was_written_in_part_is_torn_even_with_its_line_feed() {
        let header = serde_json::to_string(&Header::new("install", "now")).unwrap();
        let text = format!("{header}\n{{\"undo\":\"reload-systemd\"}}\n{{\"un\0\0\0\0\0\0\n");
        assert_eq!(parse(Path::new("journal"), &text).unwrap().1, [Undo::ReloadSystemd]);
        assert_eq!(parse(Path::new("journal"), "\0\0\0\0\n").unwrap().1, []);
    }

    proptest! {
        #[test]
        fn a_journal_torn_anywhere_gives_the_entries_before_the_tear(cut in 0usize..600) {
            let mut text = serde_json::to_string(&Header::new("install", "now")).unwrap() + "\n";
            let mut ends = vec![text.len()];
            for entry in some_entries() {
                text.push_str(&(serde_json::to_string(&entry).unwrap() + "\n"));
                ends.push(text.len());
            }
            let cut = cut.min(text.len());
            let (_, undos) = parse(Path::new("journal"), &text[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            prop_assert_eq!(undos, some_entries()[..whole].to_vec());
        }

        #[test]
        fn no_journal_makes_the_reader_panic(text in ".{0,200}") {
            let _ = parse(Path::new("journal"), &text);
        }
    }
}
