//! From a kubelet that runs to a node that is Ready: the chain of what has to happen, link by link, and what keeps the
//! first one that is missing from happening.
//!
//! Promise: asks only, with nothing but what the kubelet itself has: its certificate, or what it bootstraps with. Each look
//! names one link and one cause. Gap: whether routes lead to each other node is not known here, since a kubelet may read its
//! own Node only; the mesh tells that.

mod certificate;
mod flannel;
mod network;
mod node;
mod wait;

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use flannel::Flannel;
pub use node::node_of;
pub use wait::{Patience, look, wait};

use crate::model::{NodeName, Version, layout};

/// What the node shall be once it is Ready.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The Node's name.
    pub node: NodeName,
    /// The kubelet that is installed.
    pub kubelet: Version,
    /// The kubelet's root directory, with its certificates.
    pub root_directory: PathBuf,
    /// The CRI socket.
    pub runtime: PathBuf,
    /// flannel, where it is installed.
    pub flannel: Option<Flannel>,
    /// What the Node's condition Ready said last before the kubelet was started anew: that does not count.
    pub outdated: Option<String>,
}

impl Expectation {
    /// The link to the kubelet's certificate, with its key.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.root_directory.join(layout::CLIENT_CERTIFICATE)
    }
}

/// A link of the chain; each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The kubelet has a valid client certificate.
    Certificate,
    /// There is a Node of its name, and it is this machine.
    Registered,
    /// The Node has a network for its pods.
    PodCidr,
    /// flannel has its lease, its device and its routes.
    Flannel,
    /// The container runtime has a network for pods.
    Cni,
    /// The Node is Ready, with the kubelet that is installed.
    Ready,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "client certificate",
            Self::Registered => "Node registered",
            Self::PodCidr => "podCIDR assigned",
            Self::Flannel => "flannel ready",
            Self::Cni => "CNI initialised",
            Self::Ready => "Node Ready",
        })
    }
}

/// A link that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reached {
    /// Which.
    pub link: Link,
    /// What was seen.
    pub seen: String,
}

/// The first link that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Obstacle {
    /// Which.
    pub link: Link,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
    /// It does not become better by waiting.
    pub settled: bool,
    /// Whose journal tells more.
    #[serde(skip)]
    pub unit: Option<&'static str>,
    /// The last lines of that journal.
    #[serde(default)]
    pub journal: Vec<String>,
}

impl Obstacle {
    fn new(link: Link, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (found, remedy) = (found.into(), remedy.into());
        Self { link, found, remedy, settled: false, unit: None, journal: Vec::new() }
    }

    fn settled(self) -> Self {
        Self { settled: true, ..self }
    }

    fn of_unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }
}

/// How far the node has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Readiness {
    /// The node is Ready.
    pub complete: bool,
    /// The links that are there, in order.
    pub reached: Vec<Reached>,
    /// The next one, where there is one.
    pub missing: Option<Obstacle>,
    /// What this host's clock says and the API server's, where they contradict each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<String>,
}

impl Readiness {
    /// The furthest link that is there.
    #[must_use]
    pub fn furthest(&self) -> Option<Link> {
        self.reached.last().map(|reached| reached.link)
    }

    /// Whether this link is there.
    #[must_use]
    pub fn has(&self, link: Link) -> bool {
        self.reached.iter().any(|reached| reached.link == link)
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let furthest = self.furthest().map_or_else(|| "nothing yet".to_owned(), |link| link.to_string());
        let Some(Obstacle { link, found, remedy, journal, .. }) = &self.missing else {
            return write!(f, "the Node is Ready");
        };
        write!(f, "the Node is not Ready: it has come as far as: {furthest}; missing: {link}\n{found}\n{remedy}")?;
        self.clock_skew.iter().try_for_each(|skew| write!(f, "\n{skew}"))?;
        f.write_str(&crate::host::journal::quoted(journal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_link_and_the_next_ones_obstacle_are_told() {
        let reached = |link| Reached { link, seen: String::new() };
        let missing = Obstacle::new(Link::PodCidr, "no podCIDR", "turn it on");
        let reached = vec![reached(Link::Certificate), reached(Link::Registered)];
        let readiness = Readiness { complete: false, reached, missing: Some(missing), clock_skew: None };
        let said = readiness.to_string();
        assert_eq!(
            said,
            "the Node is not Ready: it has come as far as: Node registered; missing: podCIDR assigned\nno podCIDR\nturn it on"
        );
        assert!(readiness.has(Link::Certificate) && !readiness.has(Link::PodCidr));
        let json = serde_json::to_value(&readiness).unwrap();
        assert_eq!((&json["missing"]["link"], &json["reached"][1]["link"]), (&"pod-cidr".into(), &"registered".into()));
    }
}
