//! `hostlet respond`: by hand until it is stopped, or started by hostlet-responder.socket until nobody asks any more.
//!
//! Promise: it answers by the configuration of now, which it looks at again every few seconds, and keeps to the one before
//! when the new one cannot be read. Whoever sends what is no question cannot have systemd start it more than once a while: one
//! that was started stays, and one that cannot answer stays for as long, having said why.

use std::time::Duration;

use serde_json::json;
use socket2::Socket;
use tokio_util::sync::CancellationToken;

use super::{Done, context, settings};
use crate::{
    cli::Global,
    host::{activation, files, fragments},
    mesh::{Endpoint, Identity, Purpose},
    output::{Event, Events},
    pipeline::{self, Context, Failure},
};

/// How often it looks whether it is idle, and whether the configuration changed.
const LOOK: Duration = Duration::from_secs(2);

/// How long one stays that cannot answer.
const FAILED: Duration = Duration::from_secs(30);

/// Answers until SIGTERM or SIGINT, or until it was idle for so long; stopping is how it ends well.
pub(super) async fn run(global: &Global, events: Events, idle: Option<Duration>) -> Result<Done, Failure> {
    let sockets = activation::sockets().map_err(|error| Failure::Bug(format!("taking systemd's sockets: {error}")))?;
    let is_activated = !sockets.is_empty();
    let stop = CancellationToken::new();
    let answered = match context(global, events.clone()) {
        Ok(context) => {
            let stop = context.stop.clone();
            let responder = Responder { global, events: &events, context, sockets, silent: Vec::new() };
            (responder.answer(idle).await, stop)
        }
        Err(failure) => {
            crate::host::signals::cancel_on_stop(&stop);
            (Err(failure), stop)
        }
    };
    match answered {
        (Err(failure), stop) if is_activated => {
            events.emit(Event::Warning { text: failure.to_string() });
            let _ = tokio::time::timeout(FAILED, stop.cancelled()).await;
            Err(failure)
        }
        (done, _) => done,
    }
}

struct Responder<'r> {
    global: &'r Global,
    events: &'r Events,
    context: Context,
    sockets: Vec<Socket>,
    /// What was met with silence by endpoints that were closed.
    silent: Vec<(&'static str, u64)>,
}

impl Responder<'_> {
    async fn answer(mut self, idle: Option<Duration>) -> Result<Done, Failure> {
        let mut written = self.written();
        let mut endpoint = self.open(self.identity().await?).await?;
        loop {
            tokio::select! {
                () = self.context.stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            if idle.is_some_and(|idle| endpoint.idle() >= idle) {
                break;
            }
            let now = self.written();
            if now != written {
                written = now;
                match self.read_again().await {
                    Ok(identity) => {
                        self.count(&endpoint);
                        // Its ports are let go before they are taken again.
                        drop(endpoint);
                        endpoint = self.open(identity).await?;
                    }
                    Err(failure) => {
                        let text = format!("answering as before, since the configuration changed and: {failure}");
                        self.events.emit(Event::Warning { text });
                    }
                }
            }
        }
        self.count(&endpoint);
        self.done()
    }

    /// All that the answers depend on, as it is on the disk; nothing for what cannot be read.
    fn written(&self) -> (Vec<fragments::FragmentFile>, Option<Vec<u8>>) {
        let key = self.context.settings.mesh.as_ref().and_then(|mesh| files::read(&mesh.key_file).ok());
        (fragments::read(&self.global.config).unwrap_or_default(), key)
    }

    async fn read_again(&mut self) -> Result<Identity, Failure> {
        let before = std::mem::replace(&mut self.context.settings, settings(self.global)?);
        let identity = self.identity().await;
        if identity.is_err() {
            self.context.settings = before;
        }
        identity
    }

    async fn identity(&self) -> Result<Identity, Failure> {
        let Some(mesh) = &self.context.settings.mesh else { return Err(Failure::NoMesh) };
        let node = pipeline::identity(&self.context).await?;
        Ok(Identity::new(&self.context.settings, mesh, &node)?)
    }

    async fn open(&self, identity: Identity) -> Result<Endpoint, Failure> {
        let text = format!("{} answers {} peers on port {}", identity.this.name, identity.peers.len(), identity.port);
        let sockets = self.sockets.iter().map(Socket::try_clone).collect::<Result<_, _>>();
        let sockets = sockets.map_err(crate::mesh::MeshError::from)?;
        let endpoint = Endpoint::open(identity, Purpose::Answer { sockets }).await?;
        endpoint.must_answer()?;
        self.events.emit(Event::Note { text });
        Ok(endpoint)
    }

    fn count(&mut self, endpoint: &Endpoint) {
        for (what, count) in endpoint.counters().all() {
            match self.silent.iter_mut().find(|(known, _)| *known == what) {
                Some((_, sum)) => *sum += count,
                None => self.silent.push((what, count)),
            }
        }
    }

    fn done(&self) -> Result<Done, Failure> {
        let lines: Vec<_> = self.silent.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        let text = match lines.as_slice() {
            [] => "Every message was answered.\n".to_owned(),
            lines => format!("Met with silence: {}.\n", lines.join(", ")),
        };
        let silent: serde_json::Map<_, _> = self.silent.iter().map(|(what, n)| (what.replace(' ', "-"), (*n).into())).collect();
        Done::new(&text, &json!({ "silent": silent }))
    }
}
