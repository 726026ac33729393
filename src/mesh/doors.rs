//! Ports of this node that nobody holds, opened for as long as a peer's session needs them: else the kernel would refuse
//! what comes, and that would have to be told from a firewall that does.
//!
//! Promise: a responder keeps no port from the service that it is for. The service of an installed node may start at any
//! moment; what it would find in its way is there for a second or two of a session, and goes with the session.
//! Gap: a service that starts in such a second fails, and has to be started again (the kubelet's and flannel's own are never
//! opened on an installed node).

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tokio::task::AbortHandle;

use super::key::Nonce;
use crate::model::Protocol;

/// What is opened.
pub(super) type At = (Protocol, SocketAddr);

/// Open ports, and for whom.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<HashMap<At, Door>>);

#[derive(Debug)]
struct Door {
    sessions: HashSet<Nonce>,
    answering: AbortHandle,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Doors {
    /// Opens it for the session: by `bind`, which has somebody answer; false where somebody else holds it.
    pub(super) fn open(&self, session: Nonce, at: At, bind: impl FnOnce() -> io::Result<AbortHandle>) -> bool {
        self.with(|doors| {
            if let Some(door) = doors.get_mut(&at) {
                door.sessions.insert(session);
                return true;
            }
            let Ok(answering) = bind() else { return false };
            doors.insert(at, Door { sessions: HashSet::from([session]), answering });
            true
        })
    }

    /// Closes what is open for this session alone.
    pub(super) fn close(&self, session: &Nonce) {
        self.with(|doors| {
            doors.retain(|_, door| {
                door.sessions.remove(session);
                !door.sessions.is_empty()
            });
        });
    }

    /// Closes all.
    pub(super) fn close_all(&self) {
        self.with(HashMap::clear);
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<At, Door>) -> T) -> T {
        // What is in it is whole after every statement.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_open_until_the_last_session_that_needs_it_ends() {
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let is_free = || std::net::TcpListener::bind(at).is_ok();
        let doors = Doors::default();
        let hold = || {
            let listener = std::net::TcpListener::bind(at)?;
            let holding = tokio::spawn(async move {
                let _listener = listener;
                std::future::pending::<()>().await;
            });
            Ok(holding.abort_handle())
        };
        let door = (Protocol::Tcp, at);
        assert!(doors.open([1; 16], door, hold) && doors.open([2; 16], door, || unreachable!()));
        doors.close(&[1; 16]);
        tokio::task::yield_now().await;
        assert!(!is_free());
        doors.close(&[2; 16]);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(is_free());
        let taken = std::net::TcpListener::bind(at).unwrap();
        assert!(!doors.open([3; 16], door, hold));
        drop(taken);
    }
}
