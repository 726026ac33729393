//! Disks that are full or read-only. The test's thread gets a mount namespace of its own, and with it the threads that
//! its runtime starts; what is mounted there goes with the last of them.

use std::path::{Path, PathBuf};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::bench::{Bench, artifact, content, names};

fn in_own_mount_namespace(test: impl Future<Output = ()>) {
    unshare(CloneFlags::CLONE_NEWNS).expect("this test needs root");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Goes before the directory that it is mounted in: a mount point cannot be removed.
struct Tmpfs(PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn tmpfs(at: &Path, flags: MsFlags) -> Tmpfs {
    std::fs::create_dir_all(at).unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("size=1m")).unwrap();
    Tmpfs(at.to_owned())
}

#[test]
fn ns_a_full_disk_is_named_with_what_is_needed_and_not_left_full() {
    in_own_mount_namespace(async {
        let bench = Bench::new().await;
        let _mounted = tmpfs(&bench.cache(), MsFlags::empty());
        let body = content(3 << 20);
        let url = bench.server.put("/kubelet", &body, []);
        let error = bench.refused(&body, &url).await;
        let text = error.to_string();
        assert!(text.contains(&format!("the file system of {}", bench.cache().display())), "{text}");
        assert!(text.contains("is full; the file needs 3145728 bytes"), "{text}");
        assert!(error.remedy().contains("Free at least 3145728 bytes"), "{}", error.remedy());
        assert_eq!(bench.cached(), [""; 0]);
        assert_eq!(bench.server.seen().len(), 1);
    });
}

#[test]
fn ns_a_full_disk_while_unpacking_leaves_nothing() {
    in_own_mount_namespace(async {
        let bench = Bench::new().await;
        let body = content(3 << 20);
        let url = bench.server.put("/kubelet", &body, []);
        let verified = bench.fetch(&body, &url).await.unwrap();
        let into = bench.directory.path().join("into");
        let _mounted = tmpfs(&into, MsFlags::empty());
        let error = verified.unpack(&into).unwrap_err();
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert!(error.remedy().contains("Free space"), "{}", error.remedy());
        assert_eq!(super::bench::names(&into), [""; 0]);
    });
}

#[test]
fn ns_a_read_only_cache_is_named() {
    in_own_mount_namespace(async {
        let bench = Bench::new().await;
        let _mounted = tmpfs(&bench.cache(), MsFlags::MS_RDONLY);
        let url = bench.server.put("/kubelet", b"x", []);
        let error = bench.refused(b"x", &url).await;
        assert!(error.to_string().contains("is read-only"), "{error}");
        assert!(error.remedy().contains("writable"), "{}", error.remedy());
        assert_eq!(bench.server.seen().len(), 0, "nothing is asked for that cannot be kept");
    });
}

#[test]
fn ns_a_cache_below_a_read_only_directory_is_named_too() {
    in_own_mount_namespace(async {
        let bench = Bench::new().await;
        let above = bench.directory.path().join("above");
        let _mounted = tmpfs(&above, MsFlags::MS_RDONLY);
        let fetcher = bench.fetcher_into(&above.join("hostlet/cache"));
        let url = bench.server.put("/kubelet", b"x", []);
        let error = fetcher.fetch_all(vec![super::bench::request(b"x", &url)]).await.unwrap_err();
        assert!(error.to_string().contains("is read-only"), "{error}");
    });
}

#[test]
fn ns_a_full_disk_under_a_bundles_artifacts_is_named_and_not_left_full() {
    use hostlet::{
        config::{Bundle, Sources},
        fetch::{OpenBundle, create},
        model::{Component, SignaturePolicy},
    };
    in_own_mount_namespace(async {
        let bench = Bench::new().await;
        let body = content(3 << 20);
        let url = bench.server.put("/kubelet", &body, []);
        let verified = bench.fetch(&body, &url).await.unwrap();
        let bundle = Bundle { path: bench.directory.path().join("node.bundle"), digest: None, key: None };
        let artifacts = [(verified, url.to_string())];
        create(&bundle.path, &artifacts, "now").unwrap();
        let small = bench.directory.path().join("small");
        let _mounted = tmpfs(&small, MsFlags::empty());
        // No part of a bundle appears where there is no room for the whole.
        let error = create(&small.join("node.bundle"), &artifacts, "now").unwrap_err();
        assert!(error.to_string().contains("No space left") && error.remedy().contains("Make room"), "{error}");
        assert_eq!(names(&small), [""; 0]);
        let events = std::sync::Arc::new(hostlet::output::Silent);
        let open = OpenBundle::open(&bundle, &Sources::default(), small.clone(), events).unwrap();
        let error = open.obtain(&[(artifact(Component::Kubelet, &body), SignaturePolicy::Off)]).unwrap_err();
        assert!(error.to_string().contains(&format!("the file system of {}", small.display())), "{error}");
        assert!(error.remedy().contains("Free space"), "{}", error.remedy());
        assert_eq!(names(&small), [""; 0]);
    });
}
