//! The shape of a fragment: are its keys known, and are its values of the right TOML type?
//!
//! The JSON schema, which is made from the same structs that the fragments are read into, says what is known. What is
//! wrong is reported and taken out of the tree, so that the rest is still checked in the same run.

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{problem::nearest, problems::Problems, text::Span};

/// Checks a table against an object's schema; `path` is the table's own, empty for the document.
pub(super) fn check_table(schema: &Value, table: &mut DeTable<'_>, path: &str, problems: &mut Problems<'_>) {
    let mut wrong = Vec::new();
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().as_ref();
        let right = match property(schema, name) {
            Property::Known(inner) => check_value(inner, value, &join(path, name), problems),
            Property::Refused(reason) => {
                problems.add(&key.span(), format!("{name:?} cannot be set: {reason}"));
                false
            }
            Property::Unknown => {
                unknown_key(schema, &key.span(), name, path, problems);
                false
            }
        };
        if !right {
            wrong.push(name.to_owned());
        }
    }
    for name in wrong {
        table.remove(name.as_str());
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

enum Property<'s> {
    Known(&'s Value),
    Refused(&'s str),
    Unknown,
}

fn property<'s>(schema: &'s Value, name: &str) -> Property<'s> {
    let named = schema.get("properties").and_then(|properties| properties.get(name));
    match named.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object())) {
        Some(inner) => inner.get(REFUSED).and_then(Value::as_str).map_or(Property::Known(inner), Property::Refused),
        None => Property::Unknown,
    }
}

/// The schema's keyword for a field that exists and that only hostlet may set; its value says why.
pub(super) const REFUSED: &str = "x-refused";

fn unknown_key(schema: &Value, at: &Span, name: &str, path: &str, problems: &mut Problems<'_>) {
    const MOST_LISTED: usize = 20;
    let known = || {
        let all = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        all.filter(|(_, inner)| inner.get(REFUSED).is_none()).map(|(name, _)| name.as_str())
    };
    let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
    let problem = problems.add_secretive(at, format!("unknown key {name:?}{place}"), name);
    if let Some(meant) = nearest(name, known()) {
        problem.help.push(format!("did you mean {meant:?}?"));
    }
    let listed: Vec<_> = known().take(MOST_LISTED + 1).collect();
    if listed.len() <= MOST_LISTED {
        problem.help.push(format!("allowed here: {}", listed.join(", ")));
    } else {
        problem.help.push(format!("the fields of {path} are those of KubeletConfiguration, v1beta1"));
    }
}

/// Whether a value may stay. One value where a list may stand too becomes a list of one.
fn check_value(schema: &Value, value: &mut Spanned<DeValue<'_>>, path: &str, problems: &mut Problems<'_>) -> bool {
    if let Some([one, many]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        if value.get_ref().is_array() {
            return check_value(many, value, path, problems);
        }
        let right = check_value(one, value, path, problems);
        let span = value.span();
        let mut list = DeArray::new();
        list.push(std::mem::replace(value, Spanned::new(span.clone(), DeValue::Boolean(false))));
        *value = Spanned::new(span, DeValue::Array(list));
        return right;
    }
    take_as_text(schema, value, problems);
    let span = value.span();
    let allowed = |name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == name),
        Some(kind) => kind == name,
        None => true,
    };
    match value.get_mut() {
        DeValue::Table(table) if allowed("object") => {
            check_table(schema, table, path, problems);
            true
        }
        DeValue::Array(array) if allowed("array") => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            // Every element is checked, also behind a wrong one.
            let wrong = array.iter_mut().filter_map(|item| (!check_value(items, item, path, problems)).then_some(())).count();
            wrong == 0
        }
        DeValue::String(text) if allowed("string") => check_text(schema, text, &span, problems),
        DeValue::Integer(number) if allowed("integer") || allowed("number") => {
            let Ok(value) = i64::from_str_radix(number.as_str(), number.radix()) else {
                problems.add(&span, format!("{number} is not an integer of 64 bits"));
                return false;
            };
            check_range(schema, value, &span, path, problems)
        }
        DeValue::Float(number) if allowed("number") => {
            let finite = number.as_str().parse::<f64>().is_ok_and(f64::is_finite);
            if !finite {
                problems.add(&span, format!("{number} is not a finite number"));
            }
            finite
        }
        DeValue::Boolean(_) if allowed("boolean") => true,
        other => {
            let found = kind_of(other);
            wrong_type(schema, &span, found, path, problems);
            false
        }
    }
}

/// A `--set` whose value happens to look like another type is text where only text is possible: `--set node.name=7`.
fn take_as_text(schema: &Value, value: &mut Spanned<DeValue<'_>>, problems: &Problems<'_>) {
    let scalar = !matches!(value.get_ref(), DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_));
    if scalar
        && schema.get("type").is_some_and(|kind| kind == "string")
        && let Some(text) = problems.texts().set_text(&value.span())
    {
        *value = Spanned::new(value.span(), DeValue::String(DeString::from(text.to_owned())));
    }
}

fn check_range(schema: &Value, value: i64, at: &Span, path: &str, problems: &mut Problems<'_>) -> bool {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    let (least, most) = (bound("minimum"), bound("maximum"));
    if least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
        return true;
    }
    let range = match (least, most) {
        (Some(least), Some(most)) => format!("from {least} to {most}"),
        (Some(least), None) => format!("of at least {least}"),
        (None, Some(most)) => format!("of at most {most}"),
        (None, None) => "in range".to_owned(),
    };
    problems.add(at, format!("{path} is a number {range}, not {value}"));
    false
}

fn check_text(schema: &Value, text: &str, at: &Span, problems: &mut Problems<'_>) -> bool {
    let is_duration = super::kubelet_fields::go_duration(text).is_some();
    if schema.get("format").is_some_and(|format| format == super::kubelet_fields::DURATION) && !is_duration {
        problems.add(at, format!("{text:?} is not a duration as the kubelet reads it, such as 30s or 1m30s"));
        return false;
    }
    true
}

fn wrong_type(schema: &Value, at: &Span, found: &str, path: &str, problems: &mut Problems<'_>) {
    let name = |kind: &Value| match kind.as_str() {
        Some("object") => "a table".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("integer") => "an integer".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some(other) => format!("a {other}"),
        None => "another type".to_owned(),
    };
    let expected = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
        Some(kind) => name(kind),
        None => "another type".to_owned(),
    };
    let problem = problems.add(at, format!("{path} is {expected}, not {found}"));
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        problem.help.push(format!("{path}: {}", description.replace('\n', " ")));
    }
    if expected == "a string" && matches!(found, "an integer" | "a float" | "a boolean" | "a date") {
        problem.help.push("put it in quotes".to_owned());
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
