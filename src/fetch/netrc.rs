//! netrc(5): credentials by host, as curl and git read them.

use crate::model::Secret;

/// A file's entries, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Netrc(Vec<Entry>);

#[derive(Debug, Clone, Default)]
struct Entry {
    /// None for `default`.
    machine: Option<String>,
    login: Option<String>,
    password: Option<Secret<String>>,
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret<String>,
}

impl Netrc {
    /// Reads one. The error says what is wrong, and shows nothing of the file but keywords and numbers.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut words = words(text)?.into_iter();
        while let Some((line, word)) = words.next() {
            let mut value = || words.next().map(|(_, value)| value).ok_or_else(|| format!("line {line}: {word} has no value"));
            match (word.as_str(), entries.last_mut()) {
                ("machine", _) => entries.push(Entry { machine: Some(value()?), ..Entry::default() }),
                ("default", _) => entries.push(Entry::default()),
                ("login" | "user", Some(entry)) => entry.login = Some(value()?),
                ("password", Some(entry)) => entry.password = Some(Secret::new(value()?)),
                ("account", Some(_)) => drop(value()?),
                ("login" | "user" | "password" | "account", None) => {
                    return Err(format!("line {line}: {word} stands before any machine"));
                }
                // The word itself may be a password that was torn apart.
                _ => return Err(format!("line {line}: neither machine, default, login, password, account nor macdef")),
            }
        }
        Ok(Self(entries))
    }

    /// The login for a host: of the first entry that names it, or of `default`.
    pub(super) fn login(&self, host: &str) -> Option<Login> {
        let names = |entry: &&Entry| entry.machine.as_deref().is_none_or(|machine| machine.eq_ignore_ascii_case(host));
        let entry = self.0.iter().find(names)?;
        let password = entry.password.clone().unwrap_or_else(|| Secret::new(String::new()));
        Some(Login { user: entry.login.clone()?, password })
    }
}

/// The words with their lines. A comment begins with `#`, a word in double quotes may hold blanks, and a macro ends with an
/// empty line.
fn words(text: &str) -> Result<Vec<(usize, String)>, String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for (index, line) in text.lines().enumerate() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = word(rest).ok_or_else(|| format!("line {}: a quote has no end", index + 1))?;
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push((index + 1, word));
            rest = after.trim_start();
        }
    }
    Ok(words)
}

fn word(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut word = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((word, &quoted[at + 1..])),
            '\\' => word.push(characters.next()?.1),
            other => word.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(text: &str, host: &str) -> Option<(String, String)> {
        Netrc::parse(text).unwrap().login(host).map(|login| (login.user, login.password.expose().clone()))
    }

    #[test]
    fn entries_are_found_by_host_and_the_default_stands_for_the_rest() {
        let text = "# ours\nmachine a.example login me password \"two words\\\"\"\nmacdef init\ncd x\nmachine no\n\n\
                    machine B.example\n  account x\n  login you\n  password p#1\ndefault login anonymous password guest\n";
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(login(text, "a.example"), pair("me", "two words\""));
        assert_eq!(login(text, "b.example"), pair("you", "p#1"));
        assert_eq!(login(text, "no"), pair("anonymous", "guest"));
        assert_eq!(login("machine a login x", "b"), None);
        assert_eq!(login("machine a password x", "a"), None);
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_anything() {
        for (text, expected) in [
            ("login hunter2", "line 1: login stands before"),
            ("machine a\nlogin me password hun ter2", "line 2: neither machine"),
            ("machine a login", "login has no value"),
            ("machine a password \"hunter2", "a quote has no end"),
        ] {
            let error = Netrc::parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("ter2"), "{error}");
        }
        assert!(!format!("{:?}", Netrc::parse("machine a login me password hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "((machine|login|password|macdef|default|\"|\\\\|#|[a-z]{1,3}|\\PC)[ \n]?){0,20}") {
            let _ = Netrc::parse(&text);
        }

        #[test]
        fn what_is_quoted_comes_through(password in "[^\\p{C}\n]{0,20}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("machine h login me password \"{quoted}\"");
            prop_assert_eq!(login(&text, "h"), Some(("me".to_owned(), password)));
        }
    }
}
