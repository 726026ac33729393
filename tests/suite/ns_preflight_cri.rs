//! The container runtime's socket, in every state it can be found in.
//!
//! The runtimes here are small HTTP/2 servers that answer as a CRI runtime would, since a real one cannot be made to be not
//! ready or to speak v1alpha2 only; the real containerd is in the tests under a booted systemd.

use std::{
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hostlet::{
    model::Version,
    output::{Events, Silent},
    preflight::{Finding, Outcome, Places, Subject, run},
};
use prost::bytes::{BufMut, Bytes, BytesMut};

use crate::ns_preflight_world::{fails, on_a_fresh_host, runtime_apart, sh, subject};

/// How a runtime answers.
#[derive(Clone, Copy)]
struct Manner {
    /// `v1` or `v1alpha2`
    api: &'static str,
    ready: bool,
    /// Not ready for so long after it began.
    starting: Duration,
    /// `RuntimeConfig`: 0 systemd, 1 cgroupfs; none where it is too old.
    driver: Option<u8>,
    /// The directory where it looks for CNI plugins, where it tells.
    plugins: Option<&'static str>,
}

const HEALTHY: Manner = Manner { api: "v1", ready: true, starting: Duration::ZERO, driver: Some(0), plugins: None };

fn text(tag: u8, value: &str) -> Vec<u8> {
    nested(tag, value.as_bytes())
}

fn nested(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut field);
    field.extend(value);
    field
}

fn answer(manner: Manner, since: Instant, path: &str) -> Option<Vec<u8>> {
    let method = path.strip_prefix(&format!("/runtime.{}.RuntimeService/", manner.api))?;
    match method {
        "Version" => Some([text(1, "0.1.0"), text(2, "containerd"), text(3, "1.6.20"), text(4, manner.api)].concat()),
        "Status" => {
            let ready = manner.ready && since.elapsed() >= manner.starting;
            let runtime = [text(1, "RuntimeReady"), vec![2 << 3, u8::from(ready)], text(3, "Starting"), text(4, "shim pool")];
            let network = [text(1, "NetworkReady"), vec![2 << 3, 0], text(3, "NetworkPluginNotReady")];
            let status = nested(1, &[nested(1, &runtime.concat()), nested(1, &network.concat())].concat());
            // As go-cni tells it.
            let told = manner.plugins.map(|plugins| {
                let json =
                    format!(r#"{{"PluginDirs":["{plugins}"],"PluginConfDir":"/etc/cni/net.d","Prefix":"eth","Networks":[]}}"#);
                nested(2, &[text(1, "cniconfig"), text(2, &json)].concat())
            });
            Some([status, told.unwrap_or_default()].concat())
        }
        "RuntimeConfig" => manner.driver.map(|driver| nested(1, &[1 << 3, driver])),
        _ => None,
    }
}

/// Serves until the runtime ends.
async fn serve(socket: std::path::PathBuf, manner: Manner) {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let since = Instant::now();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let head = http::Response::builder().header("content-type", "application/grpc");
                let Some(message) = answer(manner, since, request.uri().path()) else {
                    let head = head.header("grpc-status", "12").header("grpc-message", "unknown service");
                    let _: h2::SendStream<Bytes> = respond.send_response(head.body(()).unwrap(), true).unwrap();
                    continue;
                };
                let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
                let mut frame = BytesMut::new();
                frame.put_u8(0);
                frame.put_u32(u32::try_from(message.len()).unwrap());
                frame.put_slice(&message);
                send.send_data(frame.freeze(), false).unwrap();
                let done = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
                send.send_trailers(http::HeaderMap::from_iter(done)).unwrap();
            }
        });
    }
}

/// What a check finds with such a runtime.
fn with_runtime(manner: Manner, subject: Subject, id: &str) -> (Finding, Duration) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut subject = subject;
    subject.settings.runtime.socket = directory.path().join("cri.sock");
    let served = subject.settings.runtime.socket.clone();
    let events: Events = Arc::new(Silent);
    let start = Instant::now();
    let report = runtime.block_on(async {
        tokio::spawn(serve(served, manner));
        run(Arc::new(subject), &events).await
    });
    let found = report.findings.into_iter().find(|finding| finding.id == id).unwrap();
    (found, start.elapsed())
}

#[test]
fn ns_a_runtime_that_is_ready_passes_and_its_missing_network_is_install_s_business() {
    let (found, _) = with_runtime(HEALTHY, subject(), "cri");
    assert_eq!(found.outcome, Outcome::Pass, "{found:#?}");
    assert!(found.observed.starts_with("containerd 1.6.20 (CRI v1) is ready, its network not yet"), "{}", found.observed);
}

#[test]
fn ns_a_runtime_that_becomes_ready_meanwhile_passes() {
    let starting = Duration::from_millis(400);
    let (found, elapsed) = with_runtime(Manner { starting, ..HEALTHY }, subject(), "cri");
    assert_eq!(found.outcome, Outcome::Pass, "{found:#?}");
    assert!(elapsed >= starting && elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[test]
fn ns_waiting_extends_the_time_for_a_runtime_that_starts_slowly() {
    let starting = Duration::from_millis(2_500);
    let mut patient = subject();
    patient.wait = Duration::from_secs(3);
    let (found, _) = with_runtime(Manner { starting, ..HEALTHY }, patient, "cri");
    assert_eq!(found.outcome, Outcome::Pass, "{found:#?}");
}

#[test]
fn ns_a_runtime_that_stays_not_ready_fails_with_its_own_reason() {
    let (found, elapsed) = with_runtime(Manner { ready: false, ..HEALTHY }, subject(), "cri");
    assert_eq!(found.outcome, Outcome::Failure, "{found:#?}");
    assert_eq!(found.observed, "containerd 1.6.20 is not ready: Starting: shim pool");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[test]
fn ns_a_runtime_that_speaks_v1alpha2_only_is_named_at_once() {
    let (found, elapsed) = with_runtime(Manner { api: "v1alpha2", ..HEALTHY }, subject(), "cri");
    assert_eq!(found.outcome, Outcome::Failure, "{found:#?}");
    assert!(found.observed.contains("containerd 1.6.20 speaks CRI v1alpha2 only"), "{}", found.observed);
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[test]
fn ns_a_server_without_the_cri_plugin_is_told_from_an_old_one() {
    let (found, _) = with_runtime(Manner { api: "v7", ..HEALTHY }, subject(), "cri");
    assert_eq!(found.outcome, Outcome::Failure, "{found:#?}");
    assert!(found.remedy.unwrap().contains("disabled_plugins"));
}

#[test]
fn ns_drivers_of_control_groups_must_agree_where_the_runtime_can_tell() {
    let outcome = |driver| with_runtime(Manner { driver, ..HEALTHY }, subject(), "cgroup-driver").0;
    assert_eq!(outcome(Some(0)).outcome, Outcome::Pass);
    assert_eq!(outcome(Some(1)).observed, "the kubelet: systemd; the runtime: cgroupfs");
    assert_eq!(outcome(Some(1)).outcome, Outcome::Failure);
    assert_eq!(outcome(None).outcome, Outcome::Warning);
    // A runtime that cannot tell, and kubelets of which the newest will ask nobody else.
    let with_kubelet = |minor| {
        let mut subject = subject();
        subject.settings.kubelet.version = Version::new(1, minor, 0);
        with_runtime(Manner { driver: None, ..HEALTHY }, subject, "cgroup-driver").0
    };
    assert!(!with_kubelet(35).observed.contains("not tested") && with_kubelet(37).observed.contains("not tested"));
    assert_eq!((with_kubelet(37).outcome, with_kubelet(38).outcome), (Outcome::Warning, Outcome::Failure));
}

#[test]
fn ns_plugins_are_looked_for_where_they_are_laid_or_the_directory_is_named() {
    let outcome = |plugins, mut subject: Subject| {
        subject.places = Places::default();
        with_runtime(Manner { plugins, ..HEALTHY }, subject, "cni-places").0
    };
    let found = outcome(Some("/usr/lib/cni"), subject());
    assert_eq!(found.outcome, Outcome::Failure, "{found:#?}");
    assert_eq!(found.observed, "it looks for CNI plugins in /usr/lib/cni, and not in /opt/cni/bin");
    assert!(found.remedy.unwrap().contains("bin_dir = \"/opt/cni/bin\""));
    assert_eq!(outcome(Some("/opt/cni/bin"), subject()).outcome, Outcome::Pass);
    assert_eq!(outcome(None, subject()).outcome, Outcome::Pass);
    let mut alone = subject();
    alone.settings.flannel = None;
    assert_eq!(outcome(Some("/usr/lib/cni"), alone).outcome, Outcome::Pass);
}

/// Prints what each check took. What this host cannot be made to have is left out: systemd as process 1, and on some machines
/// control groups of version 2.
#[test]
fn ns_a_healthy_host_is_looked_at_in_a_fraction_of_a_second() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs -o size=2g tmpfs /mnt/host");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let events: Events = Arc::new(Silent);
        let report = runtime.block_on(async {
            tokio::spawn(serve("/mnt/host/cri.sock".into(), HEALTHY));
            run(Arc::new(subject()), &events).await
        });
        println!("{report}");
        let mut slowest: Vec<_> = report.findings.iter().map(|finding| (finding.duration, finding.id)).collect();
        slowest.sort();
        println!("{slowest:#?}");
        let cannot_be = ["init", "kubelet-sandboxing", "cgroup-version", "cgroup-controllers"];
        let blocking: Vec<_> = report.findings.iter().filter(|f| f.blocks() && !cannot_be.contains(&f.id)).collect();
        assert!(blocking.is_empty(), "{blocking:#?}");
        assert!(report.duration < Duration::from_secs(2), "{:?}", report.duration);
    });
}

#[test]
fn ns_what_is_no_listening_socket_is_named() {
    on_a_fresh_host(|| {
        sh("rm /mnt/host/cri.sock");
        let found = fails(subject(), "cri", "/mnt/host/cri.sock does not exist (unit containerd.service)");
        assert!(found.remedy.unwrap().contains("systemctl start containerd.service"));
        sh("mkfifo /mnt/host/cri.sock");
        let start = Instant::now();
        fails(subject(), "cri", "/mnt/host/cri.sock is a named pipe, not a socket");
        println!("a FIFO instead of the CRI socket: the whole preflight took {} ms", start.elapsed().as_millis());
        sh("rm /mnt/host/cri.sock && touch /mnt/host/cri.sock");
        fails(subject(), "cri", "/mnt/host/cri.sock is a regular file, not a socket");
        sh("rm /mnt/host/cri.sock");
        drop(UnixListener::bind("/mnt/host/cri.sock").unwrap());
        fails(subject(), "cri", "nothing listens on /mnt/host/cri.sock (unit containerd.service)");
    });
}

#[test]
fn ns_a_runtime_that_takes_connections_and_never_answers_fails_within_two_seconds() {
    on_a_fresh_host(|| {
        let _silent = runtime_apart(Path::new("/mnt/host/cri.sock"), "unchanged");
        let start = Instant::now();
        fails(subject(), "cri", "/mnt/host/cri.sock takes connections and does not answer");
        println!("a CRI that accepts and never answers: the whole preflight took {} ms", start.elapsed().as_millis());
    });
}

#[test]
fn ns_a_listener_whose_queue_is_full_fails_within_two_seconds() {
    on_a_fresh_host(|| {
        sh("rm /mnt/host/cri.sock");
        let _listener = UnixListener::bind("/mnt/host/cri.sock").unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok(stream) = std::os::unix::net::UnixStream::connect("/mnt/host/cri.sock") {
                held.push(stream);
                let _ = sender.send(());
            }
        });
        while receiver.recv_timeout(Duration::from_millis(300)).is_ok() {}
        fails(subject(), "cri", "/mnt/host/cri.sock takes connections and does not answer");
    });
}

#[test]
fn ns_a_second_runtime_that_answers_is_named_beside_the_configured_one() {
    on_a_fresh_host(|| {
        sh("rm /mnt/host/cri.sock && mkdir /run/crio");
        let with_both = |configured: bool| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let events: Events = Arc::new(Silent);
            let report = runtime.block_on(async {
                let served = |path: &str| tokio::spawn(serve(path.into(), HEALTHY));
                served("/run/crio/crio.sock");
                if configured {
                    served("/mnt/host/cri.sock");
                }
                run(Arc::new(subject()), &events).await
            });
            sh("rm -f /run/crio/crio.sock /mnt/host/cri.sock");
            report.findings.into_iter().find(|finding| finding.id == "cri").unwrap()
        };
        let found = with_both(true);
        assert_eq!(found.outcome, Outcome::Warning, "{found:#?}");
        assert!(found.observed.contains("containerd 1.6.20 on /run/crio/crio.sock answers as well"), "{found:#?}");
        assert!(found.observed.contains("/mnt/host/cri.sock of containerd.service"), "{found:#?}");
        // The one that is configured is not there, and the other one is.
        let found = with_both(false);
        assert_eq!(found.outcome, Outcome::Failure, "{found:#?}");
        assert!(found.remedy.unwrap().contains("runtime.socket = \"/run/crio/crio.sock\" and runtime.unit = \"crio.service\""));
    });
}

#[test]
fn ns_a_second_socket_that_hangs_is_not_waited_for() {
    on_a_fresh_host(|| {
        sh("mkdir /run/crio");
        let _silent = runtime_apart(Path::new("/run/crio/crio.sock"), "unchanged");
        let start = Instant::now();
        let (found, _) = with_runtime(HEALTHY, subject(), "cri");
        assert_eq!(found.outcome, Outcome::Pass, "{found:#?}");
        println!("a second runtime that never answers: the whole preflight took {} ms", start.elapsed().as_millis());
    });
}
