//! What a run of hostlet could change on a host, to compare before and after.

use std::{collections::BTreeMap, fmt};

use super::Machine;
use crate::host::process::ProcessError;

/// Prints `kind name<TAB>state` lines, in the copy.
const TAKE: &str = include_str!("snapshot.sh");

/// The state of files, units, mounts, links, routes and sysctls at one moment, each under a name such as
/// `file /etc/hostname`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    entries: BTreeMap<String, String>,
}

impl Snapshot {
    pub(super) async fn take(machine: &Machine) -> Result<Self, ProcessError> {
        Ok(Self::parse(&machine.script(TAKE).await?))
    }

    pub(super) async fn take_quickly(machine: &Machine) -> Result<Self, ProcessError> {
        Ok(Self::parse(&machine.script(&format!("QUICK=yes\n{TAKE}")).await?))
    }

    fn parse(text: &str) -> Self {
        let entries = text.lines().filter_map(|line| line.split_once('\t'));
        // systemd forgets the mount unit of a canary that is gone only a moment later: it is no state of the machine.
        let entries = entries.filter(|(name, _)| !(name.starts_with("unit ") && name.contains("canary")));
        Self { entries: entries.map(|(name, state)| (name.to_owned(), state.to_owned())).collect() }
    }

    /// The state of one thing: `get("unit kubelet.service")`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// The same without what has a name that starts so, whatever its kind: `without(&["/run/hostlet"])`.
    #[must_use]
    pub fn without(mut self, prefixes: &[&str]) -> Self {
        let bare = |name: &str| name.split_once(' ').map_or(name, |(_, bare)| bare).to_owned();
        self.entries.retain(|name, _| !prefixes.iter().any(|prefix| bare(name).starts_with(prefix)));
        self
    }

    /// The same without what says how a state came about and not what it is: inodes and times of files, process ids and
    /// restarts of units, numbers and hardware addresses of links. Sizes of directories were never in it.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        // A unit without a file that does not run is one that systemd has not forgotten yet.
        self.entries.retain(|_, state| !state.contains("LoadState=not-found ActiveState=inactive "));
        for (name, state) in &mut self.entries {
            let keep: Vec<&str> = if name.starts_with("file ") {
                // Type, mode and owner; then size, time, inode, and the target of a link.
                state.splitn(7, ' ').enumerate().filter(|(at, _)| !matches!(at, 4 | 5)).map(|(_, word)| word).collect()
            } else if name.starts_with("unit ") {
                let varies = |word: &&str| word.starts_with("MainPID=") || word.starts_with("NRestarts=");
                state.split(' ').filter(|word| !varies(word)).collect()
            } else if name.starts_with("link ") {
                state.split(' ').filter(|word| word.len() != "00:00:00:00:00:00".len() || !word.contains(':')).collect()
            } else if name.starts_with("address ") {
                state.split(' ').skip(1).collect()
            } else {
                continue;
            };
            *state = keep.join(" ");
        }
        self
    }

    /// What is different in a later one; empty when nothing is.
    #[must_use]
    pub fn diff(&self, later: &Self) -> Difference {
        let gone = self.entries.iter().filter(|(name, _)| !later.entries.contains_key(*name));
        let gone = gone.map(|(name, state)| format!("- {name}: {state}"));
        let other = later.entries.iter().filter_map(|(name, state)| match self.entries.get(name) {
            None => Some(format!("+ {name}: {state}")),
            Some(before) if before != state => Some(format!("~ {name}: {before} -> {state}")),
            Some(_) => None,
        });
        Difference(gone.chain(other).collect())
    }
}

/// What differs between two snapshots, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub Vec<String>);

impl Difference {
    /// Nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_the_same_for_a_file_that_was_restored_and_a_unit_that_was_restarted() {
        let before = "file /a\tf 644 0:0 12 1700000000.5 77 \nfile /l\tl 777 0:0 3 1.5 9 to here\nunit k.service\tId=k.service \
            ActiveState=active MainPID=5 NRestarts=0\n";
        let after = before.replace("1700000000.5 77", "1800000000.25 99").replace("MainPID=5", "MainPID=6");
        let lasting = |text: &str| Snapshot::parse(text).lasting();
        let link = "address flannel.1 10.244.0.0/32\t3: flannel.1 inet 10.244.0.0/32\nlink flannel.1::\t mtu 1450 link/ether \
            7a:1c:a9:34:e5:0a brd ff:ff:ff:ff:ff:ff\n";
        let again = link.replace("3: f", "4: f").replace("7a:1c", "36:4f");
        assert!(lasting(link).diff(&lasting(&again)).is_empty());
        assert!(!lasting(link).diff(&lasting(&again.replace("1450", "1500"))).is_empty());
        assert!(lasting(before).diff(&lasting(&after)).is_empty());
        assert!(!lasting(before).diff(&lasting(&after.replace("to here", "elsewhere"))).is_empty());
        assert!(!lasting(before).diff(&lasting(&after.replace("644", "600"))).is_empty());
    }

    #[test]
    fn a_difference_says_what_came_went_and_changed() {
        let before = Snapshot::parse("file /a\t1\nfile /b\t1\nfile /c\t1\n");
        let after = Snapshot::parse("file /b\t2\nfile /c\t1\nfile /d\t1\n");
        assert_eq!(before.diff(&after).to_string(), "- file /a: 1\n~ file /b: 1 -> 2\n+ file /d: 1");
        assert!(before.diff(&before).is_empty());
        assert!(before.without(&["/a", "/b"]).diff(&after.without(&["/b", "/d"])).is_empty());
    }
}
