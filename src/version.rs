//! Which hostlet this is: its version, the commit it was built from, and for what.

use std::sync::LazyLock;

/// The version alone: `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `packaging/build` was run on; a build by hand does not say, since that would compile everything again after every
/// commit.
const COMMIT: Option<&str> = option_env!("HOSTLET_COMMIT");

/// As `hostlet --version` prints it: version, commit, target.
#[must_use]
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let commit = COMMIT.filter(|commit| !commit.is_empty()).unwrap_or("unknown");
        format!("{VERSION}\ncommit: {commit}\ntarget: {}{}", target(), if is_static() { ", static" } else { "" })
    });
    &LONG
}

fn target() -> String {
    let environment = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-unknown-{}-{environment}", std::env::consts::ARCH, std::env::consts::OS)
}

const fn is_static() -> bool {
    cfg!(target_feature = "crt-static")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_commit_and_target_on_lines_of_their_own() {
        let lines: Vec<&str> = long().lines().collect();
        assert_eq!(lines[0], VERSION);
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("target: "), "{lines:?}");
        assert!(lines[2].contains("-unknown-linux-"), "{lines:?}");
    }
}
