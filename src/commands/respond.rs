//! `hostlet respond`

use serde_json::json;

use super::Done;
use crate::{
    mesh::{Endpoint, Identity, Purpose},
    output::Event,
    pipeline::{self, Context, Failure},
};

/// Answers until SIGTERM or SIGINT; stopping is how it ends well.
pub(super) async fn run(context: &Context) -> Result<Done, Failure> {
    let Some(mesh) = &context.settings.mesh else { return Err(Failure::NoMesh) };
    let identity = pipeline::identity(context).await?;
    let endpoint = Endpoint::open(Identity::new(&context.settings, mesh, &identity)?, Purpose::Answer).await?;
    endpoint.must_answer()?;
    let port = mesh.port;
    context.events.emit(Event::Note { text: format!("{} answers its peers on udp/{port} and tcp/{port}", identity.name) });
    context.stop.cancelled().await;
    let counted = endpoint.counters().all();
    let lines: Vec<_> = counted.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
    let text = match lines.as_slice() {
        [] => "Every message was answered.\n".to_owned(),
        lines => format!("Met with silence: {}.\n", lines.join(", ")),
    };
    let silent: serde_json::Map<_, _> = counted.into_iter().map(|(what, n)| (what.replace(' ', "-"), n.into())).collect();
    Done::new(&text, &json!({ "silent": silent }))
}
