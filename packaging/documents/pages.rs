//! The pages in docs/ that are made, not written: of the commands, and of the configuration's keys.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};
use hostlet::{cli::Cli, config};
use serde_json::Value;

/// Each page with its path in the repository.
pub(crate) fn all() -> [(&'static str, String); 2] {
    [("docs/commands.md", commands_page()), ("docs/configuration.md", configuration_page())]
}

/// The program and all its commands, each under its whole name: `hostlet-bundle-create`. Hidden ones are left out.
pub(crate) fn commands(root: &Command) -> Vec<Command> {
    let mut all = Vec::new();
    let mut built = root.clone();
    built.build();
    collect(&built, built.get_name(), &mut all);
    all
}

fn collect(command: &Command, name: &str, all: &mut Vec<Command>) {
    let spaced: &'static str = name.replace('-', " ").leak();
    // clap wants names that live as long as the program, which ends soon.
    let whole: &'static str = name.to_owned().leak();
    all.push(command.clone().name(whole).bin_name(spaced).display_name(whole));
    let below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in below {
        collect(command, &format!("{name}-{}", command.get_name()), all);
    }
}

fn commands_page() -> String {
    let mut page =
        "# Commands\n\nAs `hostlet COMMAND --help` prints it. Text for people goes to standard error, results to standard \
        output. The flags at the end of the first page are those of every command.\n"
            .to_owned();
    for command in commands(&Cli::command()) {
        let title = command.get_bin_name().unwrap_or_default().to_owned();
        let is_root = title == "hostlet";
        // What every command has is told once.
        let mut shown = command.term_width(100).disable_help_flag(!is_root).disable_version_flag(true);
        if !is_root {
            for global in ["config", "set", "output", "verbose", "quiet"] {
                shown = shown.mut_arg(global, |argument| argument.hide(true));
            }
        }
        let help = shown.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    }
    page
}

fn configuration_page() -> String {
    let schema = config::schema();
    let mut page = "# Configuration\n\n`/etc/hostlet/hostlet.toml`, and `/etc/hostlet/hostlet.d/*.toml` over it in order of name. This page \
        is made from the schema (`hostlet config schema`); `hostlet config example` prints every key with its default and what it \
        is for, and `hostlet config check` reads yours.\n"
        .to_owned();
    section(&mut page, "", &schema);
    page
}

/// A table of a section's keys, then the sections below it.
fn section(page: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let (sections, keys): (Vec<_>, Vec<_>) = properties.iter().partition(|(_, value)| value["properties"].is_object());
    if !path.is_empty() {
        let _ = write!(page, "\n## [{path}]\n\n{}\n", text(schema));
    }
    if !keys.is_empty() {
        page.push_str("\n| key | type | what |\n|---|---|---|\n");
        for (key, value) in keys {
            let _ = writeln!(page, "| `{key}` | {} | {} |", cell(&kind(value)), cell(&text(value)));
        }
    }
    for (key, value) in sections {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        section(page, &below, value);
    }
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// A cell ends at a bar.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    for name in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[name].as_array() {
            let mut kinds: Vec<String> = choices.iter().map(kind).filter(|kind| !kind.is_empty()).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["properties"].is_object() => {
            let keys = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| format!("`{key}`"));
            format!("table ({})", keys.collect::<Vec<_>>().join(", "))
        }
        Some("object") => "table".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}
