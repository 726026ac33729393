//! systemd, its journal and the health gate, under a booted systemd: these tests run again inside a throwaway copy.
#![allow(clippy::disallowed_methods, reason = "tests set the host up")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hostlet::{
    health::{self, Cause, Gate, Healthy, PropagationGate, Unhealthy},
    host::{
        healthz::Endpoint,
        propagation::{self, Link, Observer},
        systemd::{ActiveState, Exit, JobFailed, JobResult, LoadState, Systemd},
    },
    model::UnitName,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::machine::boot;

const INSIDE: &str = "HOSTLET_TEST_INSIDE";
const SOON: Duration = Duration::from_secs(15);

/// Runs the body in a booted copy, prepared by a script, by running this test, `sys_systemd::name`, again in it.
async fn inside(test: &str, prepare: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        return body.await;
    }
    let machine = boot().await;
    machine.copy_in(&std::env::current_exe().unwrap(), "/root/suite", 0o755).await.unwrap();
    machine.script(prepare).await.unwrap();
    let environment = format!("{INSIDE}={test}");
    let output = machine.run(&["env", &environment, "/root/suite", "--exact", test, "--nocapture"]).await.unwrap();
    assert!(output.status.success(), "{output}");
    assert!(output.stdout.contains("1 passed"), "{test} is not the name of a test: {output}");
    println!("{}", output.stdout);
}

fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

/// Writes a service and tells systemd.
async fn service(systemd: &Systemd, unit: &str, lines: &str) -> UnitName {
    let path = Path::new("/etc/systemd/system").join(unit);
    fs::write(path, format!("[Unit]\n[Service]\n{lines}\n[Install]\nWantedBy=multi-user.target\n")).unwrap();
    systemd.reload().await.unwrap();
    name(unit)
}

async fn fails(systemd: &Systemd, unit: &UnitName) -> JobFailed {
    systemd.start(unit, SOON).await.unwrap().expect_err("it must not start")
}

#[tokio::test]
async fn sys_units_are_enabled_started_restarted_and_stopped() {
    inside("sys_systemd::sys_units_are_enabled_started_restarted_and_stopped", "true", async {
        let systemd = Systemd::connect().await.unwrap();
        assert!(!systemd.is_private());
        assert!(systemd.version().await.unwrap().starts_with(char::is_numeric));
        let unit = service(&systemd, "good.service", "ExecStart=/bin/sleep infinity").await;

        let changes = systemd.enable(std::slice::from_ref(&unit)).await.unwrap();
        assert_eq!(changes[0].path, "/etc/systemd/system/multi-user.target.wants/good.service");
        assert_eq!(systemd.enable(std::slice::from_ref(&unit)).await.unwrap(), []);
        systemd.start(&unit, SOON).await.unwrap().unwrap();
        let first = systemd.unit(&unit).await.unwrap();
        assert!(first.is_running() && first.unit_file_state == "enabled" && !first.need_daemon_reload);
        assert_eq!(first.fragment_path.as_deref(), Some(Path::new("/etc/systemd/system/good.service")));
        assert!(first.invocation_id.as_ref().is_some_and(|id| id.len() == 32) && first.exec_main_start.is_some());

        systemd.start(&unit, SOON).await.unwrap().unwrap();
        assert_eq!(systemd.unit(&unit).await.unwrap().main_pid, first.main_pid, "starting what runs does nothing");
        systemd.restart(&unit, SOON).await.unwrap().unwrap();
        let second = systemd.unit(&unit).await.unwrap();
        assert_ne!(second.main_pid, first.main_pid);
        assert_eq!(second.n_restarts, 0, "only restarts by systemd itself count");

        fs::create_dir("/etc/systemd/system/good.service.d").unwrap();
        fs::write("/etc/systemd/system/good.service.d/x.conf", "[Service]\nNice=1\n").unwrap();
        fs::write("/etc/systemd/system/good.service", "[Service]\nExecStart=/bin/true\n").unwrap();
        assert!(systemd.unit(&unit).await.unwrap().need_daemon_reload);
        systemd.reload().await.unwrap();
        let third = systemd.unit(&unit).await.unwrap();
        assert_eq!(third.drop_in_paths, [PathBuf::from("/etc/systemd/system/good.service.d/x.conf")]);

        systemd.stop(&unit, SOON).await.unwrap().unwrap();
        assert_eq!(systemd.unit(&unit).await.unwrap().active_state, ActiveState::Inactive);
        assert_eq!(systemd.disable(std::slice::from_ref(&unit)).await.unwrap()[0].kind, "unlink");
        let missing = name("missing.service");
        systemd.stop(&missing, SOON).await.unwrap().unwrap();
        systemd.reset_failed(&missing).await.unwrap();
        assert_eq!(systemd.disable(std::slice::from_ref(&missing)).await.unwrap(), []);
        assert_eq!(systemd.unit(&missing).await.unwrap().load_state, LoadState::NotFound);
        let started = Instant::now();
        systemd.unit(&unit).await.unwrap();
        println!("one look at a unit takes {:?}", started.elapsed());
    })
    .await;
}

#[tokio::test]
async fn sys_a_unit_that_does_not_start_is_explained() {
    inside("sys_systemd::sys_a_unit_that_does_not_start_is_explained", "true", async {
        let systemd = Systemd::connect().await.unwrap();

        let script = "ExecStart=/bin/sh -c 'echo first; printf \"bad flag \\\\033[31mred\\n\" >&2; exit 7'";
        let failing = service(&systemd, "failing.service", &format!("Type=oneshot\n{script}")).await;
        let failed = fails(&systemd, &failing).await;
        assert_eq!(failed.result, JobResult::Ended("failed".to_owned()));
        let state = failed.state.as_ref().unwrap();
        assert_eq!((state.result.as_str(), state.exit), ("exit-code", Some(Exit::Status(7))));
        assert!(failed.journal.iter().any(|line| line == "first"), "{:?}", failed.journal);
        assert!(failed.journal.iter().any(|line| line.contains("bad flag \u{1b}[31mred")), "{:?}", failed.journal);
        assert_eq!(
            failed.to_string(),
            "starting failing.service: its job ended as \"failed\"; it is failed (failed), result exit-code, \
             its process exited with status 7"
        );
        systemd.reset_failed(&failing).await.unwrap();
        assert_eq!(systemd.unit(&failing).await.unwrap().active_state, ActiveState::Inactive);

        fs::write(
            "/etc/systemd/system/needy.service",
            "[Unit]\nRequires=failing.service\nAfter=failing.service\n[Service]\nExecStart=/bin/true\n",
        )
        .unwrap();
        systemd.reload().await.unwrap();
        assert_eq!(fails(&systemd, &name("needy.service")).await.result, JobResult::Ended("dependency".to_owned()));

        let missing = service(&systemd, "exec.service", "Type=exec\nExecStart=/opt/nothing").await;
        let text = fails(&systemd, &missing).await.to_string();
        assert!(text.contains("status 203 (EXEC: its program could not be run"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn sys_a_unit_that_systemd_refuses_or_that_does_not_come_up_is_explained() {
    inside("sys_systemd::sys_a_unit_that_systemd_refuses_or_that_does_not_come_up_is_explained", "true", async {
        let systemd = Systemd::connect().await.unwrap();

        symlink("/dev/null", "/etc/systemd/system/hidden.service").unwrap();
        systemd.reload().await.unwrap();
        let failed = fails(&systemd, &name("hidden.service")).await;
        assert!(matches!(failed.result, JobResult::Refused(_)), "{failed}");
        assert!(failed.to_string().contains("`systemctl unmask hidden.service` allows it again"), "{failed}");
        let text = fails(&systemd, &name("nowhere.service")).await.to_string();
        assert!(text.contains("systemd refused: Unit nowhere.service not found"), "{text}");
        let broken = service(&systemd, "broken.service", "ExecStart=relative/path").await;
        let failed = fails(&systemd, &broken).await;
        assert!(failed.to_string().ends_with("systemd refused: Unit broken.service has a bad unit file setting."), "{failed}");
        assert!(failed.journal.iter().any(|line| line.contains("broken.service:3:")), "{:?}", failed.journal);

        let silent =
            service(&systemd, "silent.service", "Type=notify\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity").await;
        let started = Instant::now();
        let failed = systemd.start(&silent, Duration::from_millis(700)).await.unwrap().unwrap_err();
        assert_eq!(failed.result, JobResult::Deadline(Duration::from_millis(700)));
        assert!(started.elapsed() < Duration::from_secs(5));
        systemd.stop(&silent, SOON).await.unwrap().unwrap();
        let silent = service(&systemd, "silent.service", "Type=notify\nTimeoutStartSec=1\nExecStart=/bin/sleep infinity").await;
        let failed = fails(&systemd, &silent).await;
        assert_eq!(failed.state.unwrap().result, "timeout");
    })
    .await;
}

#[tokio::test]
async fn sys_without_the_system_bus_root_speaks_to_systemd_itself() {
    let prepare = "systemctl stop dbus.socket dbus.service";
    inside("sys_systemd::sys_without_the_system_bus_root_speaks_to_systemd_itself", prepare, async {
        let started = Instant::now();
        let systemd = Systemd::connect().await.unwrap();
        println!("connected in {:?}", started.elapsed());
        assert!(systemd.is_private());
        let unit = service(&systemd, "good.service", "ExecStart=/bin/sleep infinity").await;
        systemd.enable(std::slice::from_ref(&unit)).await.unwrap();
        let others = (0..20).map(|_| systemd.restart(&unit, SOON));
        for restarted in futures_util::future::join_all(others).await {
            let restarted = restarted.unwrap();
            let canceled = |failed: &JobFailed| failed.result == JobResult::Ended("canceled".to_owned());
            assert!(restarted.as_ref().err().is_none_or(canceled), "{restarted:?}");
        }
        assert!(systemd.unit(&unit).await.unwrap().is_running());
        systemd.stop(&unit, SOON).await.unwrap().unwrap();
        let failing = service(&systemd, "failing.service", "Type=oneshot\nExecStart=/bin/false").await;
        assert_eq!(fails(&systemd, &failing).await.result, JobResult::Ended("failed".to_owned()));
        fs::rename("/run/systemd/private", "/run/systemd/private.away").unwrap();
        let error = Systemd::connect().await.unwrap_err().to_string();
        fs::rename("/run/systemd/private.away", "/run/systemd/private").unwrap();
        assert!(error.contains("hostlet needs a host booted with systemd"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn sys_sandboxing_that_breaks_propagation_is_found_with_the_file_that_sets_it() {
    inside("sys_systemd::sys_sandboxing_that_breaks_propagation_is_found_with_the_file_that_sets_it", "true", async {
        let systemd = Systemd::connect().await.unwrap();
        let containerd = name("containerd.service");
        assert_eq!(systemd.sandboxing(&containerd).await.unwrap(), [], "Debian's containerd has none");

        let drop_in = "/etc/systemd/system/containerd.service.d/hardening.conf";
        fs::create_dir("/etc/systemd/system/containerd.service.d").unwrap();
        fs::write(drop_in, "[Service]\nProtectSystem=full\nPrivateTmp=yes\nMountFlags=slave\nReadWritePaths=/var\nCapabilityBoundingSet=CAP_NET_ADMIN\nSystemCallFilter=@system-service\n").unwrap();
        systemd.reload().await.unwrap();
        let found = systemd.sandboxing(&containerd).await.unwrap();
        let text = found.iter().map(ToString::to_string).collect::<Vec<_>>();
        for expected in [
            "PrivateTmp=yes",
            "ProtectSystem=full",
            "ReadWritePaths=/var",
            "MountFlags=slave",
            "SystemCallFilter=(without mount)",
            "CapabilityBoundingSet=(without CAP_SYS_ADMIN)",
        ] {
            assert!(text.contains(&format!("containerd.service has {expected} in {drop_in}")), "{expected}: {text:?}");
        }
        assert_eq!(found.len(), 6, "{text:?}");

        let dynamic = service(&systemd, "dynamic.service", "DynamicUser=yes\nExecStart=/bin/sleep infinity").await;
        let found = systemd.sandboxing(&dynamic).await.unwrap();
        assert!(found.iter().any(|one| one.option == "ProtectSystem" && one.file.is_none()), "{found:?}");
    })
    .await;
}

/// A health endpoint that gives one answer.
async fn endpoint(answer: &'static str) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(listener.local_addr().unwrap(), "/healthz");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 512]).await;
            if answer.is_empty() {
                std::mem::forget(stream);
            } else {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    endpoint
}

fn gate(unit: &UnitName) -> Gate {
    Gate {
        unit: unit.clone(),
        timeout: Duration::from_secs(6),
        window: Duration::from_secs(1),
        since_restarts: Some(0),
        loop_after: Some(3),
        healthz: None,
        propagation: None,
    }
}

async fn verdict(systemd: &Systemd, gate: &Gate) -> Result<Healthy, Unhealthy> {
    let verdict = health::wait(systemd, gate).await.unwrap();
    match &verdict {
        Ok(healthy) => println!("{}: healthy after {:?}", gate.unit, healthy.waited()),
        Err(unhealthy) => println!("{unhealthy}\n    {}", unhealthy.journal.join("\n    ")),
    }
    verdict
}

#[tokio::test]
async fn sys_the_gate_lets_through_what_is_healthy_and_names_what_does_not_answer() {
    inside("sys_systemd::sys_the_gate_lets_through_what_is_healthy_and_names_what_does_not_answer", "true", async {
        let systemd = Systemd::connect().await.unwrap();

        let steady = service(&systemd, "steady.service", "ExecStart=/bin/sleep infinity").await;
        systemd.restart(&steady, SOON).await.unwrap().unwrap();
        let ok = endpoint("HTTP/1.1 200 OK\r\n\r\nok").await;
        let healthy = verdict(&systemd, &Gate { healthz: Some(ok), ..gate(&steady) }).await.unwrap();
        assert_eq!((healthy.restarts(), Some(healthy.pid())), (0, systemd.unit(&steady).await.unwrap().main_pid));
        assert!(healthy.waited() >= Duration::from_secs(1) && healthy.waited() < Duration::from_secs(8));

        for (answer, expected) in [
            ("", "it did not answer within 2 s"),
            ("HTTP/1.1 500 Internal Server Error\r\n\r\nno", "it answered 500 Internal Server Error: no"),
        ] {
            let endpoint = endpoint(answer).await;
            let unhealthy = verdict(&systemd, &Gate { healthz: Some(endpoint), ..gate(&steady) }).await.unwrap_err();
            assert!(matches!(&unhealthy.cause, Cause::Healthz { answer, .. } if answer == expected), "{unhealthy}");
        }
    })
    .await;
}

#[tokio::test]
async fn sys_the_gate_names_a_unit_that_crashes_loops_or_is_down() {
    inside("sys_systemd::sys_the_gate_names_a_unit_that_crashes_loops_or_is_down", "true", async {
        let systemd = Systemd::connect().await.unwrap();
        let start = async |unit: &UnitName| systemd.restart(unit, SOON).await.unwrap();

        // READY and then a crash, again and again: systemd itself calls each start a success.
        let crashing = "Type=notify\nNotifyAccess=all\nRestart=always\nRestartSec=300ms\nStartLimitIntervalSec=0\n\
            ExecStart=/bin/sh -c 'systemd-notify --ready; sleep 0.4; echo \"open /nowhere: no such file\" >&2; exit 3'";
        let crashing = service(&systemd, "crashing.service", crashing).await;
        start(&crashing).await.expect("its job is done: it was ready");
        let unhealthy = verdict(&systemd, &Gate { timeout: Duration::from_mins(1), ..gate(&crashing) }).await.unwrap_err();
        assert!(matches!(unhealthy.cause, Cause::CrashLoop { restarts: 3 }), "{unhealthy}");
        assert!(unhealthy.waited < Duration::from_secs(10), "it does not wait for the whole timeout");
        assert!(unhealthy.journal.iter().any(|line| line == "open /nowhere: no such file"), "{:?}", unhealthy.journal);
        assert!(unhealthy.to_string().contains("result exit-code, its process exited with status 3"), "{unhealthy}");
        systemd.stop(&crashing, SOON).await.unwrap().unwrap();

        // One crash, long between two starts as with the kubelet's RestartSec=10.
        let slow = "Restart=always\nRestartSec=30\nExecStart=/bin/sh -c 'sleep 0.5; kill -SEGV $$$$'";
        let slow = service(&systemd, "slow.service", slow).await;
        start(&slow).await.unwrap();
        let unhealthy = verdict(&systemd, &Gate { timeout: Duration::from_secs(3), ..gate(&slow) }).await.unwrap_err();
        assert!(matches!(unhealthy.cause, Cause::NotRunning), "{unhealthy}");
        assert!(unhealthy.to_string().contains("activating (auto-restart), result signal, its process was killed by SIGSEGV")
            || unhealthy.to_string().contains("result core-dump"), "{unhealthy}");

        // Recovers after a crash: healthy, and the restart is told.
        let lucky = "Restart=always\nRestartSec=300ms\nExecStart=/bin/sh -c 'test -e /run/second || { touch /run/second; sleep 0.4; exit 1; }; exec sleep infinity'";
        let lucky = service(&systemd, "lucky.service", lucky).await;
        start(&lucky).await.unwrap();
        assert_eq!(verdict(&systemd, &gate(&lucky)).await.unwrap().restarts(), 1);

        // Failed, ended by itself, not there: known at once.
        let once = service(&systemd, "once.service", "ExecStart=/bin/sh -c 'sleep 0.3; exit 4'").await;
        start(&once).await.unwrap();
        let done = service(&systemd, "done.service", "ExecStart=/bin/sh -c 'sleep 0.3'").await;
        start(&done).await.unwrap();
        for unit in [once, done, name("nowhere.service")] {
            let unhealthy = verdict(&systemd, &gate(&unit)).await.unwrap_err();
            assert!(matches!(unhealthy.cause, Cause::Down), "{unhealthy}");
            assert!(unhealthy.waited < Duration::from_secs(2), "{unhealthy}");
        }
    })
    .await;
}

#[tokio::test]
async fn sys_a_sandboxed_kubelet_or_containerd_is_caught_by_the_gate() {
    inside("sys_systemd::sys_a_sandboxed_kubelet_or_containerd_is_caught_by_the_gate", "true", async {
        let systemd = Systemd::connect().await.unwrap();
        let root = PathBuf::from("/var/lib/kubelet");
        fs::create_dir_all(&root).unwrap();
        let containerd = name("containerd.service");
        let kubelet = service(&systemd, "kubelet.service", "ExecStart=/bin/sleep infinity").await;
        let gate = Gate {
            propagation: Some(PropagationGate { root: root.clone(), receivers: vec![containerd.clone()] }),
            ..gate(&kubelet)
        };
        systemd.restart(&kubelet, SOON).await.unwrap().unwrap();
        let healthy = verdict(&systemd, &gate).await.unwrap();
        assert_eq!(healthy.witnesses(), ["the host", "a slave child namespace", "containerd.service"]);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

        // What a kubelet does in a sandbox: it shares its slave copy again, and believes that all is well.
        let drop_in = "/etc/systemd/system/kubelet.service.d/hardening.conf";
        let again = "ExecStart=/bin/sh -c 'mount --bind /var/lib/kubelet /var/lib/kubelet; mount --make-rshared /var/lib/kubelet; exec sleep infinity'";
        service(&systemd, "kubelet.service", again).await;
        fs::create_dir("/etc/systemd/system/kubelet.service.d").unwrap();
        fs::write(drop_in, "[Service]\nProtectSystem=full\n").unwrap();
        systemd.reload().await.unwrap();
        systemd.restart(&kubelet, SOON).await.unwrap().unwrap();
        let unhealthy = verdict(&systemd, &gate).await.unwrap_err();
        assert!(matches!(unhealthy.cause, Cause::NotPropagated(_)), "{unhealthy}");
        let text = unhealthy.to_string();
        for part in [
            &format!("likely cause: kubelet.service has ProtectSystem=full in {drop_in}"),
            "is not seen by the host, a slave child namespace, containerd.service",
            " master:",
        ] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
        let pid = systemd.unit(&kubelet).await.unwrap().main_pid.unwrap();
        let observer = Observer { name: "kubelet".to_owned(), pid };
        assert_eq!(propagation::look(&root, &[observer]).unwrap().links[0].1, Some(Link::ReceivesOnly));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

        fs::remove_file(drop_in).unwrap();
        let drop_in = "/etc/systemd/system/containerd.service.d/hardening.conf";
        fs::create_dir("/etc/systemd/system/containerd.service.d").unwrap();
        fs::write(drop_in, "[Service]\nMountFlags=private\n").unwrap();
        service(&systemd, "kubelet.service", "ExecStart=/bin/sleep infinity").await;
        systemd.restart(&kubelet, SOON).await.unwrap().unwrap();
        systemd.restart(&containerd, SOON).await.unwrap().unwrap();
        let text = verdict(&systemd, &gate).await.unwrap_err().to_string();
        assert!(text.contains("is not seen by containerd.service (pid "), "{text}");
        assert!(text.contains(&format!("containerd.service has MountFlags=private in {drop_in}")), "{text}");

        systemd.stop(&containerd, SOON).await.unwrap().unwrap();
        let error = health::wait(&systemd, &gate).await.unwrap_err().to_string();
        assert!(error.starts_with("containerd.service does not run"), "{error}");
    })
    .await;
}
