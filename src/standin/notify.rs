//! systemd's notification protocol, from the side of the service: sd_notify(3).

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use super::{Behaviour, say};

/// Sends one notification. Without a socket to send it to there is nobody who waits for it.
pub(super) fn notify(state: &str) {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        say(&format!("notifying systemd of {state}: {error}"));
    }
}

/// Tells systemd that all is well, twice as often as it asks for; ends never.
async fn keep_watchdog_quiet() {
    let for_us = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let interval = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).map(Duration::from_micros);
    let Some(interval) = interval.filter(|interval| for_us && !interval.is_zero()) else {
        return std::future::pending().await;
    };
    loop {
        notify("WATCHDOG=1");
        tokio::time::sleep(interval / 2).await;
    }
}

/// Becomes ready as the behaviour has it, and lives until it is told to end (exit code 0) or its life is over.
pub(super) async fn live(behaviour: Behaviour) -> Result<u8, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let life = async {
        match behaviour {
            Behaviour::Hang => std::future::pending().await,
            Behaviour::SlowReady(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            _ => {}
        }
        notify("READY=1");
        match behaviour.lives() {
            Some(life) => tokio::time::sleep(life).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = life => Err("panic: this release crashes after it was ready".to_owned()),
        () = keep_watchdog_quiet() => Ok(0),
        _ = terminate.recv() => Ok(0),
        _ = interrupt.recv() => Ok(0),
    }
}
