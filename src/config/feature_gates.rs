//! The kubelet's feature gates, by version, from `config/kubelet-feature-gates.txt`.
//!
//! Source for what a kubelet refuses: component-base/featuregate/feature_gate.go (1.36). Gap: a kubelet that is newer than the
//! table may have other gates, and what turns them on by default is then not judged.

use std::collections::BTreeMap;

use super::{availability::Absence, kubelet_flags::may_have_other_flags, problem::nearest};
use crate::model::Version;

const GATES: &str = include_str!("../../config/kubelet-feature-gates.txt");

type Minor = (u16, u16);

/// How far a feature has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
    Stable,
    Deprecated,
}

/// What a gate is in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    stage: Stage,
    on: bool,
    locked: bool,
}

/// A gate, all versions of it.
#[derive(Debug, Default)]
struct Gate {
    name: &'static str,
    /// What it is from a version on; none where it is gone.
    states: Vec<(Minor, Option<State>)>,
    /// The gates without which it must not be on, from a version on.
    needs: Vec<(Minor, &'static str)>,
}

/// Why a kubelet does not take what its gates are set to: it exits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateProblem {
    /// No version has it.
    Unknown {
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// This version does not have it.
    Absent(Absence),
    /// It can only be what it is.
    Locked {
        /// What it is.
        to: bool,
    },
    /// It is on, and another that it needs is off.
    Needs {
        /// The other one.
        other: &'static str,
    },
}

/// What the gates of a kubelet are, by its version and by what they are set to.
#[derive(Debug)]
pub struct FeatureGates<'s> {
    version: Version,
    set: &'s BTreeMap<String, bool>,
}

impl<'s> FeatureGates<'s> {
    /// The gates of a version, set to these.
    #[must_use]
    pub fn new(version: &Version, set: &'s BTreeMap<String, bool>) -> Self {
        Self { version: version.clone(), set }
    }

    /// Each gate that is wrong, and why.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'s str, GateProblem)> {
        let mut found: Vec<(&'s str, GateProblem)> =
            self.set.iter().filter_map(|(name, on)| Some((name.as_str(), self.problem(name, *on)?))).collect();
        // A kubelet that finds one of these looks no further.
        if found.is_empty() && !may_have_other_flags(&self.version) {
            found.extend(self.unmet());
        }
        found
    }

    fn problem(&self, name: &str, on: bool) -> Option<GateProblem> {
        let Some(gate) = gate(name) else {
            let meant = nearest(name, gates().filter(|gate| gate.state(&self.version).is_ok()).map(|gate| gate.name));
            return (!may_have_other_flags(&self.version)).then_some(GateProblem::Unknown { meant });
        };
        match gate.state(&self.version) {
            Err(absence) => Some(GateProblem::Absent(absence)),
            Ok(state) if state.locked && state.on != on => Some(GateProblem::Locked { to: state.on }),
            Ok(_) => None,
        }
    }

    /// Gates that are on without one that they need. That one was set, since none is so by default.
    fn unmet(&self) -> Vec<(&'s str, GateProblem)> {
        let (mut found, version) = (Vec::new(), self.minor());
        for gate in gates().filter(|gate| self.of(gate) == Some(true)) {
            let needs = gate.needs.iter().filter(|(since, other)| version >= *since && self.is_on(other) == Some(false));
            found.extend(needs.map(|(_, other)| (gate.name, GateProblem::Needs { other })));
        }
        found
    }

    /// Whether a feature is on; none where this version does not have it, or nobody knows.
    #[must_use]
    pub fn is_on(&self, name: &str) -> Option<bool> {
        self.of(&gate(name)?)
    }

    fn of(&self, gate: &Gate) -> Option<bool> {
        let state = gate.state(&self.version).ok()?;
        let all = match state.stage {
            Stage::Alpha => self.set.get("AllAlpha"),
            Stage::Beta => self.set.get("AllBeta"),
            Stage::Stable | Stage::Deprecated => None,
        };
        self.set.get(gate.name).or(all).copied().or(Some(state.on))
    }

    fn minor(&self) -> Minor {
        (self.version.major(), self.version.minor())
    }
}

impl Gate {
    fn state(&self, version: &Version) -> Result<State, Absence> {
        let minor = (version.major(), version.minor());
        match self.states.iter().rev().find(|(since, _)| minor >= *since) {
            Some((_, Some(state))) => Ok(*state),
            Some((since, None)) => Err(Absence::Gone(*since)),
            None => Err(Absence::Later(self.states.first().map_or(minor, |(since, _)| *since))),
        }
    }

    fn read(line: &'static str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut gate = Self { name: words.next()?, ..Self::default() };
        for mark in words {
            let (since, what) = mark.split_once(':')?;
            let (major, minor) = since.split_once('.')?;
            let since = (major.parse().ok()?, minor.parse().ok()?);
            match what.split_once(':') {
                None if what == "gone" => gate.states.push((since, None)),
                Some(("needs", others)) => gate.needs.extend(others.split(',').map(|other| (since, other))),
                Some((stage, default)) => gate.states.push((since, Some(State::read(stage, default)?))),
                None => return None,
            }
        }
        Some(gate)
    }
}

impl State {
    fn read(stage: &str, default: &str) -> Option<Self> {
        let stage = match stage {
            "alpha" => Stage::Alpha,
            "beta" => Stage::Beta,
            "ga" => Stage::Stable,
            "deprecated" => Stage::Deprecated,
            _ => return None,
        };
        let (on, locked) = match default {
            "on" => (true, false),
            "off" => (false, false),
            "on:locked" => (true, true),
            "off:locked" => (false, true),
            _ => return None,
        };
        Some(Self { stage, on, locked })
    }
}

fn lines() -> impl Iterator<Item = &'static str> {
    GATES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn gates() -> impl Iterator<Item = Gate> {
    lines().filter_map(Gate::read)
}

fn gate(name: &str) -> Option<Gate> {
    let named = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    lines().find(named).and_then(Gate::read)
}

/// What `--feature-gates` says: `NAME=true,NAME=false`. Source: the same, and Go's strconv.ParseBool.
pub fn parse_feature_gates(text: &str) -> Result<BTreeMap<String, bool>, String> {
    let mut set = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not NAME=true or NAME=false"))?;
        let on = match value.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(format!("{value:?} for {name} is neither true nor false")),
        };
        set.insert(name.trim().to_owned(), on);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(minor: u16, set: &[(&str, bool)]) -> Vec<(String, GateProblem)> {
        let set = set.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
        let gates = FeatureGates::new(&Version::new(1, minor, 0), &set);
        gates.problems().into_iter().map(|(name, problem)| (name.to_owned(), problem)).collect()
    }

    #[test]
    fn every_line_of_the_list_is_a_gate_whose_versions_rise_and_what_it_needs_is_one() {
        let mut seen = std::collections::BTreeSet::new();
        for line in lines() {
            let gate = Gate::read(line).unwrap_or_else(|| panic!("{line}"));
            assert!(seen.insert(gate.name) && !gate.states.is_empty(), "{line}");
            assert!(gate.states.is_sorted_by(|one, other| one.0 < other.0), "{line}");
            for (since, other) in gate.needs {
                let other = super::gate(other).unwrap_or_else(|| panic!("{line}"));
                assert!(other.state(&Version::new(since.0, since.1, 0)).is_ok(), "{line}");
            }
        }
        assert!(seen.len() > 400);
    }

    /// As counted in the sources of each version; of 1.37 the published changes are 25 gates gone and 13 newly locked.
    #[test]
    fn each_minor_version_has_the_gates_that_its_sources_have() {
        let there = |minor| gates().filter(|gate| gate.state(&Version::new(1, minor, 0)).is_ok()).count();
        assert_eq!([33, 34, 35, 36, 37].map(there), [191, 208, 218, 241, 254]);
        let state = |gate: &Gate, minor| gate.state(&Version::new(1, minor, 0)).ok();
        let gone = gates().filter(|gate| state(gate, 36).is_some() && state(gate, 37).is_none()).count();
        let locked = |state: Option<State>| state.is_some_and(|state| state.locked);
        let newly = gates().filter(|gate| locked(state(gate, 37)) && !locked(state(gate, 36))).count();
        assert_eq!((gone, newly), (25, 13));
    }

    #[test]
    fn no_version_needs_anything_to_be_set() {
        for minor in 33..=37 {
            assert_eq!(found(minor, &[]), [], "1.{minor}");
        }
    }

    #[test]
    fn a_gate_is_refused_for_what_it_is_in_this_version() {
        let absent = |absence| vec![("SidecarContainers".to_owned(), GateProblem::Absent(absence))];
        assert_eq!(found(36, &[("SidecarContainers", true)]), []);
        assert_eq!(found(37, &[("SidecarContainers", true)]), absent(Absence::Gone((1, 37))));
        assert_eq!(found(36, &[("DefaultPodSysctls", true)])[0].1, GateProblem::Absent(Absence::Later((1, 37))));
        assert_eq!(found(33, &[("NodeSwap", false)]), []);
        assert_eq!(found(34, &[("NodeSwap", false)])[0].1, GateProblem::Locked { to: true });
        assert_eq!(found(34, &[("NodeSwap", true)]), []);
        assert_eq!(found(36, &[("SeccompDefault", true)])[0].1, GateProblem::Absent(Absence::Gone((1, 29))));
        assert_eq!(found(36, &[("NodeSwapp", true)])[0].1, GateProblem::Unknown { meant: Some("NodeSwap") });
        // What is newer than the table may have others; what was gone stays gone.
        assert_eq!(found(38, &[("NewlyMade", true)]), []);
        assert_eq!(found(38, &[("SidecarContainers", true)])[0].1, GateProblem::Absent(Absence::Gone((1, 37))));
    }

    #[test]
    fn a_gate_that_is_on_needs_others_to_be_on_since_1_35() {
        let off = [("PodLevelResources", false)];
        let needs = |name: &str| (name.to_owned(), GateProblem::Needs { other: "PodLevelResources" });
        assert_eq!(found(34, &off), []);
        assert_eq!(found(35, &off), [], "what needs it is off by default");
        assert_eq!(found(36, &off), [needs("InPlacePodLevelResourcesVerticalScaling")]);
        assert_eq!(found(36, &[off[0], ("InPlacePodLevelResourcesVerticalScaling", false)]), []);
        // What it needed is gone, and always on.
        assert_eq!(found(37, &[("PodCertificateRequest", true)]), []);
        assert_eq!(found(36, &[("AllBeta", false)]), []);
    }

    #[test]
    fn a_default_goes_by_the_stage_where_all_of_that_are_set() {
        let on = |minor, set: &[(&str, bool)]| {
            let set = set.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
            FeatureGates::new(&Version::new(1, minor, 0), &set).is_on("KubeletCrashLoopBackOffMax")
        };
        assert_eq!((on(34, &[]), on(35, &[])), (Some(false), Some(true)));
        assert_eq!((on(34, &[("AllAlpha", true)]), on(35, &[("AllBeta", false)])), (Some(true), Some(false)));
        assert_eq!(on(34, &[("AllAlpha", true), ("KubeletCrashLoopBackOffMax", false)]), Some(false));
    }

    #[test]
    fn the_flag_is_read_as_go_reads_it() {
        let read = |text: &str| parse_feature_gates(text).map(|set| set.into_iter().collect::<Vec<_>>());
        let expected = vec![("A".to_owned(), true), ("B".to_owned(), false)];
        assert_eq!(read("A=true,B=F,").unwrap(), expected);
        assert!(read("A").unwrap_err().contains("\"A\" is not NAME=true"));
        assert!(read("A=yes").unwrap_err().contains("neither true nor false"));
    }

    proptest! {
        #[test]
        fn nothing_makes_the_readers_panic(text in ".{0,60}", minor in 0u16..60) {
            let _ = found(minor, &[(&text, true)]);
            let _ = parse_feature_gates(&text);
        }
    }
}
