//! Commands in a machine, by qemu's guest agent: JSON over a serial line that needs no network.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hostlet::host::process::Output;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

const ENVIRONMENT: [&str; 3] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"];

/// It answers at once, if it does: a machine that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// The agent does not answer (any more): the machine is not up yet, or its power was cut.
#[derive(Debug)]
pub(super) struct Silent;

/// The line to an agent.
#[derive(Debug)]
pub(super) struct Agent {
    line: BufReader<UnixStream>,
    questions: u64,
}

impl Agent {
    pub(super) fn new(line: UnixStream) -> Self {
        Self { line: BufReader::new(line), questions: 0 }
    }

    /// Whether it answers. What it was asked before and what it answered to that is passed over.
    pub(super) async fn answers(&mut self, within: Duration) -> bool {
        self.questions += 1;
        let id = self.questions;
        // The byte that is no JSON ends what a machine before this one left half-read.
        let question = [&b"\xff"[..], &line("guest-sync", &json!({ "id": id }))].concat();
        let asked = async {
            self.line.get_mut().write_all(&question).await.map_err(|_| Silent)?;
            loop {
                let answer = self.answer().await?;
                if answer["return"].as_u64() == Some(id) {
                    return Ok::<_, Silent>(());
                }
            }
        };
        matches!(timeout(within, asked).await, Ok(Ok(())))
    }

    /// Runs a command to its end.
    pub(super) async fn run(&mut self, command: &[&str], input: &[u8], deadline: Duration) -> Result<Output, Silent> {
        let begun = Instant::now();
        let arguments = json!({
            "path": command[0], "arg": command[1..], "env": ENVIRONMENT, "input-data": BASE64.encode(input), "capture-output": true,
        });
        let started = self.ask("guest-exec", &arguments).await?;
        let Some(pid) = started["return"]["pid"].as_u64() else { panic!("starting {command:?}: {started}") };
        let mut pause = Duration::from_millis(30);
        let ended = loop {
            let status = self.ask("guest-exec-status", &json!({ "pid": pid })).await?;
            if status["return"]["exited"] == true {
                break status["return"].clone();
            }
            assert!(begun.elapsed() < deadline, "{command:?} did not end within {} s", deadline.as_secs());
            sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(300));
        };
        let raw = match ended["signal"].as_i64() {
            Some(signal) => signal,
            None => ended["exitcode"].as_i64().unwrap_or_default() << 8,
        };
        let text = |name: &str| {
            let bytes = BASE64.decode(ended[name].as_str().unwrap_or_default()).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Output {
            command: command.join(" "),
            status: ExitStatus::from_raw(i32::try_from(raw).unwrap_or(-1)),
            stdout: text("out-data"),
            stderr: text("err-data"),
            elapsed: begun.elapsed(),
        })
    }

    async fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, Silent> {
        let asked = async {
            self.line.get_mut().write_all(&line(command, arguments)).await.map_err(|_| Silent)?;
            self.answer().await
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(Silent))
    }

    async fn answer(&mut self) -> Result<Value, Silent> {
        let mut text = Vec::new();
        match self.line.read_until(b'\n', &mut text).await {
            Ok(count) if count > 0 => {}
            _ => return Err(Silent),
        }
        Ok(serde_json::from_slice(&text).unwrap_or(Value::Null))
    }
}

fn line(command: &str, arguments: &Value) -> Vec<u8> {
    format!("{}\n", json!({ "execute": command, "arguments": arguments })).into_bytes()
}
