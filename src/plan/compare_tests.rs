//! The plan against hosts in every state.

use std::path::PathBuf;

use super::{Plan, Wanted, compare, footprint, identity, wanted};
use crate::{
    config::{self, Fragment, Settings},
    facts::{Activity, Credentials, Foreign, HostFacts, KernelAbilities, NodeFacts, Observed, RootMount, UnitFacts},
    generation::manifest::{Manifest, SCHEMA, Stored},
    host::kubeconfig::Identity,
    model::{Artifact, Component, Digest, DigestOrigin, Expected, PathState, Secret, UnitName, layout},
    transaction::Content,
};

const MINIMAL: &str = r#"
    sources.flannel-cni.trust-on-first-use = true
    [cluster]
    server = "https://10.0.0.1:6443"
    ca = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
    token-file = "/etc/hostlet/token"
    [flannel]
    token-file = "/etc/hostlet/flannel-token"
"#;

fn settings(sets: &[&str]) -> Settings {
    let fragment = Fragment { name: "hostlet.toml".to_owned(), text: MINIMAL.to_owned() };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    config::parse(&[fragment], &sets).unwrap()
}

fn facts() -> HostFacts {
    HostFacts {
        foreign: Foreign::default(),
        node: NodeFacts {
            hostname: "Node-07".to_owned(),
            machine: "x86_64".to_owned(),
            default_sources: vec!["10.0.1.7".parse().unwrap()],
        },
        program: Digest::of(b"hostlet"),
        resolved_stub: false,
        kernel: KernelAbilities { overlay: true, bridge_netfilter: true },
        root_mount: RootMount::Shared,
        client_certificate: false,
        credentials: Credentials {
            bootstrap: Some(Identity::Token(Secret::new("abcdef.0123456789abcdef".to_owned()))),
            certificate_authority: None,
        },
    }
}

fn want(settings: &Settings, facts: &HostFacts) -> Wanted {
    let identity = identity(settings, &facts.node).unwrap();
    let artifact = |component: Component| Artifact {
        component,
        version: settings.version(component).unwrap().clone(),
        architecture: identity.architecture,
        digest: Digest::of(format!("{component}{}", settings.version(component).unwrap()).as_bytes()),
        origin: DigestOrigin::Catalog,
    };
    let artifacts = Component::ALL.into_iter().filter(|component| settings.version(*component).is_some()).map(artifact);
    wanted(settings, facts, &identity, &artifacts.collect::<Vec<_>>()).unwrap()
}

/// A host on which `wanted` was installed and runs.
fn installed(wanted: &Wanted) -> Observed {
    let state = |expected: &Expected| match expected {
        Expected::File { digest, mode } => PathState::File { digest: *digest, mode: *mode, owner: (0, 0) },
        Expected::Link { target } => PathState::Link { target: target.clone() },
        Expected::Directory { mode } => PathState::Directory { mode: *mode },
    };
    let running = |pid: u32| UnitFacts {
        activity: Activity::Up,
        sub_state: "running".to_owned(),
        enabled: true,
        main_pid: Some(pid),
        ..UnitFacts::default()
    };
    let contents = wanted.contents.clone();
    let program = (layout::PROGRAM.into(), PathState::File { digest: wanted.program, mode: 0o755, owner: (0, 0) });
    let paths = contents.host.iter().map(|(path, expected)| (path.clone(), state(expected)));
    let transient = |content: &Content| PathState::File { digest: content.digest(), mode: 0o600, owner: (0, 0) };
    let paths = paths.chain(wanted.transient.iter().map(|(path, content)| (path.clone(), transient(content))));
    Observed {
        paths: paths.chain([program]).collect(),
        sysctls: contents.sysctls.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
        units: contents.units.iter().zip(100..).map(|(unit, pid)| (unit.name.clone(), running(pid))).collect(),
        intact: wanted.artifacts.iter().map(Artifact::store_name).collect(),
        highest_generation: 1,
        current: Some(Manifest {
            schema: SCHEMA,
            number: 1,
            created: String::new(),
            hostlet: String::new(),
            contents,
            stored: Stored::default(),
        }),
        ..Observed::default()
    }
}

fn changes(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.change.to_string()).collect()
}

type Edit<'a> = Box<dyn Fn(&mut Observed) + 'a>;

fn kubelet() -> UnitName {
    UnitName::known("kubelet.service")
}

fn with_mesh(mesh: &str) -> Settings {
    let text = format!("{MINIMAL}\n[mesh]\npeers = [{{ name = \"other\", ip = \"10.0.1.8\" }}]\n{mesh}");
    config::parse(&[Fragment { name: "hostlet.toml".to_owned(), text }], &[]).unwrap()
}

#[test]
fn the_responders_units_come_with_the_mesh_and_go_with_it_and_peers_and_key_change_none() {
    let (without, with) = (want(&settings(&[]), &facts()), want(&with_mesh(""), &facts()));
    assert!(without.contents.host.keys().all(|path| !path.to_string_lossy().contains("responder")));
    let plan = changes(&compare(&with, &installed(&without), false));
    for expected in [
        "write /etc/systemd/system/hostlet-responder.service",
        "write /etc/systemd/system/hostlet-responder.socket",
        "enable hostlet-responder.socket",
        "start hostlet-responder.socket",
    ] {
        assert!(plan.iter().any(|change| change.starts_with(expected)), "{expected}: {plan:#?}");
    }
    assert!(plan.iter().all(|change| !change.contains("kubelet")), "{plan:#?}");
    let socket = with.host_files[&PathBuf::from("/etc/systemd/system/hostlet-responder.socket")].bytes().to_vec();
    let socket = String::from_utf8(socket).unwrap();
    assert!(
        socket.contains("\nListenDatagram=10.0.1.7:7470\nListenStream=10.0.1.7:7470\n") && !socket.contains("127.0.0.1"),
        "{socket}"
    );

    let mut other = with_mesh("key-file = \"/etc/key\"\nwait-timeout = 1\n");
    other.mesh.as_mut().unwrap().peers[0].name = "third".parse().unwrap();
    let other = want(&other, &facts());
    assert!(compare(&other, &installed(&with), false).is_empty());
    let moved = changes(&compare(&want(&with_mesh("port = 7471\n"), &facts()), &installed(&with), false));
    assert!(moved.contains(&"restart hostlet-responder.socket".to_owned()), "{moved:#?}");

    let plan = changes(&compare(&without, &installed(&with), false));
    for expected in ["stop hostlet-responder.socket", "disable hostlet-responder.socket"] {
        assert!(plan.iter().any(|change| change == expected), "{expected}: {plan:#?}");
    }
    assert_eq!(
        plan.iter().filter(|change| change.starts_with("remove ") && change.contains("responder")).count(),
        2,
        "{plan:#?}"
    );
}

#[test]
fn a_bare_host_gets_everything_and_units_start_after_the_switch() {
    let wanted = want(&settings(&[]), &facts());
    let plan = compare(&wanted, &Observed::default(), false);
    let changes = changes(&plan);
    let position = |text: &str| changes.iter().position(|change| change.starts_with(text)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(plan.fetch.len(), 4);
    assert!(position("write /etc/systemd/system/kubelet.service") < position("switch to generation 1"));
    assert!(position("switch to generation 1") < position("reload systemd"));
    assert!(position("reload systemd") < position("enable kubelet.service"));
    assert!(position("enable flanneld.service") < position("start kubelet.service"));
    assert!(position("start kubelet.service") < position("start flanneld.service"));
    assert!(plan.steps.iter().all(|step| !step.reason.is_empty()), "{plan:?}");
}

#[test]
fn what_is_fetched_shows_its_sources_in_their_order_and_what_verifies_it() {
    let shown = |sets: &[&str]| {
        let plan = compare(&want(&settings(sets), &facts()), &Observed::default(), false);
        (plan.to_string(), serde_json::to_value(&plan).unwrap()["fetch"].clone())
    };
    let mirrors = "sources.mirrors=[\"https://mirror.example/{file}?token=hunter2\", \"/srv/mirror\"]";
    let (text, json) = shown(&[mirrors, "sources.kubelet.signature=require"]);
    let kubelet = text.split("  fetch ").find(|part| part.starts_with("kubelet ")).unwrap();
    let position = |part: &str| kubelet.find(part).unwrap_or_else(|| panic!("{part} is not in {kubelet}"));
    assert!(position("from https://mirror.example/kubelet?…") < position("or from file:///srv/mirror/"));
    assert!(
        position("or from file:///srv/mirror/") < position("or from https://dl.k8s.io/release/v1.36.4/bin/linux/amd64/kubelet")
    );
    assert!(position("verified by sha256 ") < position(", known to hostlet"));
    position(
        "and by a signature of krel-staging@k8s-releng-prod.iam.gserviceaccount.com (https://accounts.google.com), without",
    );
    assert_eq!(
        (&json[0]["component"], &json[0]["signature"], &json[1]["signature"]),
        (&"kubelet".into(), &"require".into(), &"off".into())
    );
    assert_eq!(json[0]["sources"].as_array().unwrap().len(), 3, "{json:#}");
    assert!(text.contains("its signature is not asked for (sources.flanneld.signature)"), "{text}");
    assert!(!format!("{text}{json}").contains("hunter2"), "{text}");
    // A bundle takes the place of all sources.
    let (text, json) = shown(&["sources.bundle=/srv/node.bundle"]);
    assert!(text.contains("from the bundle /srv/node.bundle") && !text.contains("https://dl.k8s.io"), "{text}");
    assert!(text.contains("and, where there is one, by a signature of krel-staging@"), "{text}");
    assert_eq!(json[0]["sources"], serde_json::json!(["the bundle /srv/node.bundle"]));
}

#[test]
fn a_host_that_is_as_wanted_gets_nothing() {
    let wanted = want(&settings(&[]), &facts());
    let plan = compare(&wanted, &installed(&wanted), false);
    assert!(plan.is_empty(), "{plan}");
    assert!(plan.to_string().contains("Nothing to do"));
}

#[test]
fn a_new_kubelet_is_fetched_alone_and_flannel_is_not_restarted() {
    let observed = installed(&want(&settings(&[]), &facts()));
    let plan = compare(&want(&settings(&["kubelet.version=1.36.3"]), &facts()), &observed, false);
    let fetched: Vec<_> = plan.fetch.iter().map(|fetch| fetch.artifact.component).collect();
    // Every entry of the store that the old generation had is intact; the new kubelet is not among them.
    assert_eq!(fetched, [Component::Kubelet]);
    assert_eq!(changes(&plan), ["switch from generation 1 to 2", "restart kubelet.service"]);
    assert!(plan.generation.unwrap().contains("kubelet 1.36.4 -> 1.36.3"));
}

#[test]
fn a_new_flannel_does_not_restart_the_kubelet() {
    let observed = installed(&want(&settings(&[]), &facts()));
    let plan = compare(&want(&settings(&["flannel.version=0.27.3"]), &facts()), &observed, false);
    assert_eq!(changes(&plan), ["switch from generation 1 to 2", "restart flanneld.service"]);
}

#[test]
fn a_changed_kubelet_configuration_restarts_the_kubelet_alone() {
    let observed = installed(&want(&settings(&[]), &facts()));
    let plan = compare(&want(&settings(&["kubelet.config.maxPods=200"]), &facts()), &observed, false);
    assert!(plan.fetch.is_empty());
    assert_eq!(changes(&plan), ["switch from generation 1 to 2", "restart kubelet.service"]);
}

#[test]
fn every_hand_edit_is_mended_and_nothing_else() {
    let wanted = want(&settings(&[]), &facts());
    let sysctl_file = PathBuf::from("/etc/sysctl.d/90-hostlet.conf");
    let unit_file = PathBuf::from("/etc/systemd/system/kubelet.service");
    let link = PathBuf::from("/usr/local/bin/kubelet");
    let file = |digest| PathState::File { digest, mode: 0o644, owner: (0, 0) };
    let edits: Vec<(Edit<'_>, &[&str])> = vec![
        (
            Box::new(|host| drop(host.paths.insert(sysctl_file.clone(), file(Digest::of(b"x"))))),
            &["write /etc/sysctl.d/90-hostlet.conf"],
        ),
        (Box::new(|host| drop(host.paths.remove(&link))), &["link /usr/local/bin/kubelet"]),
        (
            Box::new(|host| drop(host.paths.insert(unit_file.clone(), PathState::Link { target: "/dev/null".into() }))),
            &["write /etc/systemd/system/kubelet.service", "reload systemd", "restart kubelet.service"],
        ),
        (Box::new(|host| host.units.get_mut(&kubelet()).unwrap().enabled = false), &["enable kubelet.service"]),
        (Box::new(|host| host.units.get_mut(&kubelet()).unwrap().activity = Activity::Down), &["start kubelet.service"]),
        (
            Box::new(|host| drop(host.sysctls.insert("net.ipv4.ip_forward".to_owned(), Some("0".to_owned())))),
            &["set net.ipv4.ip_forward = 1"],
        ),
    ];
    for (edit, expected) in edits {
        let mut host = installed(&wanted);
        edit(&mut host);
        let plan = compare(&wanted, &host, false);
        let changes = changes(&plan);
        assert_eq!(changes.len(), expected.len(), "{changes:?}");
        for (change, start) in changes.iter().zip(expected) {
            assert!(change.starts_with(start), "{change} is not {start}");
        }
        assert!(plan.generation.is_none());
    }
}

#[test]
fn a_damaged_executable_is_fetched_again_and_its_unit_restarted() {
    let wanted = want(&settings(&[]), &facts());
    let mut host = installed(&wanted);
    let kubelet_artifact = wanted.artifacts.iter().find(|artifact| artifact.component == Component::Kubelet).unwrap();
    let path = PathBuf::from("/opt/hostlet/store").join(kubelet_artifact.store_name()).join("bin/kubelet");
    host.intact.remove(&kubelet_artifact.store_name());
    host.damage.push((path.clone(), "content differs".to_owned()));
    host.units.get_mut(&kubelet()).unwrap().executable = Some(path);
    let plan = compare(&wanted, &host, false);
    assert_eq!(plan.fetch.len(), 1);
    assert_eq!(changes(&plan), ["switch from generation 1 to 2", "restart kubelet.service"]);
}

#[test]
fn what_the_configuration_no_longer_wants_is_stopped_and_removed() {
    let observed = installed(&want(&settings(&[]), &facts()));
    let plan = compare(&want(&settings(&["flannel.enabled=false"]), &facts()), &observed, false);
    let changes = changes(&plan);
    for expected in ["stop flanneld.service", "disable flanneld.service", "remove /etc/cni/net.d/10-flannel.conflist"] {
        assert!(changes.iter().any(|change| change == expected), "{expected} is missing: {changes:?}");
    }
    assert!(!changes.iter().any(|change| change.contains("restart kubelet")), "{changes:?}");
}

#[test]
fn the_token_is_not_wanted_once_the_kubelet_has_its_certificate() {
    let with_token = want(&settings(&[]), &facts());
    let later = HostFacts { client_certificate: true, credentials: Credentials::default(), ..facts() };
    let wanted = want(&settings(&[]), &later);
    let observed = installed(&with_token);
    assert!(compare(&with_token, &observed, false).is_empty(), "as long as it has none the token stays");
    let plan = compare(&wanted, &observed, false);
    assert_eq!(changes(&plan), ["remove /etc/kubernetes/bootstrap-kubelet.conf"], "no other generation, no restart");
    let gone = Observed {
        paths: observed.paths.into_iter().filter(|(path, _)| !path.ends_with("bootstrap-kubelet.conf")).collect(),
        ..installed(&with_token)
    };
    assert!(compare(&wanted, &gone, false).is_empty(), "it is gone with the run that saw the certificate");
}

#[test]
fn another_token_restarts_a_kubelet_that_has_not_joined_and_a_token_in_hostlets_directory_goes_with_the_bootstrap() {
    let observed = installed(&want(&settings(&[]), &facts()));
    let token = Some(Identity::Token(Secret::new("ghijkl.0123456789abcdef".to_owned())));
    let other = HostFacts { credentials: Credentials { bootstrap: token, ..facts().credentials }, ..facts() };
    let changes_of = |plan: &Plan| changes(plan).join("; ");
    let plan = compare(&want(&settings(&[]), &other), &observed, false);
    assert!(changes_of(&plan).contains("write /etc/kubernetes/bootstrap-kubelet.conf"), "{plan}");
    assert!(changes_of(&plan).contains("restart kubelet.service") && plan.generation.is_none(), "{plan}");
    let joined = HostFacts { client_certificate: true, ..facts() };
    for (path, goes) in [("/etc/hostlet/bootstrap-token", true), ("/srv/token", false)] {
        let wanted = want(&settings(&[&format!("cluster.token-file={path}")]), &joined);
        assert_eq!(wanted.absent.contains_key(std::path::Path::new(path)), goes, "{path}");
    }
}

#[test]
fn neither_the_plan_nor_its_json_shows_the_token() {
    let plan = compare(&want(&settings(&[]), &facts()), &Observed::default(), false);
    let shown = format!("{plan} {plan:?} {}", serde_json::to_string(&plan).unwrap());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn a_private_mount_under_the_root_directory_gets_a_mount_unit_that_starts_before_the_kubelet() {
    let facts = HostFacts { root_mount: RootMount::Covered, ..facts() };
    let wanted = want(&settings(&["kubelet.root-dir=/data/my-kubelet"]), &facts);
    let plan = compare(&wanted, &Observed::default(), false);
    let starts: Vec<String> = changes(&plan).into_iter().filter(|change| change.starts_with("start ")).collect();
    assert_eq!(starts, [r"start data-my\x2dkubelet.mount", "start kubelet.service", "start flanneld.service"]);
    let unit = &wanted.host_files[&PathBuf::from(r"/etc/systemd/system/data-my\x2dkubelet.mount")];
    assert!(String::from_utf8_lossy(unit.bytes()).contains("Where=/data/my-kubelet\n"));
}

#[test]
fn the_footprint_covers_all_that_is_wanted_and_all_that_was() {
    let before = want(&settings(&[]), &facts());
    let now = want(&settings(&["flannel.enabled=false"]), &facts());
    let footprint = footprint(&now, installed(&before).current.as_ref());
    assert!(footprint.paths.contains(&PathBuf::from("/etc/cni/net.d/10-flannel.conflist")));
    assert!(footprint.units.contains(&UnitName::known("flanneld.service")));
}

#[test]
fn the_host_name_becomes_the_node_name_in_lower_case_or_is_refused_with_the_remedy() {
    assert_eq!(identity(&settings(&[]), &facts().node).unwrap().name.as_str(), "node-07");
    let bad = NodeFacts { hostname: "node_07".to_owned(), ..facts().node };
    assert!(identity(&settings(&[]), &bad).unwrap_err().to_string().contains("hostnamectl"));
    let no_route = NodeFacts { default_sources: Vec::new(), ..facts().node };
    assert!(identity(&settings(&[]), &no_route).unwrap_err().to_string().contains("node.ip"));
}

#[test]
fn a_signature_that_is_required_now_and_was_not_verified_then_is_fetched_for() {
    use crate::model::{Component, Scheme, Signature, SignaturePolicy, Signed, Signer};
    let mut wanted = want(&settings(&[]), &facts());
    let mut observed = installed(&wanted);
    let signer = Signer::Keyless { identity: "a@b.c".to_owned(), issuer: "https://d".to_owned() };
    wanted.signatures.insert(Component::Kubelet, SignaturePolicy::IfAvailable(signer.clone()));
    assert!(compare(&wanted, &observed, false).is_empty());
    wanted.signatures.insert(Component::Kubelet, SignaturePolicy::Require(signer.clone()));
    let plan = compare(&wanted, &observed, false);
    let fetched: Vec<_> = plan.fetch.iter().map(|fetch| fetch.artifact.component).collect();
    assert_eq!(fetched, [Component::Kubelet]);
    assert!(plan.generation.unwrap().contains("a signature of kubelet"), "a new generation remembers it");
    let issuer = Some("https://d".to_owned());
    let made = Signed { scheme: Scheme::Keyless, signer: "a@b.c".to_owned(), issuer, time: None, log_index: None };
    let kubelet = wanted.artifacts.iter().find(|artifact| artifact.component == Component::Kubelet).unwrap().store_name();
    let stored = &mut observed.current.as_mut().unwrap().stored;
    stored.signatures.insert(kubelet, Signature::Verified(made));
    assert!(compare(&wanted, &observed, false).is_empty());
}
