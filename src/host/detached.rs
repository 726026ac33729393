//! Blocking work that may never return, on a thread that nobody waits for.
//!
//! Promise: dropping the future leaves the thread to itself, and neither the runtime's nor the program's end waits for it.
//! Gap: a thread stuck in an uninterruptible system call stays until the kernel lets it go.

use std::{io, thread};

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits any longer: the result is not wanted.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(|_| io::Error::other("the thread ended without an answer"))
}
