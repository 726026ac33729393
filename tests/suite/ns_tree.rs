//! Removing trees where something is mounted in them.

use std::{fs, path::Path, thread};

use hostlet::host::tree;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Runs in a mount namespace of its own: what is mounted there is gone when the thread ends.
fn in_own_mount_namespace(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of its own: run the tests as root");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            work();
        });
        worker.join().unwrap();
    });
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[test]
fn ns_what_is_bound_into_a_tree_survives_its_removal_though_it_is_on_the_same_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let precious = directory.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "years of work").unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("pods/volume")).unwrap();
    fs::create_dir_all(tree.join("plain")).unwrap();
    in_own_mount_namespace(|| {
        bind(&precious, &tree.join("pods/volume"));
        let kept = tree::remove(&tree).unwrap();
        let kept: Vec<_> = kept.iter().map(|kept| (kept.path.clone(), kept.why.as_str())).collect();
        assert_eq!(kept, [(tree.join("pods/volume"), "is a mount point")]);
        assert!(!tree.join("plain").exists(), "what is not behind a mount is removed");
    });
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "years of work");
}

#[test]
fn ns_a_file_that_is_a_mount_point_is_kept_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let precious = directory.path().join("precious");
    fs::write(&precious, "years of work").unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "").unwrap();
    in_own_mount_namespace(|| {
        bind(&precious, &tree.join("file"));
        let kept = tree::remove(&tree).unwrap();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].path, tree.join("file"));
    });
    assert_eq!(fs::read_to_string(&precious).unwrap(), "years of work");
}
