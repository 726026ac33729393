//! What is wrong with a configuration, shown where it is wrong.

use std::fmt;

use serde::Serialize;

/// Everything that is wrong with a configuration, in the order it was found; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct ConfigError {
    /// One entry for each mistake.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// One mistake without a place: something about what a key names.
    #[must_use]
    pub fn of(key: &str, found: impl fmt::Display) -> Self {
        Self { problems: vec![Problem::new(None, format!("{key}: {found}"))] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the configuration has a mistake")?,
            count => write!(f, "the configuration has {count} mistakes")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n\n{problem}"))
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Where; none when no line is to blame.
    pub place: Option<Place>,
    /// What was found and why it cannot be.
    pub message: String,
    /// What is allowed and what to do, a sentence each.
    pub help: Vec<String>,
}

/// A piece of one line of a fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// The fragment's path, or `--set`.
    pub fragment: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line itself, shortened around the piece when it is long, credentials hidden.
    pub text: String,
    /// How many characters of `text` stand before the piece.
    pub indent: usize,
    /// How many characters the piece has, at least 1.
    pub width: usize,
}

impl Problem {
    pub(super) fn new(place: Option<Place>, message: impl fmt::Display) -> Self {
        Self { place, message: hide_credentials(&message.to_string()), help: Vec::new() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}:{}: ", place.fragment, place.line, place.column)?;
        }
        writeln!(f, "{}", self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            // Tabs stay tabs, so that the caret stands below the piece whatever a tab's width.
            let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
            let before: String = place.text.chars().take(place.indent).map(blank).collect();
            writeln!(f, " {number} | {}", place.text)?;
            write!(f, " {} | {before}{}", " ".repeat(number.len()), "^".repeat(place.width))?;
        }
        self.help.iter().enumerate().try_for_each(|(index, help)| {
            let separator = if index == 0 && self.place.is_none() { "" } else { "\n" };
            write!(f, "{separator}  {help}")
        })
    }
}

/// The candidate that was probably meant, if one is near enough.
pub(super) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = found.to_lowercase().replace('_', "-");
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // Half of a compound name is a usual mistake: `token` for `token-file`.
        let part = lower.len() >= 2 && candidate.split('-').any(|part| part == lower);
        strsim::jaro_winkler(&lower, &candidate).max(if part { 0.85 } else { 0.0 })
    };
    let scored = candidates.into_iter().map(|candidate| (score(candidate), candidate));
    scored.filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// Replaces what looks like a credential, each by as many stars: a mistake's line is printed, logged and stored, and a
/// token in the wrong place is a usual mistake. Knows bootstrap tokens, JSON web tokens and user data in URLs.
pub(super) fn hide_credentials(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let (before, tail) = rest.split_at(start);
        let (found, after) = tail.split_at(tail.find(|c| !word(c)).unwrap_or(tail.len()));
        hidden.push_str(before);
        if is_credential(found) {
            hidden.extend(std::iter::repeat_n('*', found.len()));
        } else {
            hidden.push_str(found);
        }
        rest = after;
    }
    hidden.push_str(rest);
    hide_user_data(&hidden)
}

fn is_credential(word: &str) -> bool {
    let lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bootstrap = word
        .split_once('.')
        .is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && id.bytes().all(lower) && secret.bytes().all(lower));
    bootstrap || (word.starts_with("eyJ") && word.len() > 20)
}

fn hide_user_data(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, tail) = rest.split_at(start + 3);
        let authority = tail.find(['/', '?', '#', '"', '\'', ' ']).unwrap_or(tail.len());
        let user = tail[..authority].rfind('@').unwrap_or(0);
        hidden.push_str(before);
        hidden.extend(tail[..user].chars().map(|_| '*'));
        rest = &tail[user..];
    }
    hidden.push_str(rest);
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_lengths_stay() {
        for (text, expected) in [
            ("token = \"abcdef.0123456789abcdef\"", "token = \"***********************\""),
            ("https://user:pass@mirror/x", "https://*********@mirror/x"),
            ("version = \"1.36.4\"", "version = \"1.36.4\""),
            ("a://b c://d@e", "a://b c://*@e"),
        ] {
            assert_eq!(hide_credentials(text), expected);
        }
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("sever", ["server", "dns"]), Some("server"));
        assert_eq!(nearest("token", ["server", "token-file"]), Some("token-file"));
        assert_eq!(nearest("ca_file", ["ca", "ca-file"]), Some("ca-file"));
        assert_eq!(nearest("banana", ["server", "dns"]), None);
    }
}
