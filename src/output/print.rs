//! Results on standard output and last words on standard error. A closed pipe (`| head`) is no reason to fail.

use std::io::{self, Write};

use serde::Serialize;

use super::{escape::printable, json::json_line};

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
