use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use super::*;
use crate::{
    config::{
        Backend, Cni, Datastore, Flannel, FlannelIdentity, Kubelet, Node, Preflight, Role, Runtime, Settings, Sources, Waiver,
    },
    model::{Architecture, NodeIdentity, Port, Version},
    preflight::check::{ERROR, Looking, Unclear, WARNING, Weight},
};

/// A worker with vxlan.
pub(crate) fn subject() -> Subject {
    let settings = Settings {
        node: Node { name: None, addresses: Vec::new(), role: Role::Worker, labels: BTreeMap::new(), taints: Vec::new() },
        cluster: None,
        kubelet: Kubelet {
            version: Version::new(1, 36, 4),
            root_directory: "/var/lib/kubelet".into(),
            config: serde_json::Map::new(),
            extra_args: Vec::new(),
            health_timeout: Duration::from_mins(1),
            stable_window: Duration::from_secs(5),
        },
        flannel: Some(Flannel {
            version: Version::new(0, 28, 9),
            network: "10.244.0.0/16".parse().unwrap(),
            ipv6_network: None,
            backend: Backend::Vxlan { port: Port::known(8472), vni: 1 },
            datastore: Datastore::Kube(FlannelIdentity::Kubeconfig("/etc/flannel.kubeconfig".into())),
            interface: None,
            nftables: false,
        }),
        cni: Cni { version: Version::new(1, 9, 1), flannel_version: "1.9.1-flannel1".parse().unwrap() },
        runtime: Runtime { socket: "/run/containerd/containerd.sock".into(), unit: "containerd.service".parse().unwrap() },
        sources: Sources { ca_file: None, stall_timeout: Duration::from_secs(30), attempts: 4, components: BTreeMap::new() },
        preflight: Preflight::default(),
        mesh: None,
    };
    let identity = NodeIdentity {
        name: "node-07".parse().unwrap(),
        addresses: vec!["10.0.1.7".parse().unwrap()],
        architecture: Architecture::Amd64,
    };
    Subject::new(settings, identity)
}

const fn check(id: &'static str, weight: Weight, look: Look) -> Check {
    let deadline = Duration::from_millis(200);
    Check { id, tests: "the sky is blue", weight, remedy: "look up", deadline, may_become_true: false, look }
}

fn passes(_: &Subject) -> Looked {
    Ok(Judgement::pass("blue"))
}
fn fails(_: &Subject) -> Looked {
    Ok(Judgement::failure("grey").remedy("wait"))
}
fn warns(_: &Subject) -> Looked {
    Ok(Judgement::warning("pale"))
}
fn cannot_look(_: &Subject) -> Looked {
    Err(Unclear("there is a roof".to_owned()))
}
/// Without the hook that prints a backtrace, which takes longer than the deadline.
fn panics(_: &Subject) -> Looked {
    std::panic::resume_unwind(Box::new("the sky fell"))
}
fn hangs(_: &Subject) -> Looked {
    loop {
        std::thread::park();
    }
}
fn panics_later(_: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async { panics(&subject()) })
}
fn never_answers(_: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(std::future::pending())
}

static ALL: [Check; 8] = [
    check("fails", ERROR, Look::Blocking(fails)),
    check("hangs", ERROR, Look::Blocking(hangs)),
    check("never", WARNING, Look::Async(never_answers)),
    check("panics", ERROR, Look::Blocking(panics)),
    check("panics-later", ERROR, Look::Async(panics_later)),
    check("passes", ERROR, Look::Blocking(passes)),
    check("roof", WARNING, Look::Blocking(cannot_look)),
    check("warns", ERROR, Look::Blocking(warns)),
];

fn only(id: &str) -> impl Iterator<Item = &'static Check> {
    ALL.iter().filter(move |check| check.id == id)
}

fn waiving(check: &str, reason: &str) -> Arc<Subject> {
    let mut subject = subject();
    subject.settings.preflight.waive = vec![Waiver { check: check.to_owned(), reason: reason.to_owned() }];
    Arc::new(subject)
}

#[tokio::test]
async fn every_way_of_not_answering_is_unknown_and_takes_no_longer_than_its_deadline() {
    let start = Instant::now();
    let report = run(ALL.iter(), Arc::new(subject())).await;
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    let outcome = |id: &str| report.findings.iter().find(|finding| finding.id == id).unwrap().clone();
    for (id, said) in [
        ("hangs", "no answer within 200 ms"),
        ("never", "no answer within 200 ms"),
        ("panics", "the check itself broke: the sky fell"),
        ("panics-later", "the check itself broke: the sky fell"),
        ("roof", "could not find out: there is a roof"),
    ] {
        assert_eq!(outcome(id).outcome, Outcome::Unknown, "{id}");
        assert_eq!(outcome(id).observed, said);
    }
    assert!(outcome("hangs").blocks() && !outcome("roof").blocks());
    let order: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(order, ["fails", "hangs", "panics", "panics-later", "warns", "never", "roof", "passes"]);
}

#[test]
fn a_look_that_hangs_does_not_keep_the_runtime_from_ending() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(run(only("hangs"), Arc::new(subject())));
        drop(runtime);
        ENDED.store(true, std::sync::atomic::Ordering::SeqCst);
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(2)).unwrap();
    assert!(ENDED.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn the_gate_opens_with_the_warnings_and_refuses_with_the_report() {
    let refused = run(ALL.iter(), Arc::new(subject())).await.gate().unwrap_err();
    let text = refused.to_string();
    assert!(["fails", "hangs", "panics", "panics-later"].iter().all(|id| text.contains(id)), "{text}");
    // What does not block is in the report, and not in the refusal.
    assert!(!text.contains("passes") && !text.contains("roof"), "{text}");
    assert_eq!(refused.report().findings.len(), ALL.len());
    let cleared = run(only("warns").chain(only("roof")), Arc::new(subject())).await.gate().unwrap();
    assert_eq!(cleared.warnings().map(|finding| finding.id).collect::<Vec<_>>(), ["warns", "roof"]);
}

#[tokio::test]
async fn a_waiver_with_a_reason_opens_the_gate_and_is_shown() {
    let report = run(only("fails"), waiving("fails", "the sky is always grey here")).await;
    let text = report.to_string();
    assert!(text.contains("waived") && text.contains("because: the sky is always grey here"), "{text}");
    assert!(report.gate().is_ok());
    // Not knowing can be waived as well.
    assert!(run(only("panics"), waiving("panics", "known")).await.gate().is_ok());
}

#[tokio::test]
async fn a_waiver_that_does_nothing_is_reported() {
    for (check, reason, said) in
        [("passes", "x", "was not needed"), ("passe", "x", "did you mean \"passes\"?"), ("fails", " ", "gives no reason")]
    {
        let report = run(only("passes").chain(only("fails")), waiving(check, reason)).await;
        let finding = report.findings.iter().find(|finding| finding.id == "waivers").unwrap();
        assert!(finding.observed.contains(said), "{}", finding.observed);
        assert!(!report.is_clear());
    }
}

#[tokio::test]
async fn text_shows_failures_first_with_what_is_needed_and_what_helps() {
    let report = run(only("passes").chain(only("fails")), Arc::new(subject())).await;
    let text = report.to_string();
    let expected = "FAIL     fails   grey\n                 needed: the sky is blue\n                 remedy: wait\npass     passes  blue\npreflight: 1 failed, 1 passed in ";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn json_has_every_field_of_every_finding() {
    let report = run(only("fails"), Arc::new(subject())).await;
    let json = serde_json::to_value(&report).unwrap();
    let finding = &json["findings"][0];
    for (field, value) in [
        ("id", "fails"),
        ("severity", "error"),
        ("outcome", "failure"),
        ("observed", "grey"),
        ("required", "the sky is blue"),
        ("remedy", "wait"),
    ] {
        assert_eq!(finding[field], value, "{json}");
    }
    assert!(finding["duration-ms"].is_f64() && json["duration-ms"].is_f64(), "{json}");
}
