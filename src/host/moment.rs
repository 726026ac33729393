//! A moment that later ones of the same boot can be compared with, however often the wall clock is set.

use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::files;

/// A moment of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// The kernel's name for the boot; empty where it is not known, which is no boot at all.
    pub boot: String,
    /// Microseconds of CLOCK_MONOTONIC, which systemd tells times in, too.
    pub microseconds: u64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let boot = files::read_text(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
        let microseconds = now.and_then(|now| u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000).ok());
        Self { boot: boot.trim().to_owned(), microseconds: microseconds.unwrap_or_default() }
    }

    /// Whether it lies in the boot that runs now.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        !self.boot.is_empty() && self.boot == Self::now().boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_one_boot_have_an_order() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(first.is_of_this_boot() && first.boot == second.boot && first.microseconds <= second.microseconds);
        assert!(!Moment::default().is_of_this_boot());
    }
}
