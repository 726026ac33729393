//! What a path is, and what it should be.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Digest;

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathState {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Of its content.
        digest: Digest,
        /// Permission bits.
        mode: u32,
        /// Owner and group.
        owner: (u32, u32),
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: PathBuf,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A device, socket or pipe.
    Other,
}

/// What a path should be. Files belong to root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Expected {
    /// A regular file of root's.
    File {
        /// Of its content.
        digest: Digest,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: PathBuf,
    },
    /// A directory; one that exists is taken as it is.
    Directory {
        /// Permission bits, where it has to be created.
        mode: u32,
    },
}

impl Expected {
    /// Whether it is a credential: those are the files that only root may read.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::File { mode: 0o600, .. })
    }

    /// How the state differs from what is expected, in words; `None` when it does not.
    #[must_use]
    pub fn difference(&self, state: &PathState) -> Option<String> {
        match (self, state) {
            (_, PathState::Absent) => Some("missing".to_owned()),
            (Self::Directory { .. }, PathState::Directory { .. }) => None,
            (Self::Link { target }, PathState::Link { target: found }) if target == found => None,
            (Self::Link { .. }, PathState::Link { target }) => Some(format!("points to {}", target.display())),
            (Self::File { digest, mode }, PathState::File { digest: found, mode: found_mode, owner }) => {
                if digest != found {
                    Some("content differs".to_owned())
                } else if mode != found_mode {
                    Some(format!("mode is {found_mode:04o}, not {mode:04o}"))
                } else if *owner != (0, 0) {
                    Some(format!("belongs to {}:{}, not to root", owner.0, owner.1))
                } else {
                    None
                }
            }
            (Self::File { .. }, PathState::Link { target }) if target.as_os_str() == "/dev/null" => {
                Some("masked: a link to /dev/null".to_owned())
            }
            (expected, found) => Some(format!("is a {found}, not a {expected}")),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File { .. } => "file",
            Self::Link { .. } => "link",
            Self::Directory { .. } => "directory",
        })
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "missing path",
            Self::File { .. } => "file",
            Self::Link { .. } => "link",
            Self::Directory { .. } => "directory",
            Self::Other => "device, socket or pipe",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hand_edit_is_a_difference_in_words() {
        let digest = Digest::of(b"x");
        let file = Expected::File { digest, mode: 0o600 };
        let found = |digest, mode, owner| PathState::File { digest, mode, owner };
        assert_eq!(file.difference(&found(digest, 0o600, (0, 0))), None);
        for (state, words) in [
            (PathState::Absent, "missing"),
            (found(Digest::of(b"y"), 0o600, (0, 0)), "content differs"),
            (found(digest, 0o644, (0, 0)), "mode is 0644, not 0600"),
            (found(digest, 0o600, (1000, 1000)), "belongs to 1000:1000, not to root"),
            (PathState::Link { target: "/dev/null".into() }, "masked: a link to /dev/null"),
            (PathState::Directory { mode: 0o755 }, "is a directory, not a file"),
        ] {
            assert_eq!(file.difference(&state).as_deref(), Some(words));
        }
        let link = Expected::Link { target: "a".into() };
        assert_eq!(link.difference(&PathState::Link { target: "b".into() }).as_deref(), Some("points to b"));
    }
}
