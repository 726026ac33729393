//! Writes what is made from the command line and from the configuration's schema: the pages in docs/, the manual, and the
//! completions of shells. `cargo run --example documents -- pages | manual DIRECTORY | completions DIRECTORY`.

#![allow(clippy::disallowed_methods, reason = "it is a tool of the build, not of the host")]

mod pages;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use hostlet::cli::Cli;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pages"] => {
            for (path, text) in pages::all() {
                fs::write(path, text).with_context(|| format!("writing {path}"))?;
            }
            Ok(())
        }
        ["manual", directory] => manual(Path::new(directory)),
        ["completions", directory] => completions(Path::new(directory)),
        _ => bail!("which? pages, manual DIRECTORY, completions DIRECTORY"),
    }
}

/// hostlet.8, one page for each command, and hostlet.toml.5.
fn manual(directory: &Path) -> Result<()> {
    for command in pages::commands(&Cli::command()) {
        let name = command.get_name().to_owned();
        let mut text = Vec::new();
        // The date would differ with each build.
        let source = format!("hostlet {}", hostlet::version::VERSION);
        Man::new(command).section("8").date("").source(source).manual("hostlet").render(&mut text)?;
        fs::write(directory.join(format!("{name}.8")), text)?;
    }
    fs::write(directory.join("hostlet.toml.5"), configuration_page())?;
    Ok(())
}

/// The commented example, as it is.
fn configuration_page() -> String {
    let mut page = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH hostlet.toml 5 \"\" \"hostlet\" \"hostlet\"\n\
        .SH NAME\nhostlet.toml \\- what a node shall be\n\
        .SH SYNOPSIS\n/etc/hostlet/hostlet.toml\n.br\n/etc/hostlet/hostlet.d/*.toml\n\
        .SH DESCRIPTION\nEvery key with its default, as \\fBhostlet config example\\fR prints it.\n.PP\n.nf\n"
        .to_owned();
    for line in hostlet::config::example().lines() {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq");
        // A line that begins with a dot would be a request of roff's.
        page.push_str(if escaped.starts_with('.') { "\\&" } else { "" });
        page.push_str(&escaped);
        page.push('\n');
    }
    page.push_str(".fi\n.SH SEE ALSO\n\\fBhostlet\\fR(8)\n");
    page
}

fn completions(directory: &Path) -> Result<()> {
    for (shell, file) in [(Shell::Bash, "hostlet"), (Shell::Zsh, "_hostlet"), (Shell::Fish, "hostlet.fish")] {
        let mut command: Command = Cli::command();
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "hostlet", &mut text);
        fs::write(directory.join(file), text)?;
    }
    Ok(())
}
