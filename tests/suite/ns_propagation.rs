//! The canary, on a real kernel: who sees what is mounted under the kubelet's root directory.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests set the host up")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use hostlet::host::{
    mounts::{self, MountTable, Need, Process as Whose, Tmpfs},
    propagation::{Defect, Link, NotPropagated, Observer, PropagationError, look, prove, prove_from},
};

use crate::namespaces::{Arena, Process, alone, arena};

fn refused(root: &Path, mounter: Option<&Process>, observers: &[Observer]) -> NotPropagated {
    let found = match mounter {
        Some(mounter) => prove_from(root, &mounter.observer(), observers),
        None => prove(root, observers),
    };
    let finding = found.unwrap().expect_err("it must not be proved");
    assert_nothing_stays(root);
    finding
}

fn assert_nothing_stays(root: &Path) {
    let table = MountTable::of(Whose::Own).unwrap();
    assert!(table.iter().all(|mount| !mount.source.to_string_lossy().starts_with("hostlet-canary")));
    assert_eq!(fs::read_dir(root).unwrap().count(), 0, "a directory stays");
}

fn links(root: &Path, process: &Process) -> Link {
    look(root, &[process.observer()]).unwrap().links[0].1.unwrap()
}

#[test]
fn ns_a_shared_root_is_proved_and_nothing_stays() {
    alone("ns_propagation::ns_a_shared_root_is_proved_and_nothing_stays", || {
        let root = arena(Arena::Shared);
        let containerd = Process::on_the_host("containerd");
        let receiver = Process::in_its_own_namespace("receiver", "slave", "");
        let proof = prove(&root, &[containerd.observer(), receiver.observer()]).unwrap().unwrap();
        assert_eq!(proof.witnesses(), ["a slave child namespace", "containerd", "receiver"]);
        assert_nothing_stays(&root);
        assert_eq!(links(&root, &containerd), Link::SameNamespace);
        assert_eq!(links(&root, &receiver), Link::ReceivesOnly);
        println!("took {:?}", proof.took());
    });
}

#[test]
fn ns_a_private_root_is_refused_with_the_evidence_and_what_to_do() {
    alone("ns_propagation::ns_a_private_root_is_refused_with_the_evidence_and_what_to_do", || {
        let root = arena(Arena::Private);
        let finding = refused(&root, None, &[]);
        assert_eq!(finding.defect, Defect::NotSeen);
        assert_eq!(finding.unreached.len(), 1);
        let text = finding.suspecting(["x.service has PrivateTmp=yes in /a.conf".to_owned()]).to_string();
        for part in [
            "what hostlet mounts under /mnt/kubelet is not seen by a slave child namespace",
            "/mnt/kubelet lies on /mnt (private) on the host",
            "likely cause: x.service has PrivateTmp=yes in /a.conf",
            "`hostlet install` does so with a mount unit",
        ] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
        let seen = look(&root, &[]).unwrap();
        assert!(!seen.is_shared() && seen.on_the_host && seen.need == Need::MountUnit);
    });
}

#[test]
fn ns_an_observer_that_is_cut_off_is_named() {
    alone("ns_propagation::ns_an_observer_that_is_cut_off_is_named", || {
        let root = arena(Arena::Shared);
        let containerd = Process::in_its_own_namespace("containerd", "private", "");
        let finding = refused(&root, None, &[containerd.observer()]);
        assert_eq!(finding.unreached.len(), 1);
        let observer = containerd.observer();
        let text = finding.to_string();
        assert!(
            text.contains(&format!("is not seen by containerd (pid {}, where it lies on /mnt (private))", observer.pid)),
            "{text}"
        );
        assert!(text.contains("give containerd the host's mount namespace"), "{text}");
        assert_eq!(links(&root, &containerd), Link::Severed);
    });
}

#[test]
fn ns_an_observer_from_before_the_bind_never_sees_it() {
    alone("ns_propagation::ns_an_observer_from_before_the_bind_never_sees_it", || {
        let root = arena(Arena::Private);
        let containerd = Process::in_its_own_namespace("containerd", "unchanged", "");
        mounts::bind(&root, &root, false).unwrap();
        mounts::make_shared(&root).unwrap();
        prove(&root, &[]).unwrap().unwrap();
        let finding = refused(&root, None, &[containerd.observer()]);
        assert_eq!(finding.unreached[0].covering, "/mnt (private)");
    });
}

#[test]
fn ns_a_kubelet_that_shares_its_slave_copy_again_is_caught() {
    alone("ns_propagation::ns_a_kubelet_that_shares_its_slave_copy_again_is_caught", || {
        let root = arena(Arena::Shared);
        let script = "mount --bind /mnt/kubelet /mnt/kubelet; mount --make-rshared /mnt/kubelet";
        let kubelet = Process::in_its_own_namespace("kubelet", "slave", script);
        let containerd = Process::on_the_host("containerd");
        let finding = refused(&root, Some(&kubelet), &[containerd.observer()]);
        assert_eq!(finding.defect, Defect::NotSeen);
        let names = finding.unreached.iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["the host", "a slave child namespace", "containerd"]);
        assert!(
            finding.evidence.contains("/mnt/kubelet (shared:") && finding.evidence.contains(" master:"),
            "{}",
            finding.evidence
        );
        assert!(finding.remedy.starts_with("give kubelet the host's mount namespace"), "{}", finding.remedy);
        assert_eq!(links(&root, &kubelet), Link::ReceivesOnly);
        // What the host mounts does arrive, which is why the test must be made from the kubelet's side.
        prove(&root, &[containerd.observer()]).unwrap().unwrap();
    });
}

#[test]
fn ns_a_kubelet_on_the_host_or_in_a_peer_namespace_is_proved() {
    alone("ns_propagation::ns_a_kubelet_on_the_host_or_in_a_peer_namespace_is_proved", || {
        let root = arena(Arena::Shared);
        let containerd = Process::on_the_host("containerd");
        for kubelet in [Process::on_the_host("kubelet"), Process::in_its_own_namespace("kubelet", "unchanged", "")] {
            let proof = prove_from(&root, &kubelet.observer(), &[containerd.observer()]).unwrap().unwrap();
            assert_eq!(proof.witnesses(), ["the host", "a slave child namespace", "containerd"]);
            assert_nothing_stays(&root);
            assert!(links(&root, &kubelet).sends());
        }
    });
}

#[test]
fn ns_a_canary_hidden_below_another_mount_counts_as_not_seen() {
    alone("ns_propagation::ns_a_canary_hidden_below_another_mount_counts_as_not_seen", || {
        let root = arena(Arena::Shared);
        let containerd = Process::in_its_own_namespace("containerd", "slave", "mount -t tmpfs hiding /mnt/kubelet");
        let finding = refused(&root, None, &[containerd.observer()]);
        assert!(finding.unreached[0].covering.starts_with("/mnt/kubelet ("), "{:?}", finding.unreached);
    });
}

#[test]
fn ns_leftovers_of_killed_runs_go_and_foreign_things_stay() {
    alone("ns_propagation::ns_leftovers_of_killed_runs_go_and_foreign_things_stay", || {
        let root = arena(Arena::Shared);
        let at = |name: &str| {
            let path = root.join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        mounts::mount_tmpfs(&at(".hostlet-canary-left"), &Tmpfs { source: "hostlet-canary-left", kibibytes: 4 }).unwrap();
        at(".hostlet-canary-empty");
        let foreign = at(".hostlet-canary-foreign");
        mounts::mount_tmpfs(&foreign, &Tmpfs { source: "somebody", kibibytes: 4 }).unwrap();
        fs::write(at(".hostlet-canary-full").join("file"), "precious").unwrap();
        fs::write(root.join(".hostlet-canary-file"), "precious").unwrap();
        at("pods");
        prove(&root, &[]).unwrap().unwrap();
        let mut names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        names.sort();
        assert_eq!(names, [".hostlet-canary-file", ".hostlet-canary-foreign", ".hostlet-canary-full", "pods"]);
        assert_eq!(fs::read(root.join(".hostlet-canary-full/file")).unwrap(), b"precious");
        assert_eq!(MountTable::of(Whose::Own).unwrap().covering(&foreign).unwrap().source, "somebody");
    });
}

#[test]
fn ns_a_kill_at_any_moment_leaves_nothing_that_the_next_run_does_not_remove() {
    const ROLE: &str = "HOSTLET_TEST_PROVES_FOREVER";
    alone("ns_propagation::ns_a_kill_at_any_moment_leaves_nothing_that_the_next_run_does_not_remove", || {
        if std::env::var_os(ROLE).is_some() {
            loop {
                prove(Path::new("/mnt/kubelet"), &[]).unwrap().unwrap();
            }
        }
        let root = arena(Arena::Shared);
        let mut dirty = 0;
        for round in 0..40 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ns_propagation::ns_a_kill_at_any_moment_leaves_nothing_that_the_next_run_does_not_remove"])
                .env(ROLE, "1")
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(25_000 + round * 371));
            assert_eq!(child.try_wait().unwrap(), None, "it proves until it is killed");
            child.kill().unwrap();
            child.wait().unwrap();
            dirty += usize::from(fs::read_dir(&root).unwrap().next().is_some());
            if round % 4 == 3 {
                prove(&root, &[]).unwrap().unwrap();
                assert_nothing_stays(&root);
            }
        }
        assert!(dirty > 0, "no kill came at a bad moment: the test tests nothing");
        println!("{dirty} of 40 kills left something");
    });
}

#[test]
fn ns_two_proofs_at_a_time_do_not_disturb_each_other() {
    alone("ns_propagation::ns_two_proofs_at_a_time_do_not_disturb_each_other", || {
        let root = arena(Arena::Shared);
        let threads = (0..4).map(|_| {
            let root = root.clone();
            std::thread::spawn(move || (0..5).for_each(|_| drop(prove(&root, &[]).unwrap().unwrap())))
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        assert_nothing_stays(&root);
    });
}

#[test]
fn ns_a_root_directory_may_be_called_anything_and_be_reached_through_a_link() {
    alone("ns_propagation::ns_a_root_directory_may_be_called_anything_and_be_reached_through_a_link", || {
        let arena = arena(Arena::Shared);
        let root: PathBuf = arena.join(OsStr::from_bytes(b"a b\\040\n\xff"));
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(&root, arena.join("link")).unwrap();
        prove(&arena.join("link"), &[]).unwrap().unwrap();
        assert_nothing_stays(&root);
        assert_eq!(look(&arena.join("link/not/there/yet"), &[]).unwrap().root, root.join("not/there/yet"));
    });
}

#[test]
fn ns_from_another_namespace_nothing_is_proved() {
    alone("ns_propagation::ns_from_another_namespace_nothing_is_proved", || {
        let root = arena(Arena::Shared);
        let inside = root.clone();
        let finding = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            assert!(!look(&inside, &[]).unwrap().on_the_host);
            prove(&inside, &[]).unwrap().unwrap_err()
        });
        let finding = finding.join().unwrap();
        assert_eq!(finding.defect, Defect::NotOnTheHost);
        assert!(finding.to_string().contains("run hostlet on the host itself"), "{finding}");
        assert_nothing_stays(&root);
    });
}

#[test]
fn ns_an_observer_that_ended_is_told_and_the_canary_goes() {
    alone("ns_propagation::ns_an_observer_that_ended_is_told_and_the_canary_goes", || {
        let root = arena(Arena::Shared);
        let gone = Observer { name: "kubelet".to_owned(), pid: 4_000_000 };
        let error = prove(&root, std::slice::from_ref(&gone)).unwrap_err();
        assert!(matches!(error, PropagationError::Ended { pid: 4_000_000, .. }), "{error}");
        assert_nothing_stays(&root);
        assert!(matches!(prove_from(&root, &gone, &[]).unwrap_err(), PropagationError::Ended { .. }));
        assert_nothing_stays(&root);
        assert_eq!(look(&root, &[gone]).unwrap().links[0].1, None);
        assert!(prove(&root.join("missing"), &[]).unwrap_err().to_string().contains("/mnt/kubelet/missing"));
    });
}
