//! Results on standard output and last words on standard error. A closed pipe (`| head`) is no reason to fail.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use super::{escape::printable, json::json_line};
use crate::host::terminal;

/// Prints the result of a command, with a newline at its end.
pub fn print_result(text: &str) {
    write_line(&mut io::stdout().lock(), text);
}

/// Prints the result of a command as one line of JSON.
pub fn print_json(value: &impl Serialize) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(json_line(value).as_bytes()).and_then(|()| stdout.flush());
}

/// Prints text for people, before there are events or after they are finished.
pub fn print_message(text: &str) {
    write_line(&mut io::stderr().lock(), text);
}

/// Where hostlet.service wants the outcome to be seen: `HOSTLET_CONSOLE`, a terminal such as /dev/console.
const CONSOLE: &str = "HOSTLET_CONSOLE";

/// Says how a run ended on the machine's console, where the unit that started it asks for that. One line, the first of the
/// text: nobody scrolls there.
pub fn print_on_console(command: &str, text: &str) {
    if let Some(console) = std::env::var_os(CONSOLE) {
        let first = text.lines().next().unwrap_or_default();
        let line = format!("hostlet {command}: {first}; more: journalctl -u hostlet, /run/hostlet/result.json");
        terminal::announce(Path::new(&console), &printable(&line));
    }
}

fn write_line(writer: &mut impl Write, text: &str) {
    let mut line = printable(text).into_owned();
    if !line.ends_with('\n') {
        line.push('\n');
    }
    let _ = writer.write_all(line.as_bytes()).and_then(|()| writer.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_with_one_newline_and_is_harmless() {
        let mut written = Vec::new();
        write_line(&mut written, "a\u{1b}c");
        write_line(&mut written, "b\n");
        assert_eq!(String::from_utf8(written).unwrap(), "a\\u{1b}c\nb\n");
    }
}
