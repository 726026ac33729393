//! `hostlet rehearse`

use serde_json::json;

use super::Done;
use crate::{
    cli::Global,
    host::look,
    output::Events,
    pipeline::{self, Failure},
    rehearse::{self, RehearsalOptions},
};

pub(super) async fn run(global: &Global, events: Events, mut arguments: Vec<String>) -> Result<Done, Failure> {
    pipeline::as_root()?;
    for set in &global.set {
        arguments.extend(["--set".to_owned(), set.clone()]);
    }
    let configuration = look::exists(&global.config).then(|| global.config.clone());
    let rehearsal = rehearse::run(RehearsalOptions { configuration, arguments }, &events).await?;
    let json = json!({ "good": rehearsal.is_good(), "install-exit-code": rehearsal.install.code() });
    // What was rehearsed is told by its own exit code.
    let code = rehearsal.install.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(70);
    let code = if code == 0 && !rehearsal.is_good() { 1 } else { code };
    Ok(Done::new(&rehearsal, &json)?.exit_code(code))
}
