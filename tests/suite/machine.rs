//! What the sys_ tests share: booting a throwaway copy of this machine.

use std::{collections::BTreeMap, path::Path};

use hostlet::{
    model::Component,
    rehearse::{Layer, Machine, MachineOptions},
    standin::Made,
};

/// A booted copy with containerd, a default route and nothing else.
pub(crate) async fn boot() -> Machine {
    let layer = Layer::prepare(&[]).await.unwrap_or_else(|error| panic!("{error}"));
    Machine::boot(&layer, MachineOptions::default()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The program under test, where the copy has it.
pub(crate) const HOSTLET: &str = "/usr/local/sbin/hostlet";

/// A booted copy with the program under test in it.
pub(crate) async fn boot_with_hostlet() -> Machine {
    let machine = boot().await;
    machine.copy_in(Path::new(env!("CARGO_BIN_EXE_hostlet")), HOSTLET, 0o755).await.unwrap();
    machine
}

/// Makes artifacts in the copy (see `hostlet::standin::Versions` for the JSON) and serves them at
/// `https://127.0.0.1:8443`, with the authority in /srv/mirror-ca.crt.
pub(crate) async fn serve_artifacts(machine: &Machine, versions: &str) -> BTreeMap<Component, Made> {
    let made = machine.expect(&[HOSTLET, "stand-in", "artifacts", "/srv/mirror", versions]).await.unwrap();
    let serve = "systemd-run --quiet --unit=mirror --service-type=notify \
        /usr/local/sbin/hostlet stand-in mirror --directory /srv/mirror --listen 127.0.0.1:8443 --ca-out /srv/mirror-ca.crt";
    machine.script(serve).await.unwrap();
    serde_json::from_str(&made).unwrap()
}
