//! What distinguishes two stand-ins of one kind: a trailer at the end of the executable, so that each release is another file
//! with another digest, as real ones are.

use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    host::files::{self, FileError},
    model::Version,
};

const MARK: &str = "\nhostlet-stand-in ";
/// More than any trailer has.
const WINDOW: u64 = 1024;

/// Which release an executable plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version, without a v.
    pub version: String,
    /// What is wrong with it.
    #[serde(default)]
    pub behaviour: Behaviour,
}

/// What a release does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Nothing.
    #[default]
    Good,
    /// Ends with an error before it is ready.
    ExitAtStart,
    /// Is ready, and ends with an error half a second later; each time it is started.
    CrashAfterReady,
    /// Is ready and healthy for three seconds, then ends with an error; each time it is started.
    Loop,
    /// Never becomes ready.
    Hang,
    /// Is ready without ever serving its health endpoint.
    NoHealthz,
    /// Runs and is healthy, and says of its Node that it is not Ready.
    NeverReady,
    /// Is ready after so many seconds.
    SlowReady(u64),
}

impl Release {
    /// The release at the end of an executable; one that has none plays the newest and is good.
    pub fn of(executable: &Path) -> Result<Self, FileError> {
        let mut file = files::open(executable)?;
        let length = file.seek(SeekFrom::End(0)).map_err(FileError::doing("seeking in", executable))?;
        let window = length.saturating_sub(WINDOW);
        file.seek(SeekFrom::Start(window)).map_err(FileError::doing("seeking in", executable))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).map_err(FileError::doing("reading", executable))?;
        let end = String::from_utf8_lossy(&end);
        let release = end.rsplit_once(MARK).and_then(|(_, json)| serde_json::from_str(json.trim_end()).ok());
        Ok(release.unwrap_or_else(|| Self { version: "1.36.4".to_owned(), behaviour: Behaviour::Good }))
    }

    /// What is appended to an executable to make it play this release.
    #[must_use]
    pub fn trailer(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK}{json}\n")
    }

    /// Its version as hostlet reads it; 0.0.0 where it has none.
    #[must_use]
    pub fn parsed(&self) -> Version {
        self.version.parse().unwrap_or(Version::new(0, 0, 0))
    }

    /// Major and minor version; (0, 0) when it has none.
    #[must_use]
    pub fn minor(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

impl Behaviour {
    /// How long it lives after it was ready, where that is limited.
    pub(super) const fn lives(self) -> Option<Duration> {
        match self {
            Self::CrashAfterReady => Some(Duration::from_millis(500)),
            Self::Loop => Some(Duration::from_secs(3)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_from_the_end_of_its_executable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet");
        let release = Release { version: "1.35.2".to_owned(), behaviour: Behaviour::SlowReady(3) };
        files::write(&path, format!("{}{}", "x".repeat(5000), release.trailer()).as_bytes(), 0o755).unwrap();
        assert_eq!(Release::of(&path).unwrap(), release);
        assert_eq!(release.minor(), (1, 35));
    }

    #[test]
    fn an_executable_without_a_trailer_is_good() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet");
        files::write(&path, b"short", 0o755).unwrap();
        assert_eq!(Release::of(&path).unwrap().behaviour, Behaviour::Good);
    }

    #[test]
    fn behaviours_are_written_as_people_would() {
        let release: Release = serde_json::from_str(r#"{"version":"1.36.4","behaviour":"crash-after-ready"}"#).unwrap();
        assert_eq!(release.behaviour, Behaviour::CrashAfterReady);
        let release: Release = serde_json::from_str(r#"{"version":"1.36.4","behaviour":{"slow-ready":3}}"#).unwrap();
        assert_eq!(release.behaviour, Behaviour::SlowReady(3));
    }
}
