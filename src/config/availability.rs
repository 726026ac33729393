//! In which minor versions of a program a flag or a field is there, as the tables in `config/` mark it.

use crate::model::Version;

/// The marks `since 1.N` and `until 1.N`; without them it is in all versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Availability {
    since: Option<(u16, u16)>,
    until: Option<(u16, u16)>,
}

/// Why a version does not have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// It came later.
    #[error("it was added in {}.{}", .0.0, .0.1)]
    Later((u16, u16)),
    /// It is gone.
    #[error("it was removed in {}.{}", .0.0, .0.1)]
    Gone((u16, u16)),
}

impl Availability {
    /// Takes the marks off the end of a line of a table: the rest, and what they say.
    pub(super) fn take_from(line: &str) -> (&str, Self) {
        let mut rest = line.trim_end();
        let mut marks = Self::default();
        while let Some((before, last)) = rest.rsplit_once(' ') {
            let Some((before, word)) = before.trim_end().rsplit_once(' ') else { break };
            let Some((major, minor)) = last.split_once('.') else { break };
            let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { break };
            match word {
                "since" => marks.since = Some((major, minor)),
                "until" => marks.until = Some((major, minor)),
                _ => break,
            }
            rest = before.trim_end();
        }
        (rest, marks)
    }

    /// Why a version does not have it; none where it does.
    #[must_use]
    pub fn absence(self, version: &Version) -> Option<Absence> {
        let minor = (version.major(), version.minor());
        if let Some(since) = self.since.filter(|since| minor < *since) {
            return Some(Absence::Later(since));
        }
        self.until.filter(|until| minor > *until).map(|(major, last)| Absence::Gone((major, last + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_off_the_end_of_a_line() {
        let (rest, marks) = Availability::take_from("[integer] since 1.36");
        assert_eq!((rest, marks.absence(&Version::new(1, 36, 0))), ("[integer]", None));
        assert_eq!(marks.absence(&Version::new(1, 35, 9)).unwrap().to_string(), "it was added in 1.36");
        let (rest, marks) = Availability::take_from("value since 1.33 until 1.34");
        assert_eq!((rest, marks.absence(&Version::new(1, 34, 9))), ("value", None));
        assert_eq!(marks.absence(&Version::new(1, 35, 0)).unwrap().to_string(), "it was removed in 1.35");
        assert_eq!(Availability::take_from("{string}"), ("{string}", Availability::default()));
    }
}
