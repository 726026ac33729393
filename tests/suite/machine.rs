//! What the sys_ tests share: booting a throwaway copy of this machine.

use hostlet::rehearse::{Layer, Machine, MachineOptions};

/// A booted copy with containerd, a default route and nothing else.
pub(crate) async fn boot() -> Machine {
    let layer = Layer::prepare(&[]).await.unwrap_or_else(|error| panic!("{error}"));
    Machine::boot(&layer, MachineOptions::default()).await.unwrap_or_else(|error| panic!("{error}"))
}
