//! Tests of the whole way from text to settings.

mod accepted;
mod files;
mod kubelet;
mod properties;
mod refused;
mod refused_together;
mod signatures;
mod sources;

use super::{ConfigError, Fragment, Problem, Settings};

const FILE: &str = "/etc/hostlet/hostlet.toml";

fn fragment(text: &str) -> Fragment {
    Fragment { name: FILE.to_owned(), text: text.to_owned() }
}

fn parse(text: &str) -> Result<Settings, ConfigError> {
    super::parse(&[fragment(text)], &[])
}

fn accepted(text: &str) -> Settings {
    parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The minimal configuration with these lines behind it.
fn with(text: &str) -> Result<Settings, ConfigError> {
    parse(&format!("{}\n{text}", super::minimal()))
}

/// The only problem of a refused configuration.
#[track_caller]
fn problem(result: Result<Settings, ConfigError>) -> Problem {
    let error = result.expect_err("it should be refused");
    let [problem] = error.problems.try_into().unwrap_or_else(|problems| panic!("not one problem: {problems:#?}"));
    problem
}

fn with_mistakes() -> String {
    "[node]\nname = \"Node\"\n[kubelet]\nversion = 1.36\nroot-dir = \"/\"\n[flannel]\nbackend = \"ipip\"\nvni = 0\n".to_owned()
}
