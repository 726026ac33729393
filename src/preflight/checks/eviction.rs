//! The kubelet's eviction line: below how much of a resource it evicts pods. Source: kubernetes, "Node-pressure Eviction",
//! and pkg/kubelet/apis/config defaults.

use serde_json::Value;

use super::quantity;
use crate::preflight::Subject;

/// A share of what there is, or a number: of bytes, or of inodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    Share(f64),
    Number(u64),
}

impl Line {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "sizes of disks")]
    pub(super) fn of(self, total: u64) -> u64 {
        match self {
            Self::Share(share) => (total as f64 * share) as u64,
            Self::Number(number) => number,
        }
    }
}

const DEFAULTS: [(&str, Line); 5] = [
    ("memory.available", Line::Number(100 << 20)),
    ("nodefs.available", Line::Share(0.10)),
    ("nodefs.inodesFree", Line::Share(0.05)),
    ("imagefs.available", Line::Share(0.15)),
    ("imagefs.inodesFree", Line::Share(0.05)),
];

/// The line for a signal. Whoever sets evictionHard sets all of it: a signal that is not in it has no line, unless
/// mergeDefaultEvictionSettings says otherwise.
pub(super) fn line(subject: &Subject, signal: &str) -> Line {
    let default = || DEFAULTS.iter().find(|(name, _)| *name == signal).map_or(Line::Number(0), |(_, line)| *line);
    let Some(configured) = subject.kubelet_field("evictionHard") else { return default() };
    match configured.get(signal).and_then(Value::as_str) {
        Some(text) => parse(text).unwrap_or_else(default),
        None if subject.kubelet_flag("mergeDefaultEvictionSettings", false) => default(),
        None => Line::Number(0),
    }
}

/// A percentage, or a quantity.
fn parse(text: &str) -> Option<Line> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(|p| Line::Share(p / 100.0));
    }
    quantity::bytes(text).map(Line::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::preflight::runner::tests::subject;

    #[test]
    fn an_eviction_line_is_a_share_or_a_size() {
        assert_eq!(parse("15%"), Some(Line::Share(0.15)));
        assert_eq!(parse("1Gi"), Some(Line::Number(1 << 30)));
        for bad in ["", "x", "1Gib", "101%", "-5%", "99999999999999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(Line::Share(0.1).of(1000), 100);
    }

    #[test]
    fn who_sets_one_signal_switches_the_defaults_of_the_others_off() {
        let mut subject = subject();
        assert_eq!(line(&subject, "nodefs.available"), Line::Share(0.10));
        subject.settings.kubelet.config.insert("evictionHard".to_owned(), json!({ "memory.available": "200Mi" }));
        assert_eq!(line(&subject, "memory.available"), Line::Number(200 << 20));
        assert_eq!(line(&subject, "nodefs.available"), Line::Number(0));
        subject.settings.kubelet.config.insert("mergeDefaultEvictionSettings".to_owned(), json!(true));
        assert_eq!(line(&subject, "nodefs.available"), Line::Share(0.10));
    }
}
