//! The command line: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use hostlet::{cli::Cli, commands, standin};

fn main() -> ExitCode {
    // In a rehearsal this file is also the kubelet and flanneld.
    if let Some(code) = standin::dispatch(std::env::args_os()) {
        return code;
    }
    ExitCode::from(commands::run(Cli::parse()))
}
