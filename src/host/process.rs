//! Running other programs: with a deadline, their output captured, and killed when nobody waits any more.
//!
//! Promise: no process started here outlives the future that runs it. Gap: only the process itself is killed, not what it
//! started; programs that start others are run in a container, whose end is the end of them all.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::File,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// A program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It did not start.
    #[error("starting {program}: {source}")]
    Start {
        /// What was to be run.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It ran, and waiting for it failed.
    #[error("waiting for {program}: {source}")]
    Wait {
        /// What was run.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{command} did not end within {} s and was killed", deadline.as_secs_f64())]
    Deadline {
        /// The whole command.
        command: String,
        /// How long it had.
        deadline: Duration,
    },
    /// It ended, and not well.
    #[error("{0}")]
    Failed(Box<Output>),
}

/// What to run, and how.
#[derive(Debug)]
pub struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    clean: bool,
    input: Input,
    deadline: Duration,
    shown_as: Option<String>,
}

/// What a program reads from standard input.
#[derive(Debug)]
enum Input {
    Bytes(Vec<u8>),
    File(File),
}

/// How a program ended and what it wrote.
#[derive(Clone)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// What it wrote to standard error, invalid UTF-8 replaced.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Invocation {
    /// A program, found on PATH, that has a minute to end.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            clean: false,
            input: Input::Bytes(Vec::new()),
            deadline: Duration::from_mins(1),
            shown_as: None,
        }
    }

    /// More arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// One more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Nothing of our own environment is handed on.
    #[must_use]
    pub fn clean_environment(mut self) -> Self {
        self.clean = true;
        self
    }

    /// What it reads from standard input; nothing by default.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(input.into());
        self
    }

    /// A file that it reads as its standard input, of any size.
    #[must_use]
    pub fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What messages call it, where the command itself would only confuse.
    #[must_use]
    pub fn shown_as(mut self, name: impl Into<String>) -> Self {
        self.shown_as = Some(name.into());
        self
    }

    /// Runs it to its end. A failing exit status is not an error here: see [`Output::success`].
    pub async fn run(self) -> Result<Output, ProcessError> {
        let started = Instant::now();
        let program = self.program.to_string_lossy().into_owned();
        let command = self.to_string();
        let mut child = self.command();
        let bytes = match self.input {
            Input::Bytes(bytes) => {
                child.stdin(Stdio::piped());
                bytes
            }
            Input::File(file) => {
                child.stdin(file);
                Vec::new()
            }
        };
        let mut child = child
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading all of its input is no error.
                let _ = stdin.write_all(&bytes).await;
            }
        };
        let finished = timeout(self.deadline, async { tokio::join!(feed, child.wait_with_output()).1 });
        let output = finished
            .await
            .map_err(|_| ProcessError::Deadline { command: shortened(&command, 200), deadline: self.deadline })?
            .map_err(|source| ProcessError::Wait { program, source })?;
        Ok(Output {
            command,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: started.elapsed(),
        })
    }

    /// Runs it with our own standard input, output and error, and without a deadline: what a person watches.
    pub async fn run_in_foreground(&self) -> Result<ExitStatus, ProcessError> {
        let program = self.program.to_string_lossy().into_owned();
        let mut child = self.command().spawn().map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        child.wait().await.map_err(|source| ProcessError::Wait { program, source })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.clean {
            command.env_clear();
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        command
    }
}

impl std::fmt::Display for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.shown_as {
            return f.write_str(name);
        }
        f.write_str(&self.program.to_string_lossy())?;
        self.arguments.iter().try_for_each(|argument| {
            f.write_char(' ')?;
            f.write_str(&argument.to_string_lossy())
        })
    }
}

impl Output {
    /// The output of a program that succeeded; otherwise an error that says what it wrote.
    pub fn success(self) -> Result<Self, ProcessError> {
        if self.status.success() { Ok(self) } else { Err(ProcessError::Failed(Box::new(self))) }
    }
}

/// As `Display`: a failed test shows what a person would see.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", shortened(&self.command, 200), self.status)?;
        [&self.stdout, &self.stderr].into_iter().filter(|text| !text.trim().is_empty()).try_for_each(|text| {
            f.write_char('\n')?;
            f.write_str(last_lines(text.trim_end(), 30))
        })
    }
}

fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

fn last_lines(text: &str, lines: usize) -> &str {
    text.rmatch_indices('\n').nth(lines - 1).map_or(text, |(start, _)| &text[start + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_status_are_captured() {
        let output = Invocation::new("sh").args(["-c", "cat; echo oops >&2; exit 3"]).input("in").run().await.unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.status.code()), ("in", "oops\n", Some(3)));
        assert_eq!(output.success().unwrap_err().to_string(), "sh -c cat; echo oops >&2; exit 3: exit status: 3\nin\noops");
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_killed() {
        let started = Instant::now();
        let error = Invocation::new("sleep").args(["60"]).deadline(Duration::from_millis(100)).run().await.unwrap_err();
        assert_eq!(error.to_string(), "sleep 60 did not end within 0.1 s and was killed");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_named() {
        let error = Invocation::new("no-such-program").run().await.unwrap_err();
        assert!(error.to_string().starts_with("starting no-such-program: No such file"));
    }

    #[tokio::test]
    async fn a_clean_environment_holds_only_what_was_given() {
        let output = Invocation::new("/usr/bin/env").clean_environment().env("A", "b").run().await.unwrap();
        assert_eq!(output.stdout, "A=b\n");
    }

    #[tokio::test]
    async fn more_input_than_a_pipe_holds_does_not_block() {
        let input = vec![b'x'; 1_000_000];
        let output = Invocation::new("cat").input(input).run().await.unwrap();
        assert_eq!(output.stdout.len(), 1_000_000);
    }
}
