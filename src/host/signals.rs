//! SIGTERM and SIGINT: systemd and people ask hostlet to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels the token at the first SIGTERM, SIGINT or SIGHUP. A run that is changing the host undoes what it did; further
/// signals change nothing, since a host half undone is worse than one that takes its time.
pub fn cancel_on_stop(token: &CancellationToken) {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // Registering fails only for signals that cannot be caught.
        let Ok(mut stream) = signal(kind) else { continue };
        let token = token.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                token.cancel();
            }
        });
    }
}
