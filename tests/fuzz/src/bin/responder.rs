//! A node that is spoken to by somebody with the key: any messages in any order, from a peer's address or another, with good
//! cookies and bad ones. No answer is longer than its question, and each is a message to whoever asked.
//!
//! The input is a list of pieces: flags, kind, length of body, body.
#![no_main]

use std::{net::IpAddr, os::unix::fs::PermissionsExt, sync::LazyLock};

use hostlet::{
    config::{self, Fragment},
    mesh::{
        Endpoint, Identity,
        body::Body,
        key::Key,
        wire::{self, Message, VERSION},
    },
    model::{Architecture, NodeIdentity},
};
use hostlet_fuzz::{Envelope, SHARED, key, signed};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// The kind of a hello.
const HELLO: u8 = 1;

struct World {
    runtime: Runtime,
    endpoint: Endpoint,
    key: Key,
}

/// `newcomers`: peers come from the API server, so that whoever signs may introduce himself.
fn world(newcomers: bool) -> World {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    std::fs::write(&file, SHARED).expect("writing the key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let source = if newcomers { "peers-from = \"api-server\"" } else { "" };
    let text = format!(
        "{}\n[mesh]\nkey-file = \"{}\"\n{source}\npeers = [{{ name = \"a\", ip = \"192.0.2.1\" }}]",
        config::minimal(),
        file.display()
    );
    let settings = config::parse(&[Fragment { name: "fuzz".to_owned(), text }], &[]).expect("a configuration");
    let mesh = settings.mesh.clone().expect("a mesh");
    let this = NodeIdentity {
        name: "this".parse().expect("a name"),
        addresses: vec!["192.0.2.7".parse().expect("an address")],
        architecture: Architecture::Amd64,
    };
    let identity = Identity::new(&settings, &mesh, &this).expect("an identity");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = {
        let _inside = runtime.enter();
        Endpoint::without_sockets(identity).expect("an endpoint")
    };
    World { runtime, endpoint, key: key() }
}

/// Kept for many inputs, as a responder runs for long; begun anew so that a crash can be found again.
static WORLDS: LazyLock<[World; 2]> = LazyLock::new(|| [world(false), world(true)]);

fuzz_target!(|data: &[u8]| {
    let Some((first, mut data)) = data.split_first() else { return };
    let World { runtime, endpoint, key } = &WORLDS[usize::from(first & 1)];
    let _inside = runtime.enter();
    let id = |name: &str| key.id(&name.parse().expect("a name"));
    while let [flags, kind, length, rest @ ..] = data {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let from: IpAddr = if flags & 1 == 0 { [192, 0, 2, 1] } else { [192, 0, 2, 9] }.into();
        let name = if flags & 2 == 0 { "a" } else { "b" };
        let envelope = Envelope { session: [flags & 12; 16], from: id(name), to: id("this") };
        let mut body = body.to_vec();
        if flags & 16 == 0
            && let Some(answer) = endpoint.hear(&signed(key, envelope, VERSION, HELLO, &[], wire::HELLO), from)
            && let Ok(Message { body: Body::Challenge { cookie }, .. }) = Message::parse(&answer, key)
            && let Some(place) = body.get_mut(..16)
        {
            place.copy_from_slice(&cookie);
        }
        let version = if flags & 32 == 0 { VERSION } else { VERSION + 1 };
        let question = signed(key, envelope, version, *kind, &body, wire::CONTROL);
        endpoint.probed(from, 8472, &question);
        if let Some(answer) = endpoint.hear(&question, from) {
            assert!(answer.len() <= question.len(), "{} bytes for {}", answer.len(), question.len());
            let answer = Message::parse(&answer, key).expect("an answer is a message");
            assert_eq!((answer.from, answer.to, answer.session), (envelope.to, envelope.from, envelope.session));
        }
    }
    // What was spawned gets to run.
    runtime.block_on(tokio::task::yield_now());
});
