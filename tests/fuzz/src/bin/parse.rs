//! Reading: of any bytes, and of any kind and body behind a right signature. What is read is written as it was.
#![no_main]

use hostlet::mesh::{
    key::Key,
    wire::{Message, VERSION},
};
use hostlet_fuzz::{Envelope, key, signed};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<Key> = LazyLock::new(key);

fuzz_target!(|data: &[u8]| {
    let _ = Message::parse(data, &KEY);
    let Some((kind, body)) = data.split_first() else { return };
    let envelope = Envelope { session: [1; 16], from: [2; 8], to: [3; 8] };
    let bytes = signed(&KEY, envelope, VERSION, *kind, body, 0);
    if let Ok(message) = Message::parse(&bytes, &KEY) {
        assert_eq!(message.to_bytes(&KEY, 0), bytes, "read otherwise than written: {message:?}");
    }
});
