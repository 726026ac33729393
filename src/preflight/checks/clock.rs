//! The clock. A node whose clock runs away finds its certificates not valid yet, or not any more.
//!
//! Gap: that it agrees with other machines' clocks is a question to those.

use crate::{
    host::clock::Clock,
    preflight::{
        Subject,
        check::{Check, Judgement, Look, Looked, USUAL, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "time-sync",
    tests: "something keeps the kernel's clock in time (adjtimex)",
    weight: WARNING,
    remedy: "apt-get install systemd-timesyncd (or chrony), and timedatectl set-ntp true",
    deadline: USUAL,
    // The first answers of time servers come a moment after boot; but a warning is not waited for.
    may_become_true: false,
    look: Look::Blocking(in_time),
}];

fn in_time(_: &Subject) -> Looked {
    let clock = Clock::look()?;
    Ok(if clock.unsynchronised {
        Judgement::failure("nothing does, as the kernel knows")
    } else {
        Judgement::pass(format!("it is, to within {} ms", clock.max_error.as_millis()))
    })
}
