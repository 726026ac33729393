//! Mounts, on a real kernel.
#![allow(clippy::disallowed_methods, reason = "tests set the host up")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use hostlet::host::mounts::{self, MountTable, Need, Process, TemporaryMount, Tmpfs, need, needs_mount_unit};

use crate::namespaces::{Arena, alone, arena};

const SMALL: Tmpfs<'static> = Tmpfs { source: "small", kibibytes: 16 };

fn own_table() -> MountTable {
    MountTable::of(Process::Own).unwrap()
}

#[test]
fn ns_the_top_of_stacked_mounts_covers_and_all_can_be_unmounted_in_reverse() {
    alone("ns_mounts::ns_the_top_of_stacked_mounts_covers_and_all_can_be_unmounted_in_reverse", || {
        let root = arena(Arena::Private);
        mounts::bind(&root, &root, false).unwrap();
        fs::create_dir_all(root.join("pods/a/volume")).unwrap();
        mounts::mount_tmpfs(&root.join("pods/a/volume"), &SMALL).unwrap();
        mounts::mount_tmpfs(&root.join("pods"), &Tmpfs { source: "hiding", kibibytes: 16 }).unwrap();
        mounts::bind(&root, &root, false).unwrap();
        let table = own_table();
        let top = table.covering(&root.join("pods/a/volume")).unwrap();
        assert_eq!((top.mount_point.as_path(), top.fs_type.as_str()), (root.as_path(), "tmpfs"));
        assert_eq!(fs::metadata(root.join("pods")).unwrap().dev(), fs::metadata(&root).unwrap().dev(), "nothing is seen below");
        let below = table.below(&root);
        assert_eq!(below.len(), 4);
        for mount in below.iter().rev() {
            mounts::unmount(&mount.mount_point).unwrap();
        }
        assert!(own_table().below(&root).is_empty());
        assert!(root.join("pods/a/volume").is_dir());
    });
}

#[test]
fn ns_only_pods_volumes_in_memory_are_unmounted_also_where_one_is_several_mounts() {
    alone("ns_mounts::ns_only_pods_volumes_in_memory_are_unmounted_also_where_one_is_several_mounts", || {
        let root = arena(Arena::Shared);
        let volume = |kind: &str| {
            let path = root.join("pods/uid/volumes").join(kind).join("name");
            fs::create_dir_all(&path).unwrap();
            path
        };
        // Each bind on a shared parent is a peer of it: what is mounted in one appears in all.
        mounts::bind(&root, &root, false).unwrap();
        mounts::bind(&root, &root, false).unwrap();
        let (secret, projected) = (volume("kubernetes.io~secret"), volume("kubernetes.io~projected"));
        mounts::mount_tmpfs(&secret, &SMALL).unwrap();
        mounts::mount_tmpfs(&projected, &SMALL).unwrap();
        let in_use = fs::File::create(projected.join("token")).unwrap();
        let (directory, hidden, disk) =
            (volume("kubernetes.io~csi"), volume("kubernetes.io~empty-dir"), volume("kubernetes.io~nfs"));
        mounts::mount_tmpfs(&hidden, &SMALL).unwrap();
        for (what, on) in [(root.join("pods").as_path(), &directory), (Path::new("/usr"), &hidden), (Path::new("/etc"), &disk)]
        {
            mounts::bind(what, on, false).unwrap();
        }
        mounts::unmount_pod_volumes(&root).unwrap();
        let table = own_table();
        for gone in [&secret, &projected] {
            assert_ne!(table.covering(gone).unwrap().mount_point, *gone);
        }
        for foreign in [&directory, &hidden, &disk] {
            assert_eq!(table.covering(foreign).unwrap().mount_point, *foreign);
        }
        assert!(hidden.join("bin").exists(), "what lies below is not reached by unmounting what hides it");
        drop(in_use);
    });
}

#[test]
fn ns_mount_points_with_blanks_newlines_and_foreign_bytes_are_found() {
    alone("ns_mounts::ns_mount_points_with_blanks_newlines_and_foreign_bytes_are_found", || {
        let root = arena(Arena::Private);
        for name in [&b"with blank"[..], b"tab\tand\nline", b"back\\slash\\040", b"f\xc3\xbcr", b"\xff\xfe x", b"#hash"] {
            let path = root.join(OsStr::from_bytes(name));
            fs::create_dir(&path).unwrap();
            let mount = TemporaryMount::tmpfs(&path, &SMALL).unwrap();
            let table = own_table();
            assert_eq!(table.covering(&path.join("below")).unwrap().mount_point, path);
            mount.remove().unwrap();
            assert_ne!(own_table().covering(&path).unwrap().mount_point, path);
        }
    });
}

#[test]
fn ns_the_need_for_a_mount_unit_is_the_same_before_and_after_the_bind() {
    alone("ns_mounts::ns_the_need_for_a_mount_unit_is_the_same_before_and_after_the_bind", || {
        let root = arena(Arena::Private);
        assert!(needs_mount_unit(&own_table(), &root));
        assert!(needs_mount_unit(&own_table(), &root.join("not/there/yet")));
        mounts::bind(&root, &root, false).unwrap();
        mounts::make_shared(&root).unwrap();
        assert!(own_table().covering(&root).unwrap().propagation.is_shared());
        assert!(needs_mount_unit(&own_table(), &root));
        mounts::mount_tmpfs(&root, &SMALL).unwrap();
        assert_eq!(need(&own_table(), &root), Need::Nothing, "it inherited being shared");
        mounts::make_private(&root).unwrap();
        assert_eq!(need(&own_table(), &root), Need::Sharing, "a file system of its own is not hidden");
        mounts::make_shared(Path::new("/mnt")).unwrap();
        assert_eq!(need(&own_table(), &root.join("x")), Need::Nothing);
    });
}

#[test]
fn ns_a_temporary_mount_goes_with_a_panic_and_also_when_it_is_in_use() {
    alone("ns_mounts::ns_a_temporary_mount_goes_with_a_panic_and_also_when_it_is_in_use", || {
        let root = arena(Arena::Shared);
        let place = root.clone();
        let panicked = std::thread::spawn(move || {
            let _mount = TemporaryMount::tmpfs(&place, &SMALL).unwrap();
            assert_eq!(MountTable::of(Process::Own).unwrap().below(&place).len(), 2, "the panic that this is about");
        });
        assert!(panicked.join().is_err());
        assert!(own_table().below(&root).is_empty());

        let mount = TemporaryMount::tmpfs(&root, &SMALL).unwrap();
        let in_use = fs::File::create(root.join("file")).unwrap();
        mount.remove().unwrap();
        assert!(own_table().below(&root).is_empty());
        drop(in_use);
    });
}

#[test]
fn ns_a_tmpfs_is_small_and_for_root_alone() {
    alone("ns_mounts::ns_a_tmpfs_is_small_and_for_root_alone", || {
        let root = arena(Arena::Private);
        let _mount = TemporaryMount::tmpfs(&root, &SMALL).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o700);
        assert!(fs::write(root.join("large"), vec![0; 64 * 1024]).is_err());
        let table = own_table();
        let mount = table.covering(&root).unwrap();
        assert!(!mount.executable && mount.writable);
        assert_eq!(mount.source, "small");
    });
}

#[test]
fn ns_unmounting_what_is_not_mounted_names_the_path() {
    alone("ns_mounts::ns_unmounting_what_is_not_mounted_names_the_path", || {
        let root = arena(Arena::Private);
        let error = mounts::unmount(&root).unwrap_err();
        assert_eq!(error.to_string(), "unmounting /mnt/kubelet: Invalid argument (os error 22)");
    });
}
