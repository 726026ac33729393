//! Checksum files: a bare digest, or lines as sha256sum prints them.

use crate::model::Digest;

/// A checksum file of a whole release stays far below this.
pub(super) const LIMIT: u64 = 64 * 1024;

/// The digest for `file` in a checksum file. The error is a predicate: "holds ...".
///
/// Source: facts on artifacts. Kubernetes publishes bare lower-case hex, mostly without a newline; the CNI projects
/// publish `hash  file`. Where lines name several files, the one that names ours is taken.
pub(super) fn parse(content: &[u8], file: &str) -> Result<Digest, String> {
    let text = std::str::from_utf8(content).map_err(|_| "is not text".to_owned())?;
    if text.trim_start().starts_with('<') {
        return Err("is an HTML page".to_owned());
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => Err("is empty".to_owned()),
        [line] => line_digest(line).map(|(digest, _)| digest),
        lines => {
            let mut ours = lines.iter().filter_map(|line| line_digest(line).ok()).filter(|(_, name)| base(name) == file);
            match (ours.next(), ours.next()) {
                (Some((digest, _)), None) => Ok(digest),
                (Some((first, _)), Some((second, _))) if first == second => Ok(first),
                (Some(_), Some(_)) => Err(format!("holds several digests for {file}")),
                (None, _) => Err(format!("holds {} lines and none for {file}", lines.len())),
            }
        }
    }
}

/// `hash`, `hash  file` or `hash *file`.
fn line_digest(line: &str) -> Result<(Digest, &str), String> {
    let (hex, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    // FromStr also takes a `sha256:` prefix, which no checksum file has.
    let digest = hex.parse().ok().filter(|_| hex.len() == 64);
    let name = name.trim_start();
    digest.map(|digest| (digest, name.strip_prefix('*').unwrap_or(name))).ok_or_else(|| {
        let shown: String = hex.chars().take(80).flat_map(char::escape_default).collect();
        format!("holds {shown:?} ({} characters) where 64 hexadecimal characters are needed", hex.chars().count())
    })
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex() -> String {
        Digest::of(b"abc").to_string()
    }

    #[test]
    fn both_published_formats_are_read() {
        let hex = hex();
        for text in [
            hex.clone(),
            format!("{hex}\n"),
            format!(" {hex}\r\n"),
            hex.to_uppercase(),
            format!("{hex}  cni.tgz\n"),
            format!("{hex} *cni.tgz"),
            format!("{hex}\tcni.tgz\n\n"),
        ] {
            assert_eq!(parse(text.as_bytes(), "cni.tgz"), Ok(Digest::of(b"abc")), "{text:?}");
        }
    }

    #[test]
    fn of_several_lines_the_one_that_names_the_file_is_taken() {
        let other = Digest::of(b"other");
        let text = format!("{other}  other.tgz\n{}  ./release/cni.tgz\n", hex());
        assert_eq!(parse(text.as_bytes(), "cni.tgz"), Ok(Digest::of(b"abc")));
        assert!(parse(text.as_bytes(), "none.tgz").unwrap_err().contains("none for none.tgz"));
        let text = format!("{other}  cni.tgz\n{}  cni.tgz\n", hex());
        assert!(parse(text.as_bytes(), "cni.tgz").unwrap_err().contains("several"));
    }

    #[test]
    fn what_holds_no_digest_says_what_it_is() {
        let hex = hex();
        for (text, expected) in [
            (String::new(), "is empty"),
            ("\n \n".to_owned(), "is empty"),
            ("<!DOCTYPE html><html>".to_owned(), "HTML"),
            (hex[1..].to_owned(), "63 characters"),
            (format!("{hex}{hex}"), "128 characters"),
            ("sha256:".to_owned() + &hex, "71 characters"),
            ("Not Found".to_owned(), "\"Not\""),
        ] {
            let error = parse(text.as_bytes(), "x").unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert_eq!(parse(&[0xff, 0xfe], "x").unwrap_err(), "is not text");
    }

    proptest! {
        #[test]
        fn no_content_makes_the_parser_panic(content: Vec<u8>, file in ".{0,10}") {
            let _ = parse(&content, &file);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "([0-9a-f]{0,66}[ \t*\n\r]{0,3}[^\n]{0,8}\n?){0,4}", file in "[a-z]{0,4}") {
            let _ = parse(text.as_bytes(), &file);
        }

        #[test]
        fn every_digest_survives_both_formats(bytes: [u8; 8], name in "[a-z][a-z0-9.-]{0,20}") {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(parse(digest.to_string().as_bytes(), &name), Ok(digest));
            prop_assert_eq!(parse(format!("{digest}  {name}\n").as_bytes(), "other"), Ok(digest));
        }
    }
}
