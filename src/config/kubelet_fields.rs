//! The fields of KubeletConfiguration as a JSON schema, made from `config/kubelet-configuration.txt`.

use serde_json::{Map, Value, json};

use super::shape::REFUSED;

const FIELDS: &str = include_str!("../../config/kubelet-configuration.txt");

/// The schema's format for a duration in Go's notation.
pub(super) const DURATION: &str = "go-duration";

/// The schema of `[kubelet.config]`.
pub(super) fn schema() -> Value {
    let mut root = object();
    for line in FIELDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((path, kind)) = line.split_once(' ') {
            let parts: Vec<&str> = path.split('.').collect();
            insert(&mut root, &parts, leaf(kind));
        }
    }
    root
}

fn object() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn insert(into: &mut Value, parts: &[&str], leaf: Value) {
    let (Some((first, rest)), Some(properties)) = (parts.split_first(), into["properties"].as_object_mut()) else {
        return;
    };
    if rest.is_empty() {
        properties.insert((*first).to_owned(), leaf);
        return;
    }
    match first.strip_suffix("[]") {
        Some(list) => {
            let entry = properties.entry(list).or_insert_with(|| json!({ "type": "array", "items": object() }));
            insert(&mut entry["items"], rest, leaf);
        }
        None => insert(properties.entry(*first).or_insert_with(object), rest, leaf),
    }
}

fn leaf(kind: &str) -> Value {
    if let Some(reason) = kind.strip_prefix("refused ") {
        return json!({ "not": {}, REFUSED: reason });
    }
    let inner = |open, close| kind.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(item) = inner('[', ']') {
        return json!({ "type": "array", "items": leaf(item) });
    }
    if let Some(item) = inner('{', '}') {
        return json!({ "type": "object", "additionalProperties": leaf(item) });
    }
    match kind {
        "duration" => json!({ "type": "string", "format": DURATION }),
        "interval" => json!({ "type": ["string", "integer"], "format": DURATION }),
        "quantity" => json!({ "type": ["string", "integer"] }),
        other => json!({ "type": other }),
    }
}

/// Whether Go's time.ParseDuration reads it: signed decimal numbers, each with a unit, or a bare 0.
pub(super) fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let valid = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() <= 1;
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().find_map(|unit| {
            after
                .strip_prefix(unit)
                .filter(|tail| tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        });
        match unit {
            Some(tail) if valid => rest = tail,
            _ => return false,
        }
    }
    true
}

/// For tests: every line's path and type.
#[cfg(test)]
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIELDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| line.split_once(' ').unwrap())
}

/// What a table of the configuration is, once it is checked: any fields of KubeletConfiguration, as JSON.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct KubeletConfig(pub(super) Map<String, Value>);

impl schemars::JsonSchema for KubeletConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KubeletConfiguration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::Schema::try_from(schema()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_path_and_a_type_that_is_known_and_none_comes_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for (path, kind) in entries() {
            assert!(seen.insert(path), "{path} comes twice");
            let bare = kind.trim_matches(['[', ']', '{', '}']);
            let known = ["string", "boolean", "integer", "number", "duration", "interval", "quantity"];
            assert!(kind.starts_with("refused ") || known.contains(&bare), "{path}: {kind}");
        }
        assert!(seen.len() > 130);
    }

    #[test]
    fn nested_fields_and_lists_of_objects_become_nested_schemas() {
        let schema = schema();
        let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/properties/authentication/properties/x509/properties/clientCAFile/type"), "string");
        assert_eq!(at("/properties/logging/properties/vmodule/items/properties/verbosity/type"), "integer");
        assert_eq!(at("/properties/featureGates/additionalProperties/type"), "boolean");
        assert_eq!(at("/properties/authentication/additionalProperties"), false);
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for good in ["0", "30s", "1m30s", "1.5h", "-1s", "100ms", "2h45m", ".5s"] {
            assert!(is_go_duration(good), "{good}");
        }
        for bad in ["", "30", "1 m", "1d", "s", "1..5s", "1m30", "-", "30 seconds"] {
            assert!(!is_go_duration(bad), "{bad}");
        }
    }
}
