//! Unmounting all that lies below a directory, on a real kernel.
#![allow(clippy::disallowed_methods, reason = "tests set the host up")]

use std::{fs, path::Path};

use hostlet::host::{
    mounts::{self, MountTable, Process, Tmpfs, unmount_below},
    tree,
};

use crate::namespaces::{Arena, alone, arena};

const SMALL: Tmpfs<'static> = Tmpfs { source: "small", kibibytes: 64 };

fn left(root: &Path) -> usize {
    MountTable::of(Process::Own).unwrap().below(root).len()
}

#[test]
fn ns_binds_of_the_root_on_itself_and_all_mounts_below_go_in_reverse() {
    alone("ns_unmount::ns_binds_of_the_root_on_itself_and_all_mounts_below_go_in_reverse", || {
        let root = arena(Arena::Shared);
        mounts::bind(&root, &root, false).unwrap();
        let volume = root.join("pods/a/volumes/kubernetes.io~secret/token");
        fs::create_dir_all(&volume).unwrap();
        mounts::mount_tmpfs(&volume, &SMALL).unwrap();
        fs::create_dir(volume.join("below")).unwrap();
        mounts::bind(Path::new("/usr"), &volume.join("below"), false).unwrap();
        mounts::mount_tmpfs(&root.join("pods"), &SMALL).unwrap();
        assert_eq!(unmount_below(&root).unwrap(), []);
        assert_eq!(left(&root), 0);
        assert!(Path::new("/usr/bin").exists());
    });
}

#[test]
fn ns_a_file_system_that_is_mounted_on_the_root_stays_and_what_is_below_goes() {
    alone("ns_unmount::ns_a_file_system_that_is_mounted_on_the_root_stays_and_what_is_below_goes", || {
        let root = arena(Arena::Private);
        mounts::mount_tmpfs(&root, &SMALL).unwrap();
        fs::create_dir(root.join("pods")).unwrap();
        mounts::mount_tmpfs(&root.join("pods"), &SMALL).unwrap();
        assert_eq!(unmount_below(&root).unwrap(), []);
        assert_eq!(left(&root), 1);
    });
}

#[test]
fn ns_what_is_in_use_stays_with_its_parents_and_its_user_is_named() {
    alone("ns_unmount::ns_what_is_in_use_stays_with_its_parents_and_its_user_is_named", || {
        let root = arena(Arena::Private);
        let precious = root.with_file_name("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "years of work").unwrap();
        fs::create_dir_all(root.join("outer")).unwrap();
        mounts::mount_tmpfs(&root.join("outer"), &SMALL).unwrap();
        fs::create_dir(root.join("outer/inner")).unwrap();
        mounts::bind(&precious, &root.join("outer/inner"), false).unwrap();
        fs::create_dir(root.join("free")).unwrap();
        mounts::mount_tmpfs(&root.join("free"), &SMALL).unwrap();
        let in_use = fs::File::open(root.join("outer/inner/file")).unwrap();
        let still = unmount_below(&root).unwrap();
        assert_eq!(
            still.iter().map(|mount| mount.mount_point.clone()).collect::<Vec<_>>(),
            [root.join("outer"), root.join("outer/inner")]
        );
        assert!(still[0].why.contains("outer/inner"), "{still:?}");
        assert!(still[1].why.contains(&format!("pid {}", std::process::id())), "{still:?}");
        // And deleting stops at it.
        let kept = tree::remove(&root).unwrap();
        assert_eq!(kept.iter().map(|kept| kept.path.clone()).collect::<Vec<_>>(), [root.join("outer")]);
        assert!(!root.join("free").exists());
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "years of work");
        drop(in_use);
        assert_eq!(unmount_below(&root).unwrap(), []);
    });
}

#[test]
fn ns_a_secret_that_is_in_use_is_detached_but_not_with_somebody_elses_mount_in_it() {
    alone("ns_unmount::ns_a_secret_that_is_in_use_is_detached_but_not_with_somebody_elses_mount_in_it", || {
        let root = arena(Arena::Private);
        let secret = |name: &str| {
            let path = root.join("pods/a/volumes/kubernetes.io~secret").join(name);
            fs::create_dir_all(&path).unwrap();
            mounts::mount_tmpfs(&path, &SMALL).unwrap();
            path
        };
        let (plain, holding) = (secret("plain"), secret("holding"));
        let in_use = fs::File::create(plain.join("token")).unwrap();
        fs::create_dir(holding.join("bind")).unwrap();
        let precious = root.with_file_name("precious");
        fs::create_dir(&precious).unwrap();
        mounts::bind(&precious, &holding.join("bind"), false).unwrap();
        let in_use_too = fs::File::create(holding.join("bind/file")).unwrap();
        let still = unmount_below(&root).unwrap();
        assert_eq!(
            still.iter().map(|mount| mount.mount_point.clone()).collect::<Vec<_>>(),
            [holding.clone(), holding.join("bind")]
        );
        drop((in_use, in_use_too));
    });
}
