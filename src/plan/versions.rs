//! Which kubelet may follow which, and which may serve under an API server.
//!
//! Source: Kubernetes' version skew policy (kubernetes.io/releases/version-skew-policy): a kubelet is never newer than its
//! API server and at most three minor versions older.

use std::fmt;

use crate::model::Version;

/// How much older than its API server a kubelet may be, in minor versions.
const OLDER: u16 = 3;

/// What the user asked for by flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllowedSteps {
    /// `--allow-downgrade`
    pub downgrade: bool,
    /// `--allow-minor-skip`
    pub minor_skip: bool,
}

/// A step from one version of the kubelet to another that is made only when asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnusualStep {
    /// To an older one.
    Downgrade {
        /// What is installed.
        from: Version,
        /// What is wanted.
        to: Version,
    },
    /// Over more than one minor version.
    MinorSkip {
        /// What is installed.
        from: Version,
        /// What is wanted.
        to: Version,
    },
}

impl UnusualStep {
    /// Whether it was asked for.
    #[must_use]
    pub const fn is_allowed(&self, allowed: AllowedSteps) -> bool {
        match self {
            Self::Downgrade { .. } => allowed.downgrade,
            Self::MinorSkip { .. } => allowed.minor_skip,
        }
    }

    /// The flag that asks for it.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        match self {
            Self::Downgrade { .. } => "--allow-downgrade",
            Self::MinorSkip { .. } => "--allow-minor-skip",
        }
    }
}

impl fmt::Display for UnusualStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Downgrade { from, to } => write!(
                f,
                "kubelet {to} is older than {from}, which is installed: an older kubelet may not understand what a newer one \
                 left under its root directory, and nobody tests that"
            ),
            Self::MinorSkip { from, to } => write!(
                f,
                "from kubelet {from} to {to} is more than one minor version at a time: what is announced in one and gone in \
                 the next (flags, fields, the form of checkpoints) goes without a warning"
            ),
        }
    }
}

/// Steps that are made only when asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", explain(.0))]
pub struct NotAskedFor(pub Vec<UnusualStep>);

fn explain(steps: &[UnusualStep]) -> String {
    let reasons: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let flags: Vec<&str> = steps.iter().map(UnusualStep::flag).collect();
    let instead = match steps.first() {
        Some(UnusualStep::MinorSkip { .. }) => "go through the versions in between",
        _ => "stay with what is installed (`hostlet rollback` goes back to the previous generation)",
    };
    format!("{}\n{instead}, or drain the node and say that it is meant with {}", reasons.join("\n"), flags.join(" "))
}

/// What is unusual about a step; nothing for a first installation.
#[must_use]
pub fn unusual_steps(from: Option<&Version>, to: &Version) -> Vec<UnusualStep> {
    let Some(from) = from else { return Vec::new() };
    let mut unusual = Vec::new();
    if from.major() != to.major() || from.minor().abs_diff(to.minor()) > 1 {
        unusual.push(UnusualStep::MinorSkip { from: from.clone(), to: to.clone() });
    }
    if to < from {
        unusual.push(UnusualStep::Downgrade { from: from.clone(), to: to.clone() });
    }
    unusual
}

/// The kubelet and the API server are too far apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skew {
    /// The kubelet is newer.
    #[error(
        "the API server has version {server}, and a kubelet must not be newer than its API server (Kubernetes' version skew \
         policy), so {kubelet} cannot serve under it; upgrade the control plane first, or install a kubelet of {}.{} or of up \
         to three minor versions before it",
        server.major(),
        server.minor()
    )]
    KubeletNewer {
        /// The wanted kubelet.
        kubelet: Version,
        /// The API server.
        server: Version,
    },
    /// The kubelet is much older.
    #[error(
        "the API server has version {server}, and a kubelet may be at most three minor versions older (Kubernetes' version \
         skew policy), so {kubelet} cannot serve under it; install a kubelet of {}.{} or newer, not newer than the API server",
        server.major(),
        server.minor().saturating_sub(OLDER)
    )]
    KubeletTooOld {
        /// The wanted kubelet.
        kubelet: Version,
        /// The API server.
        server: Version,
    },
}

/// Whether the kubelet may serve under the API server. The policy counts minor versions, not patches.
pub fn skew(kubelet: &Version, server: &Version) -> Result<(), Skew> {
    let minors = |version: &Version| (version.major(), version.minor());
    let (kubelet, server) = (kubelet.clone(), server.clone());
    if minors(&kubelet) > minors(&server) {
        return Err(Skew::KubeletNewer { kubelet, server });
    }
    if kubelet.major() != server.major() || server.minor() - kubelet.minor() > OLDER {
        return Err(Skew::KubeletTooOld { kubelet, server });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn flags(from: &str, to: &str) -> Vec<&'static str> {
        unusual_steps(Some(&version(from)), &version(to)).iter().map(UnusualStep::flag).collect()
    }

    #[test]
    fn patches_and_the_next_minor_version_are_usual_steps() {
        for (from, to) in [("1.36.4", "1.36.4"), ("1.36.4", "1.36.5"), ("1.36.4", "1.37.0"), ("1.37.0-rc.1", "1.37.0")] {
            assert_eq!(flags(from, to), [""; 0], "{from} {to}");
        }
        assert_eq!(unusual_steps(None, &version("1.33.0")), []);
    }

    #[test]
    fn going_back_and_skipping_a_minor_version_have_a_flag_each() {
        assert_eq!(flags("1.36.4", "1.36.3"), ["--allow-downgrade"]);
        assert_eq!(flags("1.36.4", "1.35.9"), ["--allow-downgrade"]);
        assert_eq!(flags("1.34.0", "1.36.0"), ["--allow-minor-skip"]);
        assert_eq!(flags("1.36.0", "1.34.0"), ["--allow-minor-skip", "--allow-downgrade"]);
        let step = &unusual_steps(Some(&version("1.36.4")), &version("1.36.3"))[0];
        assert!(!step.is_allowed(AllowedSteps { minor_skip: true, ..AllowedSteps::default() }));
        assert!(step.is_allowed(AllowedSteps { downgrade: true, ..AllowedSteps::default() }));
    }

    #[test]
    fn a_refusal_says_what_was_found_why_and_which_flag() {
        let refused = NotAskedFor(unusual_steps(Some(&version("1.36.4")), &version("1.34.0"))).to_string();
        for text in ["1.36.4", "1.34.0", "--allow-minor-skip --allow-downgrade", "drain the node"] {
            assert!(refused.contains(text), "{text}: {refused}");
        }
    }

    #[test]
    fn a_kubelet_is_never_newer_than_the_api_server_nor_more_than_three_minor_versions_older() {
        let skew = |kubelet: &str, server: &str| skew(&version(kubelet), &version(server));
        assert_eq!(skew("1.36.9", "1.36.0"), Ok(()), "patches do not count");
        assert_eq!(skew("1.33.0", "1.36.4"), Ok(()));
        let newer = skew("1.37.0", "1.36.4").unwrap_err();
        assert!(newer.to_string().contains("install a kubelet of 1.36 or of up to three"), "{newer}");
        let old = skew("1.32.9", "1.36.4").unwrap_err();
        assert!(old.to_string().contains("install a kubelet of 1.33 or newer"), "{old}");
    }

    proptest! {
        #[test]
        fn the_policy_is_a_window_of_four_minor_versions(kubelet in 0u16..60, server in 0u16..60) {
            let allowed = skew(&Version::new(1, kubelet, 0), &Version::new(1, server, 7)).is_ok();
            prop_assert_eq!(allowed, (server.saturating_sub(3)..=server).contains(&kubelet));
        }
    }
}
