//! Units: the files of `units/`, and drop-ins where the settings differ from what those say.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    config::{Datastore, FlannelIdentity, Mesh, Settings},
    facts::{Foreign, HostFacts, RootMount},
    model::{NodeIdentity, UnitName, layout},
    plan::wanted::Builder,
    transaction::Content,
};

const KUBELET: &str = include_str!("../../../units/kubelet.service");
const FLANNELD: &str = include_str!("../../../units/flanneld.service");
const ROOT_MOUNT: &str = include_str!("../../../units/var-lib-kubelet.mount");
const RECOVER: &str = include_str!("../../../units/hostlet-recover.service");
const RESPONDER: &str = include_str!("../../../units/hostlet-responder.service");
const RESPONDER_SOCKET: &str = include_str!("../../../units/hostlet-responder.socket");
/// The address that the socket's unit in `units/` names.
const USUAL_ADDRESS: &str = "127.0.0.1:7470";
/// The runtime that the units in `units/` name.
const USUAL_RUNTIME: &str = "containerd.service";

pub(super) fn render(builder: &mut Builder, settings: &Settings, facts: &HostFacts, identity: &NodeIdentity) {
    recover(builder);
    root_mount(builder, settings, facts);
    kubelet(builder, settings, &facts.foreign);
    flanneld(builder, settings);
    if let Some(mesh) = &settings.mesh {
        responder(builder, mesh, identity);
    }
}

/// What undoes a run that a power cut ended. It runs at boot alone, so nothing starts or watches it: the link that enables it
/// is a path like any other. It is laid before anything that it would have to undo at boot is enabled.
fn recover(builder: &mut Builder) {
    let purpose = "undoes, at boot, a run that was ended in the middle";
    builder.host_file(unit_path("hostlet-recover.service"), Content::Plain(RECOVER.into()), purpose);
    builder.host_link(
        unit_path("multi-user.target.wants/hostlet-recover.service"),
        unit_path("hostlet-recover.service"),
        purpose,
    );
}

fn kubelet(builder: &mut Builder, settings: &Settings, foreign: &Foreign) {
    let path = unit_path("kubelet.service");
    builder.host_file(&path, Content::Plain(KUBELET.into()), "runs the kubelet");
    // It is read at the start: with another token the kubelet has to start anew.
    let mut reads = vec![path, layout::BOOTSTRAP_KUBECONFIG.into()];
    adopt(builder, foreign, &mut reads);
    if let Some(text) = kubelet_drop_in(settings) {
        let path = PathBuf::from(format!("{}/kubelet.service.d/10-hostlet.conf", layout::UNITS));
        builder.directory(format!("{}/kubelet.service.d", layout::UNITS), 0o755, "drop-ins of kubelet.service");
        builder.host_file(
            &path,
            Content::Plain(text.into_bytes()),
            "what this node's configuration changes in kubelet.service",
        );
        reads.push(path);
    }
    let inputs = ["bin/kubelet", "etc/kubelet.json", "etc/kubelet.env", "etc/ca.crt"];
    builder.unit(UnitName::known("kubelet.service"), &inputs, reads);
}

/// Another kubelet's files, which systemd would read for our unit of the same name.
fn adopt(builder: &mut Builder, foreign: &Foreign, reads: &mut Vec<PathBuf>) {
    for (path, saved) in &foreign.aside {
        builder.saved_file(path.clone(), saved.content.clone(), saved.mode);
    }
    for path in &foreign.moved {
        builder.absent(path.clone(), "it was written for the kubelet that hostlet replaces, and is kept beside it");
    }
    for path in &foreign.masks {
        builder.host_link(path.clone(), "/dev/null", "keeps a package's drop-in, written for its own kubelet, from ours");
        reads.push(path.clone());
    }
    builder.replace(foreign.units.clone());
}

/// A drop-in may add to these lists, not replace them: naming a unit or a mount that does not exist does no harm.
fn kubelet_drop_in(settings: &Settings) -> Option<String> {
    let mut lines = String::new();
    if settings.runtime.unit.as_str() != USUAL_RUNTIME {
        let unit = &settings.runtime.unit;
        lines.push_str(&format!("Wants={unit}\nAfter={unit}\n"));
    }
    if settings.kubelet.root_directory != Path::new(layout::KUBELET_ROOT) {
        lines.push_str(&format!("RequiresMountsFor={}\n", settings.kubelet.root_directory.display()));
    }
    (!lines.is_empty()).then(|| format!("# Written by hostlet.\n[Unit]\n{lines}"))
}

fn flanneld(builder: &mut Builder, settings: &Settings) {
    let Some(flannel) = &settings.flannel else { return };
    let path = unit_path("flanneld.service");
    builder.host_file(&path, Content::Plain(FLANNELD.into()), "runs flannel");
    let mut reads = vec![path];
    if let Datastore::Kube(FlannelIdentity::TokenFile(_)) = flannel.datastore {
        reads.push(layout::FLANNEL_KUBECONFIG.into());
    }
    let inputs = ["bin/flanneld", "etc/flanneld.env", "etc/net-conf.json"];
    builder.unit(UnitName::known("flanneld.service"), &inputs, reads);
}

/// What answers nodes that come later. Only the socket is a unit that runs; systemd starts the service when somebody asks. The
/// responder reads the configuration at each start, so that neither changes with the list of peers.
fn responder(builder: &mut Builder, mesh: &Mesh, identity: &NodeIdentity) {
    let purpose = "answers nodes that come later, when they ask whether they can reach this one";
    builder.host_file(unit_path("hostlet-responder.service"), Content::Plain(RESPONDER.into()), purpose);
    let path = unit_path("hostlet-responder.socket");
    builder.host_file(&path, Content::Plain(responder_socket(mesh, identity).into_bytes()), purpose);
    builder.unit(UnitName::known("hostlet-responder.socket"), &[], vec![path]);
}

/// The lines that name an address, once for each of the node's.
fn responder_socket(mesh: &Mesh, identity: &NodeIdentity) -> String {
    let each = |line: &str| {
        let address = |ip| line.replace(USUAL_ADDRESS, &SocketAddr::new(ip, mesh.port.number()).to_string());
        identity.addresses.iter().map(|one| address(one.ip()) + "\n").collect::<String>()
    };
    let line = |line: &str| if line.contains(USUAL_ADDRESS) { each(line) } else { format!("{line}\n") };
    RESPONDER_SOCKET.lines().map(line).collect()
}

/// A shared bind of the root directory onto itself, only where the mount that covers it is not shared: repeated binds on
/// a shared parent pile up. Once the unit is there it stays wanted, for the mount is shared because of it.
fn root_mount(builder: &mut Builder, settings: &Settings, facts: &HostFacts) {
    match &facts.root_mount {
        RootMount::Shared => {}
        RootMount::Private(path) => builder.make_shared(path.clone()),
        RootMount::Covered | RootMount::SharedByOurs => {
            let root = &settings.kubelet.root_directory;
            let unit = UnitName::of_mount(root);
            let text = mount_unit(root, &settings.runtime.unit);
            let path = unit_path(unit.as_str());
            builder.host_file(&path, Content::Plain(text.into_bytes()), "shares the kubelet's root directory with the runtime");
            builder.unit(unit, &[], vec![path]);
        }
    }
}

fn mount_unit(root: &Path, runtime: &UnitName) -> String {
    ROOT_MOUNT.replace(layout::KUBELET_ROOT, &root.display().to_string()).replace(USUAL_RUNTIME, runtime.as_str())
}

fn unit_path(name: &str) -> PathBuf {
    Path::new(layout::UNITS).join(name)
}
