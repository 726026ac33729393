//! A certificate that is outside of its time: is it the certificate, or a clock?

use jiff::{SignedDuration, Timestamp, Unit};

use super::{Bound, OutOfTime};

/// Clocks that differ by more are not both right. Certificates of a new cluster are minutes old.
const APART: SignedDuration = SignedDuration::from_secs(60);

impl OutOfTime {
    /// Whether the two clocks contradict each other; `None` where the API server did not tell its own.
    #[must_use]
    pub fn clocks_differ(&self) -> Option<bool> {
        Some(self.ours.duration_since(self.theirs?).abs() > APART)
    }
}

impl Bound {
    /// A moment at which the certificate is, or was, valid.
    pub(super) fn inside(self) -> Timestamp {
        let second = SignedDuration::from_secs(1);
        match self {
            Self::NotAfter(end) => end.saturating_sub(second).unwrap_or(end),
            Self::NotBefore(begin) => begin.saturating_add(second).unwrap_or(begin),
        }
    }
}

fn shown(time: Timestamp) -> String {
    time.round(Unit::Second).unwrap_or(time).to_string()
}

pub(super) fn explain(found: &OutOfTime) -> String {
    let OutOfTime { whose, address, bound, ours, theirs } = found;
    let limit = match bound {
        Bound::NotAfter(end) => format!("expired at {}", shown(*end)),
        Bound::NotBefore(begin) => format!("is not valid before {}", shown(*begin)),
    };
    let theirs = theirs.map_or_else(|| "not known".to_owned(), shown);
    format!("{whose} ({address}) {limit}\nthis host's clock: {}; the API server's clock: {theirs}", shown(*ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_are_told_and_compared() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut found = OutOfTime {
            whose: "the API server's certificate",
            address: "10.0.0.1:6443".parse().unwrap(),
            bound: Bound::NotBefore(time("2026-03-01T00:00:00Z")),
            ours: time("1970-01-01T00:01:07Z"),
            theirs: Some(time("2026-03-02T12:00:00Z")),
        };
        let said = explain(&found);
        for text in ["is not valid before 2026-03-01T00:00:00Z", "clock: 1970-01-01T00:01:07Z", "clock: 2026-03-02T12:00:00Z"] {
            assert!(said.contains(text), "{said}");
        }
        assert_eq!(found.clocks_differ(), Some(true));
        found.theirs = Some(time("1970-01-01T00:01:08Z"));
        assert_eq!(found.clocks_differ(), Some(false));
        found.theirs = None;
        assert_eq!(found.clocks_differ(), None);
        assert!(found.bound.inside() > time("2026-03-01T00:00:00Z"));
    }
}
