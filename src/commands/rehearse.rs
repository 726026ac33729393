//! `hostlet rehearse`

use serde_json::json;

use super::Done;
use crate::{
    cli::Global,
    config::Settings,
    host::look,
    output::{Event, Events},
    pipeline::{self, Failure},
    rehearse::{self, RehearsalOptions},
};

pub(super) async fn run(global: &Global, events: Events, mut arguments: Vec<String>) -> Result<Done, Failure> {
    pipeline::as_root()?;
    for set in &global.set {
        arguments.extend(["--set".to_owned(), set.clone()]);
    }
    let configuration = look::exists(&global.config).then(|| global.config.clone());
    let drop_in = if configuration.is_some() { without_a_network(&super::settings(global)?, &events) } else { None };
    let rehearsal = rehearse::run(RehearsalOptions { configuration, drop_in, arguments }, &events).await?;
    let json = json!({ "good": rehearsal.is_good(), "install-exit-code": rehearsal.install.code() });
    // What was rehearsed is told by its own exit code.
    let code = rehearsal.install.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(70);
    let code = if code == 0 && !rehearsal.is_good() { 1 } else { code };
    Ok(Done::new(&rehearsal, &json)?.exit_code(code))
}

/// What a copy without a network needs beside the user's configuration: the API server cannot be reached from it. The user's
/// own waivers stay, since a list of a drop-in replaces the one before it.
fn without_a_network(settings: &Settings, events: &Events) -> Option<String> {
    const CHECK: &str = "apiserver";
    let mut waivers: Vec<_> =
        settings.preflight.waive.iter().map(|waiver| (waiver.check.clone(), waiver.reason.clone())).collect();
    if settings.cluster.is_none() || waivers.iter().any(|(check, _)| check == CHECK) {
        return None;
    }
    let text = "the copy has no network beyond itself, so the API server is not looked for; everything else is checked";
    events.emit(Event::Note { text: text.to_owned() });
    waivers.push((CHECK.to_owned(), "a rehearsal's copy has no network beyond itself".to_owned()));
    let text = |text: String| toml::Value::String(text).to_string();
    let lines =
        waivers.into_iter().map(|(check, reason)| format!("    {{ check = {}, reason = {} }},\n", text(check), text(reason)));
    Some(format!("[preflight]\nwaive = [\n{}]\n", lines.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{Configuration, Fragment},
        output::Silent,
    };

    fn settings(texts: &[&str]) -> Settings {
        let fragment = |text: &&str| Fragment { name: "test.toml".to_owned(), text: (*text).to_owned() };
        Configuration::new(std::path::Path::new("test.toml"), texts.iter().map(fragment).collect(), Vec::new())
            .settings()
            .unwrap()
    }

    #[test]
    fn the_users_waivers_stay_beside_the_one_for_the_api_server() {
        let own = "[preflight]\nwaive = [{ check = \"swap\", reason = \"zram \\\"only\\\"\" }]\n[flannel]\nenabled = false\n";
        let events: Events = Arc::new(Silent);
        assert_eq!(without_a_network(&settings(&[own]), &events), None, "without a cluster nothing is missing");
        let cluster = "[cluster]\nserver = \"https://10.0.0.1:6443\"\nca-file = \"/ca.crt\"\ntoken-file = \"/token\"\n";
        let drop_in = without_a_network(&settings(&[own, cluster]), &events).unwrap();
        let merged = settings(&[own, cluster, &drop_in]);
        let waived: Vec<_> = merged.preflight.waive.iter().map(|waiver| waiver.check.as_str()).collect();
        assert_eq!(waived, ["swap", "apiserver"]);
        assert_eq!(merged.preflight.waive[0].reason, "zram \"only\"");
        assert_eq!(without_a_network(&merged, &events), None);
    }
}
