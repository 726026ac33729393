//! The outcome of a run, for people and programs that look later: cloud-init, monitoring, `hostlet status`.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    health::chain::Readiness,
    host::files,
    model::{Component, Signature},
};

/// Where the outcome of the last run lies, after failure as well as success.
pub const PATH: &str = "/run/hostlet/result.json";
/// Beside it, one of these two is there, for those who only wait for the end. Its content is one line that says how it was.
const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";

/// How a run ended. Each has the exit code of the table in README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should, or there was nothing to do.
    Success,
    /// `--exit-code` was given, and there are differences.
    Differences,
    /// The command line or the configuration is wrong.
    Misconfigured,
    /// The preflight refused.
    Refused,
    /// An artifact could not be fetched or verified.
    FetchFailed,
    /// Activation failed, and the previous state is restored.
    Restored,
    /// Activation failed, and so did restoring: a person is needed.
    Broken,
    /// Another run holds the lock.
    Busy,
    /// All is installed and healthy, and the Node did not become Ready in time. Nothing is undone.
    NotReady,
    /// A signal ended the run before anything was changed.
    Interrupted,
    /// hostlet has a bug.
    Bug,
}

impl Outcome {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Differences => 1,
            Self::Misconfigured => 2,
            Self::Refused => 3,
            Self::FetchFailed => 4,
            Self::Restored => 5,
            Self::Broken => 6,
            Self::Busy => 7,
            Self::NotReady => 8,
            Self::Bug => 70,
            // As shells count a program that SIGINT ended.
            Self::Interrupted => 130,
        }
    }

    /// As it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Differences => "differences",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::FetchFailed => "fetch-failed",
            Self::Restored => "restored",
            Self::Broken => "broken",
            Self::Busy => "busy",
            Self::NotReady => "not-ready",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The result of one run. Readers ignore fields that they do not know; fields are added and never change their meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunResult {
    /// hostlet's version.
    pub hostlet_version: String,
    /// The command: `install`.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code.
    pub exit_code: u8,
    /// When it began, in RFC 3339.
    pub started: Timestamp,
    /// When it ended, in RFC 3339.
    pub finished: Timestamp,
    /// The generation that is active now, if there is one.
    #[serde(default)]
    pub generation: Option<u64>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<RunError>,
    /// The findings of the preflight, as `hostlet preflight --output json` prints them.
    #[serde(default)]
    pub findings: Vec<serde_json::Value>,
    /// The changes that were made to the host, in order.
    #[serde(default)]
    pub changes: Vec<ChangeMade>,
    /// Who signed what is installed, by component.
    #[serde(default)]
    pub signatures: BTreeMap<Component, Signature>,
    /// How far the Node came; none where there is no cluster, or where it was not waited for.
    #[serde(default)]
    pub readiness: Option<Readiness>,
}

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunError {
    /// The error.
    pub message: String,
    /// What caused it, the outermost cause first.
    pub causes: Vec<String>,
    /// What to do about it, where that is known.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// One change of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeMade {
    /// What it did.
    pub description: String,
    /// Why.
    pub reason: String,
    /// It was undone after a failure.
    #[serde(default)]
    pub undone: bool,
}

impl RunResult {
    /// A result without generation, error, findings and changes, for the caller to add.
    #[must_use]
    pub fn new(command: impl Into<String>, outcome: Outcome, started: Timestamp, finished: Timestamp) -> Self {
        Self {
            hostlet_version: crate::version::VERSION.to_owned(),
            command: command.into(),
            outcome,
            exit_code: outcome.exit_code(),
            started,
            finished,
            generation: None,
            error: None,
            findings: Vec::new(),
            changes: Vec::new(),
            signatures: BTreeMap::new(),
            readiness: None,
        }
    }
}

impl RunError {
    /// From an error and its chain of sources.
    #[must_use]
    pub fn from_chain(error: &(dyn std::error::Error + 'static), remedy: Option<String>) -> Self {
        let message = error.to_string();
        let chain = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
        // Many errors name their cause in their own message.
        let causes = chain.filter(|cause| !message.contains(cause)).collect();
        Self { message, causes, remedy }
    }
}

/// Writes a result in one step: a reader sees the whole of the old one or the whole of the new one. Then its sentinel, so that
/// who waited for that finds the result.
pub fn write(path: &Path, result: &RunResult) -> files::Result<()> {
    if let Some(directory) = path.parent() {
        files::create_directory(directory, 0o755)?;
    }
    let text = serde_json::to_string_pretty(result).map_err(|error| files::FileError::doing("writing", path)(error.into()))?;
    files::write(path, format!("{text}\n").as_bytes(), 0o644)?;
    write_sentinel(path, result)
}

/// Never both: who waits for one of them must not see the last run's.
fn write_sentinel(beside: &Path, result: &RunResult) -> files::Result<()> {
    let (name, other) = if result.exit_code == 0 { (SUCCEEDED, FAILED) } else { (FAILED, SUCCEEDED) };
    files::if_present(files::remove_file(&beside.with_file_name(other)))?;
    let line = format!("{}: {} (exit code {})\n", result.command, result.outcome.as_str(), result.exit_code);
    files::write(&beside.with_file_name(name), line.as_bytes(), 0o644)
}

/// Reads the result of the last run; none where there was none since the last boot.
pub fn read(path: &Path) -> files::Result<Option<RunResult>> {
    let Some(text) = files::if_present(files::read_text(path))? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| files::FileError::doing("reading", path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: Outcome) -> RunResult {
        let time = |text: &str| text.parse().unwrap();
        RunResult::new("install", outcome, time("2026-11-23T02:00:00Z"), time("2026-11-23T02:00:05Z"))
    }

    #[test]
    fn a_result_is_read_as_it_was_written_and_replaces_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hostlet/result.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &result(Outcome::Success)).unwrap();
        let mut failed = result(Outcome::Restored);
        failed.error = Some(RunError { message: "kubelet died".to_owned(), causes: vec!["exit 1".to_owned()], remedy: None });
        failed.changes = vec![ChangeMade { description: "link".to_owned(), reason: "new".to_owned(), undone: true }];
        write(&path, &failed).unwrap();
        assert_eq!(read(&path).unwrap(), Some(failed));
        let sentinel = files::read_text(&path.with_file_name("failed")).unwrap();
        assert_eq!(sentinel, "install: restored (exit code 5)\n");
        let names = |path: &Path| {
            let mut names = files::names(path.parent().unwrap()).unwrap();
            names.sort();
            names
        };
        assert_eq!(names(&path), ["failed", "result.json"]);
        write(&path, &result(Outcome::Success)).unwrap();
        assert_eq!(names(&path), ["result.json", "succeeded"]);
    }

    #[test]
    fn fields_of_a_newer_hostlet_are_ignored_and_times_are_rfc_3339() {
        let mut json = serde_json::to_value(result(Outcome::Refused)).unwrap();
        assert_eq!((&json["exit-code"], &json["started"]), (&3.into(), &"2026-11-23T02:00:00Z".into()));
        json["weather"] = "fine".into();
        assert_eq!(serde_json::from_value::<RunResult>(json).unwrap(), result(Outcome::Refused));
    }

    #[test]
    fn outcomes_are_written_as_they_are_named() {
        use Outcome::{
            Broken, Bug, Busy, Differences, FetchFailed, Interrupted, Misconfigured, NotReady, Refused, Restored, Success,
        };
        let all =
            [Success, Differences, Misconfigured, Refused, FetchFailed, Restored, Broken, Busy, NotReady, Bug, Interrupted];
        for outcome in all {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        assert_eq!(all.map(Outcome::exit_code), [0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130]);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the kubelet did not become healthy")]
    struct Unhealthy {
        source: files::FileError,
    }

    #[test]
    fn an_errors_causes_are_listed_outermost_first_and_none_that_the_message_has() {
        let source = files::read(Path::new("/nonexistent/x")).unwrap_err();
        let text = source.to_string();
        let run_error = RunError::from_chain(&Unhealthy { source }, Some("create it".to_owned()));
        assert_eq!(run_error.causes, [text.as_str(), "No such file or directory (os error 2)"]);
        let run_error = RunError::from_chain(&files::read(Path::new("/nonexistent/x")).unwrap_err(), None);
        assert_eq!((run_error.message, run_error.causes), (text, Vec::new()));
    }
}
