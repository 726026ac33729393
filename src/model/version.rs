//! Release versions as Kubernetes, flannel and the CNI plugins write them.

use std::{fmt, str::FromStr};

use super::{Invalid, serde_as_text};

const EXPECTED: &str = "a version such as 1.36.4 (or 1.9.1-flannel1)";

/// A release version: three numbers and an optional suffix, ordered by the numbers, then by the suffix (a version
/// without one is newer than the same numbers with one, as in semantic versioning).
///
/// Accepts a leading `v` and prints without it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
    suffix: Option<String>,
}

impl Version {
    /// A version of three numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch, suffix: None }
    }

    /// The first number.
    #[must_use]
    pub const fn major(&self) -> u16 {
        self.major
    }

    /// The second number: what Kubernetes' skew policy counts.
    #[must_use]
    pub const fn minor(&self) -> u16 {
        self.minor
    }

    /// The numbers alone: SemVer's version core.
    #[must_use]
    pub const fn core(&self) -> Self {
        Self { major: self.major, minor: self.minor, patch: self.patch, suffix: None }
    }

    /// What follows the numbers, without its dash: `flannel1` of `1.9.1-flannel1`.
    #[must_use]
    pub fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }
}

impl FromStr for Version {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(text, EXPECTED);
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (numbers, suffix) = match bare.split_once('-') {
            Some((numbers, suffix)) => (numbers, Some(suffix)),
            None => (bare, None),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if suffix.is_some_and(|suffix| suffix.is_empty() || !suffix.chars().all(allowed)) {
            return Err(invalid());
        }
        let mut parts = numbers.split('.').map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            if plain { part.parse::<u16>().map_err(|_| invalid()) } else { Err(invalid()) }
        });
        let mut next = || parts.next().ok_or_else(invalid)?;
        let (major, minor, patch) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { major, minor, patch, suffix: suffix.map(str::to_owned) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        self.suffix.as_ref().map_or(Ok(()), |suffix| write!(f, "-{suffix}"))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.suffix, &other.suffix) {
            (None, None) => std::cmp::Ordering::Equal,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

serde_as_text!(Version, "a version such as 1.36.4");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers_and_a_suffix_comes_before_none() {
        let parse = |text: &str| text.parse::<Version>().unwrap();
        assert!(parse("1.36.10") > parse("v1.36.9"));
        assert!(parse("1.37.0-rc.1") < parse("1.37.0"));
        assert_eq!(parse("v1.9.1-flannel1").suffix(), Some("flannel1"));
        assert_eq!(parse("v1.36.4").to_string(), "1.36.4");
    }

    #[test]
    fn what_is_not_a_version_is_refused_with_an_example() {
        for text in ["", "1", "1.36", "1.36.4.5", "1.36.x", "1.36.-4", "1.+3.4", "01.2.3", "1.2.3-", "1.2.3-a/b", "1.2.99999"] {
            let error = text.parse::<Version>().unwrap_err();
            assert!(error.to_string().contains("1.36.4"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(major: u16, minor: u16, patch: u16, suffix in "(-[a-z0-9]{1,8})?") {
            let text = format!("{major}.{minor}.{patch}{suffix}");
            prop_assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<Version>();
        }
    }
}
