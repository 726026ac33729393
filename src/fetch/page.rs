//! Recognising a page for people where a file should be, by its first bytes: no artifact begins like that.

use super::Problem;

/// Title and all, a page says who it is from within this much.
const BEGINNING: usize = 4096;
const LONGEST_TITLE: usize = 80;

/// The problem that this beginning of a file is, if it is one.
pub(super) fn look(bytes: &[u8]) -> Option<Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let starts = |tag: &[u8]| bytes.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if ![b"<!doctype html".as_slice(), b"<html", b"<head", b"<script", b"<!--"].into_iter().any(starts) {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(BEGINNING)]);
    Some(Problem::Page { title: title(&text) })
}

fn title(text: &str) -> Option<String> {
    // Of ASCII alone, so that positions stay.
    let lower = text.to_ascii_lowercase();
    let from = lower.find("<title")?;
    let from = from + lower[from..].find('>')? + 1;
    let to = from + lower[from..].find("</title")?;
    let words: Vec<_> = text[from..to].split_whitespace().collect();
    let title: String = words.join(" ").chars().take(LONGEST_TITLE).flat_map(char::escape_debug).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_is_recognised_and_its_title_told() {
        let shown = |text: &str| look(text.as_bytes()).map(|problem| problem.to_string());
        assert!(
            shown("\u{feff}\n<!DOCTYPE HTML><Title lang=en> Sign\n in\u{1b}</title>").unwrap().contains("(\"Sign in\\u{1b}\")")
        );
        assert!(shown("<html><body>x").unwrap().contains("instead of the file: a captive portal"));
        for file in ["\u{7f}ELF", "", "<", "<xml", "cf2562db  kubelet"] {
            assert_eq!(shown(file), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "(<!doctype html)?(<title[>]?)?\\PC{0,40}(</title)?\\PC{0,9}") {
            let _ = look(text.as_bytes());
        }
    }
}
