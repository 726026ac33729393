//! The kubelet's flags, by version, from `config/kubelet-flags.txt`.

use super::availability::Availability;
use crate::model::Version;

const FLAGS: &str = include_str!("../../config/kubelet-flags.txt");
/// The newest minor version that the list was made for, and those of the fields and the feature gates.
const NEWEST: (u16, u16) = (1, 37);

/// One of the kubelet's flags.
#[derive(Debug, Clone, Copy)]
pub struct KubeletFlag {
    /// Without its dashes.
    pub name: &'static str,
    /// It stands alone: `--name` is `--name=true`.
    pub switch: bool,
    /// Which versions have it.
    pub availability: Availability,
    /// The field of KubeletConfiguration that it sets, where it does: it is deprecated for that.
    pub field: Option<&'static str>,
    /// What to use instead.
    pub instead: Option<&'static str>,
}

/// All of them, those that are gone included.
pub fn kubelet_flags() -> impl Iterator<Item = KubeletFlag> {
    FLAGS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(read)
}

/// Whether flags and feature gates that are not in the lists may be there all the same.
#[must_use]
pub fn may_have_other_flags(version: &Version) -> bool {
    (version.major(), version.minor()) > NEWEST
}

fn read(line: &'static str) -> Option<KubeletFlag> {
    let (line, instead) = match line.split_once(" | ") {
        Some((line, instead)) => (line, Some(instead)),
        None => (line, None),
    };
    let (line, field) = match line.split_once(" = ") {
        Some((line, field)) => (line, Some(field)),
        None => (line, None),
    };
    let (line, availability) = Availability::take_from(line);
    let (name, kind) = line.split_once(' ')?;
    Some(KubeletFlag { name, switch: kind == "switch", availability, field, instead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kubelet_fields;

    #[test]
    fn every_line_of_the_list_is_a_flag_and_none_comes_twice() {
        let lines = FLAGS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut seen = std::collections::BTreeSet::new();
        for line in lines {
            let flag = read(line).unwrap_or_else(|| panic!("{line}"));
            assert!(seen.insert(flag.name), "{} comes twice", flag.name);
            let known = flag.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(known && (line.contains(" switch") || line.contains(" value")), "{line}");
        }
        assert!(seen.len() > 150);
    }

    #[test]
    fn every_field_that_a_flag_sets_is_one_and_is_there_as_long_as_the_flag() {
        for flag in kubelet_flags() {
            let Some(field) = flag.field else { continue };
            let found = kubelet_fields::availability(field);
            let found = found.unwrap_or_else(|| panic!("--{}: there is no field {field}", flag.name));
            assert_eq!(found, flag.availability, "--{} and {field}", flag.name);
        }
    }

    /// What each minor version added and removed, against what was read in Kubernetes' sources.
    #[test]
    fn each_minor_version_has_the_flags_that_its_sources_have() {
        let has = |name: &str, minor| {
            let flag = kubelet_flags().find(|flag| flag.name == name).unwrap();
            flag.availability.absence(&Version::new(1, minor, 0)).is_none()
        };
        let table = [
            ("config", [true, true, true, true, true]),
            ("fail-cgroupv1", [true, true, true, true, true]),
            ("experimental-mounter-path", [true, true, true, true, true]),
            ("cloud-config", [true, false, false, false, false]),
            ("pod-infra-container-image", [true, true, false, false, false]),
            ("containerd", [true, true, true, true, false]),
            ("housekeeping-interval", [true; 5]),
            ("register-schedulable", [true, false, false, false, false]),
            ("container-runtime", [false; 5]),
        ];
        for (name, expected) in table {
            assert_eq!([33, 34, 35, 36, 37].map(|minor| has(name, minor)), expected, "--{name}");
        }
        let count = |minor| {
            let version = Version::new(1, minor, 0);
            kubelet_flags().filter(|flag| flag.availability.absence(&version).is_none()).count()
        };
        let counts = [33, 34, 35, 36, 37].map(count);
        assert_eq!([counts[0] - counts[1], counts[1] - counts[2], counts[3] - counts[2], counts[3] - counts[4]], [2, 1, 0, 18]);
    }
}
