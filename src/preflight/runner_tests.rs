use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::{
    config::{
        Backend, Cni, Datastore, Flannel, FlannelIdentity, Kubelet, Node, Preflight, Role, Runtime, Settings, Sources, Waiver,
    },
    model::{Architecture, NodeIdentity, Port, Version},
    output::Silent,
    preflight::check::{ERROR, Looking, Unclear, WARNING, Weight},
};

/// A worker with vxlan.
pub(crate) fn subject() -> Subject {
    let settings = Settings {
        node: Node {
            name: None,
            addresses: Vec::new(),
            role: Role::Worker,
            cloud_provider: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        },
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
            backend: Backend::Vxlan { port: Port::known(8472), vni: 1, direct_routing: false },
            mtu: None,
            datastore: Datastore::Kube(FlannelIdentity::Kubeconfig("/etc/flannel.kubeconfig".into())),
            interface: None,
            nftables: false,
        }),
        cni: Cni { version: Version::new(1, 9, 1), flannel_version: "1.9.1-flannel1".parse().unwrap() },
        runtime: Runtime { socket: "/run/containerd/containerd.sock".into(), unit: "containerd.service".parse().unwrap() },
        sources: Sources::default(),
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

fn silent() -> Events {
    Arc::new(Silent)
}

fn waiving(check: &str, reason: &str) -> Arc<Subject> {
    let mut subject = subject();
    subject.settings.preflight.waive = vec![Waiver { check: check.to_owned(), reason: reason.to_owned() }];
    Arc::new(subject)
}

#[tokio::test]
async fn every_way_of_not_answering_is_unknown_and_takes_no_longer_than_its_deadline() {
    let start = Instant::now();
    let report = run(ALL.iter(), Arc::new(subject()), &silent()).await;
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
        runtime.block_on(run(only("hangs"), Arc::new(subject()), &silent()));
        drop(runtime);
        ENDED.store(true, std::sync::atomic::Ordering::SeqCst);
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(2)).unwrap();
    assert!(ENDED.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn the_gate_opens_with_the_warnings_and_refuses_with_the_report() {
    let refused = run(ALL.iter(), Arc::new(subject()), &silent()).await.gate().unwrap_err();
    let text = refused.to_string();
    assert!(["fails", "hangs", "panics", "panics-later"].iter().all(|id| text.contains(id)), "{text}");
    // What does not block is in the report, and not in the refusal.
    assert!(!text.contains("passes") && !text.contains("roof"), "{text}");
    assert_eq!(refused.report().findings.len(), ALL.len());
    let cleared = run(only("warns").chain(only("roof")), Arc::new(subject()), &silent()).await.gate().unwrap();
    assert_eq!(cleared.warnings().map(|finding| finding.id).collect::<Vec<_>>(), ["warns", "roof"]);
}

#[tokio::test]
async fn a_waiver_with_a_reason_opens_the_gate_and_is_shown() {
    let report = run(only("fails"), waiving("fails", "the sky is always grey here"), &silent()).await;
    let text = report.to_string();
    assert!(text.contains("waived") && text.contains("because: the sky is always grey here"), "{text}");
    assert!(report.gate().is_ok());
    // Not knowing can be waived as well.
    assert!(run(only("panics"), waiving("panics", "known"), &silent()).await.gate().is_ok());
}

#[tokio::test]
async fn a_waiver_that_does_nothing_is_reported() {
    for (check, reason, said) in
        [("passes", "x", "was not needed"), ("passe", "x", "did you mean \"passes\"?"), ("fails", " ", "gives no reason")]
    {
        let report = run(only("passes").chain(only("fails")), waiving(check, reason), &silent()).await;
        let finding = report.findings.iter().find(|finding| finding.id == "waivers").unwrap();
        assert!(finding.observed.contains(said), "{}", finding.observed);
        assert!(!report.is_clear());
    }
}

#[tokio::test]
async fn text_shows_failures_first_with_what_is_needed_and_what_helps() {
    let report = run(only("passes").chain(only("fails")), Arc::new(subject()), &silent()).await;
    let text = report.to_string();
    let expected = "FAIL     fails   grey\n                 needed: the sky is blue\n                 remedy: wait\npass     passes  blue\npreflight: 1 failed, 1 passed in ";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn json_has_every_field_of_every_finding() {
    let report = run(only("fails"), Arc::new(subject()), &silent()).await;
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

/// Fails until it was looked at so often.
static LOOKS: AtomicUsize = AtomicUsize::new(0);
fn passes_the_third_time(_: &Subject) -> Looked {
    let before = LOOKS.fetch_add(1, Ordering::SeqCst);
    Ok(if before < 2 { Judgement::failure("not yet") } else { Judgement::pass("now") })
}
static SETTLES: Check = Check { may_become_true: true, ..check("settles", ERROR, Look::Blocking(passes_the_third_time)) };
static HANGS_AT_BOOT: Check = Check { may_become_true: true, ..check("hangs-at-boot", ERROR, Look::Blocking(hangs)) };
static WARNS_AT_BOOT: Check = Check { may_become_true: true, ..check("warns-at-boot", WARNING, Look::Blocking(fails)) };

fn fails_for_good(_: &Subject) -> Looked {
    Ok(Judgement::failure("never").again(Again::No))
}
fn begins(_: &Subject) -> Looked {
    let before = BEGINNINGS.fetch_add(1, Ordering::SeqCst);
    Ok(if before < 1 { Judgement::pass("a beginning").again(Again::Yes) } else { Judgement::pass("the end") })
}
static BEGINNINGS: AtomicUsize = AtomicUsize::new(0);
static FOR_GOOD: Check = Check { may_become_true: true, ..check("for-good", ERROR, Look::Blocking(fails_for_good)) };
static BEGINS: Check = Check { may_become_true: true, ..check("begins", ERROR, Look::Blocking(begins)) };

#[tokio::test]
async fn a_check_may_say_that_waiting_is_in_vain_or_that_it_saw_only_a_beginning() {
    let report = run([&FOR_GOOD, &BEGINS].into_iter(), Arc::new(patient(Duration::from_secs(30))), &silent()).await;
    assert!(report.duration < Duration::from_secs(5), "{:?}", report.duration);
    assert_eq!(report.findings.iter().map(|f| f.observed.as_str()).collect::<Vec<_>>(), ["never", "the end"]);
}

fn patient(wait: Duration) -> Subject {
    Subject { wait, ..subject() }
}

#[tokio::test]
async fn what_may_become_true_is_looked_at_until_it_is() {
    let report = run([&SETTLES].into_iter(), Arc::new(patient(Duration::from_secs(30))), &silent()).await;
    assert!(report.is_clear() && report.findings[0].observed == "now", "{report}");
    assert!(report.duration > 2 * PAUSE && report.duration < Duration::from_secs(10), "{:?}", report.duration);
    assert!(report.findings[0].duration > 2 * PAUSE, "the wait counts");
}

#[tokio::test]
async fn waiting_ends_and_is_for_nothing_that_cannot_change_that_only_warns_or_that_is_waived() {
    let start = Instant::now();
    let wait = Duration::from_millis(900);
    let report = run([&HANGS_AT_BOOT].into_iter(), Arc::new(patient(wait)), &silent()).await;
    assert_eq!(report.findings[0].observed, "no answer within 200 ms");
    assert!(start.elapsed() > Duration::from_millis(600) && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut waiving = patient(Duration::from_mins(10));
    waiving.settings.preflight.waive = vec![Waiver { check: "hangs-at-boot".to_owned(), reason: "known".to_owned() }];
    let checks = [&HANGS_AT_BOOT, &WARNS_AT_BOOT].into_iter().chain(only("fails"));
    let report = run(checks, Arc::new(waiving), &silent()).await;
    assert!(report.duration < Duration::from_secs(5), "{:?}", report.duration);
}

#[tokio::test]
async fn a_second_waiver_of_the_same_check_is_reported() {
    let mut subject = subject();
    let waiver = |reason: &str| Waiver { check: "fails".to_owned(), reason: reason.to_owned() };
    subject.settings.preflight.waive = vec![waiver("first"), waiver("second")];
    let report = run(only("fails"), Arc::new(subject), &silent()).await;
    let text = report.to_string();
    assert!(text.contains("because: first") && text.contains("\"fails\" is waived twice: the first reason counts"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let finding = json["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "fails").unwrap();
    assert_eq!((&finding["outcome"], &finding["reason"]), (&"waived".into(), &"first".into()), "{json}");
}

#[tokio::test]
async fn each_waiver_that_does_nothing_is_complained_of_in_one_finding_that_blocks_nothing() {
    let mut subject = subject();
    let waiver = |check: &str, reason: &str| Waiver { check: check.to_owned(), reason: reason.to_owned() };
    subject.settings.preflight.waive = vec![
        waiver("passes", "just in case"),
        waiver("passe", "a slip"),
        waiver("nothing-like-it", "made up"),
        waiver("fails", "\t"),
        waiver("waivers", "one level up"),
    ];
    let report = run(only("passes"), Arc::new(subject), &silent()).await;
    let complaints = report.findings.iter().find(|finding| finding.id == "waivers").unwrap();
    let expected = "the waiver for \"passes\" was not needed: the check passed\n\
        there is no check \"passe\"; did you mean \"passes\"?\n\
        there is no check \"nothing-like-it\"\n\
        the waiver for \"fails\" gives no reason and has no effect\n\
        there is no check \"waivers\"";
    assert_eq!(complaints.observed, expected);
    assert!(report.is_clear() && complaints.outcome == Outcome::Warning);
}
