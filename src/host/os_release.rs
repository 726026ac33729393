//! Which operating system this is: os-release(5).

use std::path::Path;

use super::files::{self, FileError, if_present};

/// What the distribution says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    /// `debian`
    pub id: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub pretty_name: String,
    /// The day from which there is no support: `2028-06-30`.
    pub support_end: Option<String>,
}

impl OsRelease {
    /// Reads it from /etc, or else from /usr/lib; `None` where there is neither.
    pub fn look() -> Result<Option<Self>, FileError> {
        for path in ["/etc/os-release", "/usr/lib/os-release"] {
            if let Some(text) = if_present(files::read_text(Path::new(path)))? {
                return Ok(Some(Self::parse(&text)));
            }
        }
        Ok(None)
    }

    fn parse(text: &str) -> Self {
        let assignment = |name: &str| {
            text.lines()
                .filter_map(|line| line.trim().split_once('='))
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, v)| bare(v))
        };
        let id = assignment("ID").filter(|id| !id.is_empty()).unwrap_or_else(|| "linux".to_owned());
        let pretty_name = assignment("PRETTY_NAME").filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
        Self { id, pretty_name, support_end: assignment("SUPPORT_END") }
    }
}

/// A shell's word: quotes taken off, backslashes resolved.
fn bare(value: &str) -> String {
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let mut plain = String::new();
    let mut characters = quoted.unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        if character == '\\' { plain.extend(characters.next()) } else { plain.push(character) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_end_of_support_are_read_quoted_or_not() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nID=debian\n";
        let found = OsRelease::parse(debian);
        assert_eq!((found.id.as_str(), found.pretty_name.as_str()), ("debian", "Debian GNU/Linux 12 (bookworm)"));
        let fedora = "# a comment\nID=\"fedora\"\nPRETTY_NAME='Fedora \\$ Linux'\nSUPPORT_END=2026-12-02\n";
        let found = OsRelease::parse(fedora);
        assert_eq!((found.pretty_name.as_str(), found.support_end.as_deref()), ("Fedora $ Linux", Some("2026-12-02")));
        assert_eq!(OsRelease::parse("").id, "linux");
    }
}
