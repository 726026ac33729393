//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    hostlet::standin::dispatch(std::env::args_os()).unwrap_or(ExitCode::SUCCESS)
}
