//! Sockets that systemd opened for this process (sd_listen_fds(3)).
//!
//! Promise: what was handed to another process is not taken: a shell that systemd started passes the variables on to its
//! children, and LISTEN_PID says whom they are for. No child of ours inherits the sockets.

use std::{
    env, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::Socket;

/// The first descriptor, after stdin, stdout and stderr (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// Takes the sockets, in the order in which their unit names them; none where systemd did not start this process for any.
/// To be called once: they are the caller's.
pub fn sockets() -> io::Result<Vec<Socket>> {
    let number = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    let ours = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let descriptors = (FIRST..).take(count.try_into().map_err(io::Error::other)?);
    descriptors.map(take).collect()
}

fn take(descriptor: RawFd) -> io::Result<Socket> {
    // SAFETY: systemd says that it opened this descriptor for this very process, which has taken none of them yet; were it
    // not open, the call below would say so and nothing would have been done with it.
    #[allow(unsafe_code, reason = "a number in the environment is all that is known of a descriptor that was handed over")]
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(Socket::from(owned))
}
