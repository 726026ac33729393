//! A certificate that is outside of its time: is it the certificate, or a clock?

use std::fmt;

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, Unit, fmt::rfc2822};

use super::{Bound, OutOfTime};

/// Clocks that differ by more are not both right. Certificates of a new cluster are minutes old.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// This host's clock and the API server's, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// This host's.
    pub ours: Timestamp,
    /// The API server's, as its answer has it: in whole seconds, and as old as the answer.
    pub theirs: Timestamp,
}

impl Clocks {
    /// `None` where the answer has no time.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        date(headers).map(|theirs| Self { ours: Timestamp::now(), theirs })
    }

    /// Whether they are not both right.
    #[must_use]
    pub fn differ(&self) -> bool {
        self.apart() > APART
    }

    /// How far they are apart, one way or the other.
    #[must_use]
    pub fn apart(&self) -> SignedDuration {
        self.ours.duration_since(self.theirs).abs()
    }
}

/// Both, to the second.
impl fmt::Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this host's clock: {}; the API server's clock: {}", shown(self.ours), shown(self.theirs))
    }
}

/// The server's clock. Source: RFC 9110, section 6.6.1.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

impl OutOfTime {
    /// Whether the two clocks contradict each other; `None` where the API server did not tell its own.
    #[must_use]
    pub fn clocks_differ(&self) -> Option<bool> {
        Some(Clocks { ours: self.ours, theirs: self.theirs? }.differ())
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
        let apart = |theirs: &str| Clocks { ours: time("2026-11-25T09:00:00Z"), theirs: time(theirs) };
        assert!(apart("2026-11-25T10:00:00Z").differ() && apart("2026-11-25T08:00:00Z").differ());
        assert!(!apart("2026-11-25T09:01:00Z").differ(), "an answer may have taken its time");
        assert!(found.bound.inside() > time("2026-03-01T00:00:00Z"));
    }
}
