//! The journal of the run under way: what undoes each change, on the disk before the change is made.
//!
//! Promise: when [`Journal::record`] returns, a power cut cannot lose the entry. A line that a power cut tore is the last
//! one, and its change was never made. Gap: none known; a journal from a newer hostlet is refused rather than guessed at.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Undo;
use crate::host::files::{self, FileError};

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
}

impl Header {
    /// A header of this hostlet's format.
    pub fn new(command: impl Into<String>, started: impl Into<String>) -> Self {
        Self { format: FORMAT, command: command.into(), started: started.into() }
    }
}

/// The journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line in the middle is not an entry.
    #[error("line {line} of {} is not an entry of a journal: {source}", path.display())]
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
        let path = directory.join("journal");
        let file = files::create_new(&path, 0o600)?;
        files::sync_directory(directory)?;
        let mut journal = Self { path, file };
        journal.append(header)?;
        Ok(journal)
    }

    /// Continues a journal that was read.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join("journal");
        Ok(Self { file: files::open_append(&path)?, path })
    }

    /// Makes an entry durable.
    pub fn record(&mut self, undo: &Undo) -> Result<(), JournalError> {
        self.append(undo)
    }

    /// Ends the run: from now on there is nothing to undo.
    pub fn close(self) -> Result<(), JournalError> {
        Ok(files::remove_file(&self.path)?)
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

/// Reads a journal that an earlier run left; `None` where there is none.
pub fn read(directory: &Path) -> Result<Option<(Header, Vec<Undo>)>, JournalError> {
    let path = directory.join("journal");
    let Some(bytes) = files::if_present(files::read(&path))? else { return Ok(None) };
    parse(&path, &String::from_utf8_lossy(&bytes)).map(Some)
}

fn parse(path: &Path, text: &str) -> Result<(Header, Vec<Undo>), JournalError> {
    let lines: Vec<&str> = text.lines().collect();
    // What does not end with a line feed was torn by a power cut.
    let whole = if text.ends_with('\n') { lines.len() } else { lines.len().saturating_sub(1) };
    let damaged = |index: usize| move |source| JournalError::Damaged { path: path.to_owned(), line: index + 1, source };
    let Some(first) = lines[..whole].first() else {
        return Ok((Header::new("unknown", ""), Vec::new()));
    };
    let header: Header = serde_json::from_str(first).map_err(damaged(0))?;
    if header.format > FORMAT {
        return Err(JournalError::Newer { path: path.to_owned(), format: header.format });
    }
    let entry = |(index, line): (usize, &&str)| serde_json::from_str(line).map_err(damaged(index));
    let undos = lines[..whole].iter().enumerate().skip(1).map(entry).collect::<Result<_, _>>()?;
    Ok((header, undos))
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
        let error = parse(Path::new("journal"), "{\"format\":99,\"command\":\"install\",\"started\":\"\"}\n").unwrap_err();
        assert!(error.to_string().contains("format 99"), "{error}");
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
