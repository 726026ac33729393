//! Collects what is wrong, so that one run reports all of it.

use std::{collections::HashMap, fmt::Display};

use toml::de::{DeTable, DeValue};

use super::{
    given::Field,
    problem::{ConfigError, Problem},
    shape::join,
    text::{Malformed, Span, Texts},
};

/// The mistakes found so far, and where each key stands.
pub(super) struct Problems<'t> {
    texts: &'t Texts,
    keys: HashMap<String, Span>,
    /// Each with its position, to show them in the order of the text.
    found: Vec<(usize, Problem)>,
    /// Mistakes that may only follow from another one.
    doubtful: Option<Vec<(usize, Problem)>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(texts: &'t Texts) -> Self {
        Self { texts, keys: HashMap::new(), found: Vec::new(), doubtful: None }
    }

    /// From here on, what is missing or contradictory is not reported: keys were taken out, or a fragment could not be
    /// read, so that it may be there after all. Wrong values are.
    pub(super) fn only_values(&mut self) {
        self.doubtful = Some(Vec::new());
    }

    pub(super) fn texts(&self) -> &'t Texts {
        self.texts
    }

    /// Remembers where the keys of the merged tree stand.
    pub(super) fn index(&mut self, table: &DeTable<'_>) {
        self.index_below(table, "");
    }

    fn index_below(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                self.index_below(inner, &path);
            }
            self.keys.insert(path, key.span());
        }
    }

    /// Whether the user mentioned a key or a section, by its dotted path.
    pub(super) fn mentioned(&self, path: &str) -> bool {
        self.keys.contains_key(path)
    }

    /// A mistake at a position.
    pub(super) fn add(&mut self, at: &Span, message: impl Display) -> &mut Problem {
        let problem = Problem::new(self.texts.place(at, false), message);
        push(&mut self.found, at.start, problem)
    }

    /// A mistake at a position, unless the same stands there already: what is said once may count for several components.
    pub(super) fn add_once(&mut self, at: &Span, message: &str) -> Option<&mut Problem> {
        let same = |(position, problem): &(usize, Problem)| *position == at.start && problem.message == message;
        if self.found.iter().any(same) { None } else { Some(self.add(at, message)) }
    }

    /// A mistake at a key whose value is hidden if the key sounds like a credential's.
    pub(super) fn add_secretive(&mut self, at: &Span, message: impl Display, key: &str) -> &mut Problem {
        let key = key.to_lowercase();
        let hide = ["token", "password", "passwd", "secret", "key", "credential"].iter().any(|word| key.contains(word));
        let problem = Problem::new(self.texts.place(at, hide), message);
        push(&mut self.found, at.start, problem)
    }

    /// Fragments that are no TOML.
    pub(super) fn malformed(&mut self, malformed: Vec<Malformed>) {
        for Malformed { at, message, help } in malformed {
            self.add(&at, message).help.extend(help);
        }
    }

    /// Something missing beside what stands at a position.
    pub(super) fn add_missing(&mut self, at: &Span, message: impl Display) -> &mut Problem {
        let problem = Problem::new(self.texts.place(at, false), message);
        push(self.doubtful.as_mut().unwrap_or(&mut self.found), at.start, problem)
    }

    /// Something missing or contradictory, at the first of these keys that the user mentioned; without a place if none
    /// was.
    pub(super) fn add_at_key(&mut self, paths: &[&str], message: impl Display) -> &mut Problem {
        let at = paths.iter().find_map(|path| self.keys.get(*path)).cloned();
        let problem = Problem::new(at.as_ref().and_then(|at| self.texts.place(at, false)), message);
        push(self.doubtful.as_mut().unwrap_or(&mut self.found), at.map_or(usize::MAX, |at| at.start), problem)
    }

    /// The value of a field, if it was given and is right; a mistake if it is wrong.
    pub(super) fn value<T>(&mut self, field: Field<T>) -> Option<T> {
        self.located(field).map(|(value, _)| value)
    }

    /// The same with its position.
    pub(super) fn located<T>(&mut self, field: Field<T>) -> Option<(T, Span)> {
        match field {
            Field::Absent => None,
            Field::Given { value, at } => Some((value, at)),
            Field::Wrong { message, at } => {
                self.add(&at, message);
                None
            }
        }
    }

    /// The right values of a list.
    pub(super) fn list<T>(&mut self, fields: Vec<Field<T>>) -> Vec<(T, Span)> {
        fields.into_iter().filter_map(|field| self.located(field)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The value, if nothing was wrong with anything.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                self.found.sort_by_key(|(position, _)| *position);
                Err(ConfigError { problems: self.found.into_iter().map(|(_, problem)| problem).collect() })
            }
        }
    }
}

fn push(list: &mut Vec<(usize, Problem)>, position: usize, problem: Problem) -> &mut Problem {
    let index = list.len();
    list.push((position, problem));
    &mut list[index].1
}
