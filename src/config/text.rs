//! Fragments as text: parsed on their own, and found again by position when something in them is wrong.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::problem::{Place, hide_credentials};

/// A piece of configuration: a file's text under the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The path it came from: what errors name.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// Positions in all fragments together: each fragment starts where the one before it ended.
pub(super) type Span = Range<usize>;

/// All fragments, one after the other, and the `--set` arguments after them.
#[derive(Debug)]
pub(super) struct Texts {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    text: String,
    base: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fragment,
    /// A `--set`: one `key=value`.
    Set,
    /// The file of `mesh.peers-file`, which is not laid over anything.
    Peers,
}

/// What is wrong with the form of a fragment.
pub(super) struct Malformed {
    pub(super) at: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

// No line of a real configuration is nested deeper, and recursion over what is must end before the stack does.
const DEEPEST: usize = 64;

impl Texts {
    pub(super) fn new(fragments: &[Fragment], sets: &[String], peers: Option<Fragment>) -> Self {
        let file = |fragment: &Fragment| (fragment.name.clone(), fragment.text.clone(), Kind::Fragment);
        let sets = sets.iter().map(|set| ("--set".to_owned(), set.clone(), Kind::Set));
        let peers = peers.into_iter().map(|file| (file.name, file.text, Kind::Peers));
        let mut base = 0;
        let place = |(name, text, kind): (String, String, Kind)| {
            let entry = Entry { name, text, base, kind };
            base += entry.text.len() + 1;
            entry
        };
        Self { entries: fragments.iter().map(file).chain(sets).chain(peers).map(place).collect() }
    }

    /// Each fragment as a tree with positions, or what is wrong with its form.
    pub(super) fn trees(&self) -> impl Iterator<Item = Result<DeTable<'_>, Vec<Malformed>>> {
        let entries = self.entries.iter().filter(|entry| entry.kind != Kind::Peers);
        entries.map(|entry| if entry.kind == Kind::Set { entry.parse_set() } else { entry.parse() })
    }

    /// The same of the file of peers, if there is one.
    pub(super) fn peers_tree(&self) -> Option<Result<DeTable<'_>, Vec<Malformed>>> {
        self.entries.iter().find(|entry| entry.kind == Kind::Peers).map(Entry::parse)
    }

    fn entry(&self, at: &Span) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.base <= at.start)
    }

    /// The text at a position, when it belongs to a `--set`.
    pub(super) fn set_text(&self, at: &Span) -> Option<&str> {
        let entry = self.entry(at).filter(|entry| entry.kind == Kind::Set)?;
        entry.text.get(at.start - entry.base..at.end - entry.base)
    }

    /// The line around a position. `hide_value` hides what follows an equals sign.
    pub(super) fn place(&self, at: &Span, hide_value: bool) -> Option<Place> {
        const BEFORE: usize = 60;
        const LONGEST: usize = 160;
        let entry = self.entry(at)?;
        let start = floor(&entry.text, at.start.saturating_sub(entry.base));
        let end = floor(&entry.text, at.end.saturating_sub(entry.base)).max(start);
        let line_start = entry.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = entry.text[start..].find('\n').map_or(entry.text.len(), |newline| start + newline);
        let column = entry.text[line_start..start].chars().count();
        let width = entry.text[start..end.min(line_end)].chars().count();
        let mut line = hide_credentials(entry.text[line_start..line_end].trim_end());
        if let (true, Some(equals)) = (hide_value, line.find('=')) {
            line.replace_range(equals + 1.., " ***");
        }
        let skip = if line.chars().count() > LONGEST { column.saturating_sub(BEFORE) } else { 0 };
        let text: String = line.chars().skip(skip).take(LONGEST).collect();
        let indent = (column - skip).min(text.chars().count());
        let width = width.clamp(1, (text.chars().count() - indent).max(1));
        let line_number = entry.text[..line_start].matches('\n').count() + 1;
        Some(Place { fragment: entry.name.clone(), line: line_number, column: column + 1, text, indent, width })
    }
}

/// The nearest boundary of a character at or before an index.
fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

impl Entry {
    fn parse(&self) -> Result<DeTable<'_>, Vec<Malformed>> {
        if let Some(at) = too_deep(&self.text) {
            return Err(vec![self.malformed(
                Some(at..at + 1),
                format!("a line with more than {DEEPEST} dots outside quotes: nothing here is nested that deep"),
            )]);
        }
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Ok(move_table(table.into_inner(), self.base));
        }
        Err(errors.iter().map(|error| self.malformed(error.span(), format!("not TOML: {}", error.message()))).collect())
    }

    /// `key=value`: the value as TOML, or else as plain text.
    fn parse_set(&self) -> Result<DeTable<'_>, Vec<Malformed>> {
        let whole = || Some(0..self.text.len());
        let wanted = "--set takes key=value, such as kubelet.version=1.36.4";
        let Some((equals, _)) = unquoted(&self.text).find(|(_, c)| *c == '=') else {
            return Err(vec![self.malformed(whole(), format!("no \"=\": {wanted}"))]);
        };
        let (key, value) = (&self.text[..equals], &self.text[equals + 1..]);
        let parts = key_parts(key).ok_or_else(|| vec![self.malformed(Some(0..equals), format!("not a key: {wanted}"))])?;
        let at = self.base + equals + 1;
        let value = match DeValue::parse(value) {
            Ok(value) if too_deep(&self.text).is_none() => move_value(value, at),
            _ => Spanned::new(at..at + value.len(), DeValue::String(value.into())),
        };
        let key_span = self.base..self.base + equals;
        let nest = |value, part: String| {
            let mut table = DeTable::new();
            table.insert(Spanned::new(key_span.clone(), DeString::from(part)), value);
            Spanned::new(key_span.clone(), DeValue::Table(table))
        };
        match parts.into_iter().rev().fold(value, nest).into_inner() {
            DeValue::Table(table) => Ok(table),
            _ => Ok(DeTable::new()),
        }
    }

    fn malformed(&self, at: Option<Span>, message: String) -> Malformed {
        let at = at.unwrap_or(0..0);
        // TOML's parser takes a bare word for a number or a date and says so, which helps nobody who forgot the quotes.
        let before = self.text.get(..at.start).unwrap_or_default();
        let word: String = self.text.get(at.start..).unwrap_or_default().chars().take_while(|c| !c.is_whitespace()).collect();
        let is_value = before.trim_end_matches([' ', '\t']).ends_with(['=', '[', ',']) && self.kind != Kind::Set;
        let bare = is_value && word.starts_with(|c: char| c.is_alphanumeric() || "/.~$".contains(c));
        let help = bare.then(|| format!("text stands in quotes: {:?}", word.trim_end_matches([',', ']'])));
        Malformed { at: self.base + at.start..self.base + at.end, message, help: help.map(|help| hide_credentials(&help)) }
    }
}

/// Where a line has more dots outside quotes than any sensible key: a cheap bound, taken before parsing recurses.
fn too_deep(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if unquoted(line).take_while(|(_, c)| *c != '#').filter(|(_, c)| *c == '.').count() >= DEEPEST {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// The characters of a line that are not within quotes, the quotes themselves included.
fn unquoted(line: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut escaped = false;
    line.char_indices().filter(move |(_, c)| match quote {
        None => {
            quote = matches!(c, '"' | '\'').then_some(*c);
            true
        }
        Some(open) => {
            let closes = *c == open && !escaped;
            escaped = open == '"' && *c == '\\' && !escaped;
            if closes {
                quote = None;
            }
            closes
        }
    })
}

/// The parts of a dotted key: read as TOML, so that parts may be quoted.
fn key_parts(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '[', '#', '{']) || too_deep(key).is_some() {
        return None;
    }
    let text = format!("{key} = 0");
    let mut value = DeValue::Table(DeTable::parse(&text).ok()?.into_inner());
    let mut parts = Vec::new();
    while let DeValue::Table(table) = value {
        let (key, inner) = table.into_iter().next()?;
        parts.push(key.into_inner().into_owned());
        value = inner.into_inner();
    }
    Some(parts)
}

fn moved<T>(spanned: &Spanned<T>, by: usize) -> Span {
    let span = spanned.span();
    span.start + by..span.end + by
}

fn move_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entry = |(key, value): (Spanned<DeString<'_>>, _)| {
        let span = moved(&key, by);
        (Spanned::new(span, DeString::from(key.into_inner().into_owned())), move_value(value, by))
    };
    table.into_iter().map(entry).collect()
}

fn move_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(&value, by);
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(move_table(table, by)),
        DeValue::Array(mut array) => {
            for element in array.iter_mut() {
                let taken = std::mem::replace(element, Spanned::new(0..0, DeValue::Boolean(false)));
                *element = move_value(taken, by);
            }
            DeValue::Array(array)
        }
        other => other,
    };
    Spanned::new(span, inner)
}

/// Lays one tree over another: tables are merged deeply, everything else, arrays included, is replaced.
///
/// Associative, and laying a tree over itself changes nothing, as long as no key is a table in one fragment and
/// something else in another; the shape check has refused such fragments before.
pub(super) fn merge<'t>(base: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        if let Some(below) = base.get_mut(key.get_ref().as_ref())
            && let (DeValue::Table(below), DeValue::Table(_)) = (below.get_mut(), value.get_ref())
        {
            if let DeValue::Table(above) = value.into_inner() {
                merge(below, above);
            }
        } else {
            base.remove(key.get_ref().as_ref());
            base.insert(key, value);
        }
    }
}
