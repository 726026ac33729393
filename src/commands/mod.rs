//! The commands: from flags to a result that is printed. One file each.

mod bundle;
mod configuration;
mod install;
mod plan;
mod preflight;
mod recover;
mod rehearse;
mod respond;
mod rollback;
mod run;
mod status;
mod uninstall;
mod upgrade;

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cli, Command, Global, OutputFormat},
    config::{Catalog, ConfigError, Configuration, Fragment, PeersFile, Settings},
    host::{
        files::{self, FileError},
        fragments, signals,
    },
    output::{self, Event, Events, Format, Outcome, Verbosity},
    pipeline::{Context, Failure, Waits},
};

/// What a command came to: what is printed, and the exit code.
pub(crate) struct Done {
    text: String,
    json: serde_json::Value,
    exit_code: u8,
    /// What else than success it is, for whoever reads events.
    outcome: Option<(Outcome, String)>,
    /// Standard output carries something else.
    silent: bool,
}

impl Done {
    fn new(text: &impl ToString, json: &impl serde::Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_value(json).map_err(|error| Failure::Bug(error.to_string()))?;
        Ok(Self { text: text.to_string(), json, exit_code: 0, outcome: None, silent: false })
    }

    fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// It did what it should, and there is more to say.
    fn ending(self, outcome: Outcome, text: String) -> Self {
        Self { exit_code: outcome.exit_code(), outcome: Some((outcome, text)), ..self }
    }

    fn exit_code(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }
}

/// Runs the command and prints its result; the exit code is the design's.
#[must_use]
pub fn run(cli: Cli) -> u8 {
    let format = match cli.global.output {
        OutputFormat::Text => Format::Text,
        OutputFormat::Json => Format::Json,
    };
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let events = output::events(format, verbosity);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format, &Failure::Bug(format!("starting the runtime: {error}"))),
    };
    let name = cli.command.name();
    events.emit(Event::Started { command: name.to_owned(), version: crate::version::VERSION });
    let result = runtime.block_on(command(cli, events.clone()));
    // A check that hangs in the kernel must not keep the process.
    runtime.shutdown_background();
    let (outcome, text) = match &result {
        Ok(Done { outcome: Some((outcome, text)), .. }) => (*outcome, text.clone()),
        Ok(_) => (Outcome::Success, format!("{name} succeeded")),
        Err(failure) => (failure.outcome(), failure.to_string()),
    };
    output::print_on_console(name, &text);
    events.emit(Event::Finished { command: name.to_owned(), outcome, text });
    events.finish();
    match result {
        Ok(done) => {
            match format {
                _ if done.silent => {}
                Format::Json => output::print_json(&done.json),
                Format::Text => output::print_result(&done.text),
            }
            done.exit_code
        }
        Err(failure) if events.shows_the_end() => failure.outcome().exit_code(),
        Err(failure) => fail(format, &failure),
    }
}

/// Says what went wrong, and gives the exit code for it.
fn fail(format: Format, failure: &Failure) -> u8 {
    let outcome = failure.outcome();
    if format == Format::Json {
        let findings = failure.findings();
        output::print_json(
            &json!({ "outcome": outcome, "exit-code": outcome.exit_code(), "error": failure.to_string(), "findings": findings }),
        );
    }
    output::print_message(&format!("hostlet: {failure}"));
    outcome.exit_code()
}

async fn command(cli: Cli, events: Events) -> Result<Done, Failure> {
    let global = with_bundle(cli.global, cli.command.bundle())?;
    match cli.command {
        Command::Bundle(command) => bundle::run(&global, events, command).await,
        Command::Config(command) => configuration::run(&global, command),
        Command::Preflight { list: true, markdown, .. } => preflight::list(markdown),
        Command::Preflight { show_matrix: true, .. } => preflight::matrix(&context(&global, events)?).await,
        Command::Respond { idle } => Box::pin(respond::run(&global, events, idle)).await,
        Command::Preflight { list: false, show_matrix: false, adopt, report, wait, .. } => {
            preflight::run(&Context { adopt, wait: wait.unwrap_or_default(), ..context(&global, events)? }, report).await
        }
        Command::Plan { exit_code, adopt, .. } => plan::run(&Context { adopt, ..context(&global, events)? }, exit_code).await,
        Command::Install { stage_only: true, .. } => install::stage_only(&global, events).await,
        Command::Install { stage_only: false, reinstall, adopt, wait, no_wait, steps, .. } => {
            let (wait, waits) = (wait.unwrap_or_default(), waits(no_wait));
            let how = install::How { anew: reinstall, adopt, wait, waits, allowed: steps.into() };
            install::run(&global, events, how).await
        }
        Command::Upgrade { version, digest, wait, no_wait, steps, .. } => {
            let (wait, waits) = (wait.unwrap_or_default(), waits(no_wait));
            let how = upgrade::How { version, digest, wait, waits, allowed: steps.into() };
            upgrade::run(&global, events, how).await
        }
        Command::Rollback => rollback::run(&global, events).await,
        Command::Status { exit_code } => status::run(exit_code).await,
        Command::Uninstall { purge } => uninstall::run(events, purge).await,
        Command::Recover { at_boot } => recover::run(&global, &events, at_boot).await,
        Command::Rehearse { arguments } => rehearse::run(&global, events, arguments).await,
        Command::StandIn { .. } => Err(Failure::Bug("a stand-in is started before the command line is read".to_owned())),
    }
}

const fn waits(no_wait: bool) -> Waits {
    if no_wait { Waits::Not } else { Waits::ForReady }
}

/// `--bundle FILE` is `--set sources.bundle=FILE`, for a path that may be relative.
fn with_bundle(mut global: Global, bundle: Option<&Path>) -> Result<Global, Failure> {
    if let Some(path) = bundle {
        let path = absolute(path)?;
        global.set.push(format!("sources.bundle={}", toml::Value::from(path.to_string_lossy().as_ref())));
    }
    Ok(global)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path).map_err(FileError::doing("finding", path))?)
}

/// Reads the configuration.
fn configuration(global: &Global) -> Result<Configuration, Failure> {
    let files = fragments::read(&global.config)?;
    if files.is_empty() && global.set.is_empty() {
        return Err(Failure::NoConfiguration(global.config.display().to_string()));
    }
    let fragments: Vec<Fragment> =
        files.into_iter().map(|file| Fragment { name: file.path.display().to_string(), text: file.text }).collect();
    let configuration = Configuration::new(&global.config, fragments, global.set.clone());
    let configuration = match configuration.peers_file() {
        None => configuration,
        Some(path) => {
            let text = files::read_text(&path).map_err(|error| error.to_string());
            configuration.with_peers(PeersFile { path, text })
        }
    };
    let Some(named) = configuration.catalog_file() else { return Ok(configuration) };
    let text = files::read_text(&named.path).map_err(|error| ConfigError::of("sources.catalog-file", error))?;
    let own = Catalog::read(&Fragment { name: named.path.display().to_string(), text })?;
    Ok(configuration.with_catalog(if named.replaces { own } else { own.before(&Catalog::builtin()) }))
}

fn settings(global: &Global) -> Result<Settings, Failure> {
    Ok(configuration(global)?.settings()?)
}

fn context(global: &Global, events: Events) -> Result<Context, Failure> {
    Ok(context_of(settings(global)?, events))
}

/// What a run with these settings works with; signals end it.
fn context_of(settings: Settings, events: Events) -> Context {
    let stop = CancellationToken::new();
    signals::cancel_on_stop(&stop);
    Context::new(settings, events, stop)
}
