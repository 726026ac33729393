//! Text from elsewhere (error pages, logs of units, configuration) made harmless for a terminal.

use std::borrow::Cow;

/// Escapes what a terminal would obey or show in another order: control characters, 8-bit ones included, and
/// bidirectional overrides. Newlines and tabs stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| obeyed(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        _ if obeyed(c) => c.escape_default().to_string(),
        _ => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// The same for JSON, in which such characters can only stand within strings.
pub(super) fn printable_json(line: &str) -> Cow<'_, str> {
    if !line.chars().any(obeyed) {
        return Cow::Borrowed(line);
    }
    let escape = |c: char| if obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(line.chars().map(escape).collect())
}

/// Continuation lines are indented, so that text from elsewhere cannot pass for a line of ours.
pub(super) fn one_entry(text: &str) -> String {
    printable(text.trim_end()).replace('\n', "\n    ")
}

fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}0mc\rd\u{202e}e"), "a\\u{1b}[2Jb\\u{9b}0mc\\rd\\u{202e}e");
        assert_eq!(printable("Grüße,\n\tWelt"), "Grüße,\n\tWelt");
        assert_eq!(one_entry("404\n\u{7}OK\n"), "404\n    \\u{7}OK");
    }

    proptest! {
        #[test]
        fn nothing_that_is_obeyed_gets_through(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(|c| obeyed(c) && !matches!(c, '\n' | '\t')));
        }

        #[test]
        fn json_stays_the_same_value(text in any::<String>()) {
            let line = serde_json::to_string(&text).unwrap();
            let escaped = printable_json(&line);
            prop_assert!(!escaped.chars().any(obeyed));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
