//! The fields of KubeletConfiguration as a JSON schema, made from `config/kubelet-configuration.txt`.

use serde_json::{Map, Value, json};

use super::{
    availability::{Absence, Availability},
    shape::REFUSED,
};
use crate::model::Version;

const FIELDS: &str = include_str!("../../config/kubelet-configuration.txt");

/// The schema's format for a duration in Go's notation.
pub(super) const DURATION: &str = "go-duration";

/// The schema of `[kubelet.config]`.
pub(super) fn schema() -> Value {
    let mut root = object();
    for (path, kind, _) in entries() {
        let parts: Vec<&str> = path.split('.').collect();
        insert(&mut root, &parts, leaf(kind));
    }
    root
}

/// Every line's path, type, and the versions that have it.
fn entries() -> impl Iterator<Item = (&'static str, &'static str, Availability)> {
    FIELDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(|line| {
        let (path, rest) = line.split_once(' ')?;
        let (kind, availability) = Availability::take_from(rest);
        Some((path, kind, availability))
    })
}

/// The fields of a configuration that this version of the kubelet does not have, and why.
pub(super) fn absent(config: &Map<String, Value>, version: &Version) -> Vec<(&'static str, Absence)> {
    let missing = entries().filter_map(|(path, _, availability)| Some((path, availability.absence(version)?)));
    missing.filter(|(path, _)| is_present(config, path)).collect()
}

fn is_present(config: &Map<String, Value>, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, list) = first.strip_suffix("[]").map_or((first, false), |name| (name, true));
    let Some(value) = config.get(name) else { return false };
    let Some(rest) = rest else { return true };
    let within = |value: &Value| value.as_object().is_some_and(|object| is_present(object, rest));
    if list { value.as_array().is_some_and(|items| items.iter().any(within)) } else { within(value) }
}

/// The fields that this version of the kubelet does not know in a configuration, as its strict decoder names them: those that
/// are in no list, and those of other versions.
#[must_use]
pub fn unknown_kubelet_fields(config: &Map<String, Value>, version: &Version) -> Vec<String> {
    let mut unknown = Vec::new();
    collect_unknown(&schema(), config, "", &mut unknown);
    unknown.extend(absent(config, version).into_iter().map(|(path, _)| path.replace("[]", "[0]")));
    unknown
}

fn collect_unknown(schema: &Value, object: &Map<String, Value>, path: &str, unknown: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, value) in object {
        let path = super::shape::join(path, name);
        let Some(inner) = properties.get(name) else {
            unknown.push(path);
            continue;
        };
        match value {
            Value::Object(object) => collect_unknown(inner, object, &path, unknown),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(object) = item {
                        collect_unknown(&inner["items"], object, &format!("{path}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }
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

/// Seconds, of what Go's time.ParseDuration reads: signed decimal numbers, each with a unit, or a bare 0.
pub(super) fn go_duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let (unit, tail) = UNITS.into_iter().find_map(|(name, unit)| {
            let tail = after.strip_prefix(name)?;
            (tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_digit() || c == '.')).then_some((unit, tail))
        })?;
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds += digits.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    Some(sign * seconds)
}

/// Which versions have a field; a path that only begins one's counts as all of its fields.
#[cfg(test)]
pub(super) fn availability(field: &str) -> Option<Availability> {
    let within = |path: &str| path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    entries().find(|(path, _, _)| within(path)).map(|(_, _, availability)| availability)
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
        for (path, kind, _) in entries() {
            assert!(seen.insert(path), "{path} comes twice");
            let bare = kind.trim_matches(['[', ']', '{', '}']);
            let known = ["string", "boolean", "integer", "number", "duration", "interval", "quantity"];
            assert!(kind.starts_with("refused ") || known.contains(&bare), "{path}: {kind}");
        }
        assert!(seen.len() > 130);
    }

    /// What each minor version added, against what was read in Kubernetes' sources. None of them removed a field.
    #[test]
    fn each_minor_version_has_the_fields_that_its_sources_have() {
        let table = [
            ("maxPods", [true; 5]),
            ("failCgroupV1", [true; 5]),
            ("preloadedImagesVerificationAllowlist", [true; 5]),
            ("memoryReservationPolicy", [false, false, false, true, true]),
            ("tlsCurvePreferences", [false, false, false, true, true]),
            ("defaultPodSysctls", [false, false, false, false, true]),
        ];
        for (field, expected) in table {
            let has = |minor| availability(field).unwrap().absence(&Version::new(1, minor, 0)).is_none();
            assert_eq!([33, 34, 35, 36, 37].map(has), expected, "{field}");
        }
        let count = |minor| {
            let version = Version::new(1, minor, 0);
            entries().filter(move |(_, _, availability)| availability.absence(&version).is_none()).count()
        };
        let counts = [33, 34, 35, 36, 37].map(count);
        assert_eq!([counts[1] - counts[0], counts[2] - counts[0], counts[3] - counts[0], counts[4] - counts[0]], [0, 0, 2, 3]);
    }

    #[test]
    fn what_a_version_does_not_know_is_named_as_its_decoder_names_it() {
        let config = json!({ "maxPod": 5, "authentication": { "x509": { "caFile": "/a" } }, "tlsCurvePreferences": [23],
            "registerWithTaints": [{ "key": "a", "efect": "NoSchedule" }], "evictionHard": { "memory.available": "1Gi" } });
        let unknown = |minor| unknown_kubelet_fields(config.as_object().unwrap(), &Version::new(1, minor, 0));
        let misspelt = ["maxPod", "authentication.x509.caFile", "registerWithTaints[0].efect"];
        assert_eq!(unknown(36), misspelt);
        assert_eq!(unknown(35), [&misspelt[..], &["tlsCurvePreferences"]].concat());
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
            assert!(go_duration(good).is_some(), "{good}");
        }
        assert_eq!(["1m30s", "1.5h", "-100ms", ".5s"].map(go_duration), [90.0, 5400.0, -0.1, 0.5].map(Some));
        for bad in ["", "30", "1 m", "1d", "s", "1..5s", "1m30", "-", "30 seconds"] {
            assert!(go_duration(bad).is_none(), "{bad}");
        }
    }
}
