//! Whether the kernel's clock is kept in time. Looks only.

use std::{io, mem::MaybeUninit, time::Duration};

use nix::libc;

/// What the kernel says of its clock: adjtimex(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Nobody keeps it in time (STA_UNSYNC, or the answer TIME_ERROR).
    pub unsynchronised: bool,
    /// How far it may be off, at most.
    pub max_error: Duration,
}

impl Clock {
    /// Asks the kernel.
    pub fn look() -> io::Result<Self> {
        let mut question = MaybeUninit::<libc::timex>::zeroed();
        // Reason for unsafe: nix and rustix have no adjtimex. All zeros are a valid timex, whose `modes` of zero means that
        // nothing is set; the kernel fills it in and keeps no reference.
        #[allow(unsafe_code, reason = "no crate in the tree has adjtimex")]
        let (answer, told) = unsafe { (libc::adjtimex(question.as_mut_ptr()), question.assume_init()) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::told(answer, told.status, told.maxerror))
    }

    fn told(answer: i32, status: i32, max_error: i64) -> Self {
        Self {
            unsynchronised: answer == libc::TIME_ERROR || status & libc::STA_UNSYNC != 0,
            max_error: Duration::from_micros(max_error.try_into().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded with adjtimex(8): a host kept in time by chrony, one whose daemon just started, one without any.
    #[test]
    fn what_the_kernel_tells_of_a_clock_is_read() {
        let kept = Clock::told(0, libc::STA_PLL | libc::STA_NANO, 23_500);
        assert_eq!(kept, Clock { unsynchronised: false, max_error: Duration::from_micros(23_500) });
        assert!(Clock::told(5, libc::STA_PLL | libc::STA_UNSYNC, 16_000_000).unsynchronised);
        assert!(Clock::told(5, 0, 16_000_000).unsynchronised);
        Clock::look().unwrap();
    }
}
