//! The machine and its limits: what the kernel's files say is given to the checks over those files, since processors, memory
//! and limits cannot be taken from the machine that tests run on.

use std::fs;

use hostlet::{config::Role, preflight::Outcome};

use crate::ns_preflight_world::{ends, fails, name_of, on_a_fresh_host, passes, printed, sh, subject, through, with_field};

#[test]
fn ns_a_distribution_that_makes_etc_anew_is_refused_and_one_out_of_support_warned_of() {
    on_a_fresh_host(|| {
        // A link into /usr on most distributions: it is replaced, not followed.
        let release = |text: &str| {
            fs::write("/etc/os-release.new", text).unwrap();
            fs::rename("/etc/os-release.new", "/etc/os-release").unwrap();
        };
        release("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        passes(subject(), "os", "Debian GNU/Linux 12 (bookworm)");
        release("ID=fedora\nPRETTY_NAME=\"Fedora Linux 33\"\nSUPPORT_END=2021-11-30\n");
        ends(subject(), "os", &Outcome::Warning, "Fedora Linux 33, which has had no support since 2021-11-30");
        release("ID=nixos\nPRETTY_NAME=\"NixOS 25.11 (Xantusia)\"\n");
        fails(subject(), "os", "NixOS 25.11 (Xantusia), which makes /etc anew");
        sh("rm /etc/os-release && mount --bind /dev/null $(readlink -f /usr/lib/os-release)");
        passes(subject(), "os", "linux");
    });
}

#[test]
fn ns_processors_must_suffice_for_the_role_and_for_what_is_reserved() {
    on_a_fresh_host(|| {
        let online = |list: &str| fs::write("/mnt/online", list).unwrap();
        online("0\n");
        sh("mount --bind /mnt/online /sys/devices/system/cpu/online");
        passes(subject(), "cpu", "1");
        let mut control_plane = subject();
        control_plane.settings.node.role = Role::ControlPlane;
        assert_eq!(fails(control_plane.clone(), "cpu", "1").required, "2 for this node's role");
        let reserving = with_field("kubeReserved", serde_json::json!({ "cpu": "1500m" }));
        fails(reserving.clone(), "cpu", "1, and 1500m are reserved");
        online("0-1,4\n");
        passes(control_plane, "cpu", "3");
        passes(reserving, "cpu", "3");
    });
}

#[test]
fn ns_memory_must_suffice_for_the_role_and_for_what_is_reserved() {
    on_a_fresh_host(|| {
        let total = |mebibytes: u64| {
            let real = fs::read_to_string("/proc/meminfo").unwrap_or_default();
            let rest = real.split_once('\n').map_or("", |(_, rest)| rest);
            fs::write("/mnt/meminfo", format!("MemTotal:       {} kB\n{rest}", mebibytes * 1024)).unwrap();
        };
        total(4096);
        sh("mount --bind /mnt/meminfo /proc/meminfo");
        passes(subject(), "memory", "4096 MiB");
        total(992);
        ends(subject(), "memory", &Outcome::Warning, "992 MiB");
        total(960);
        assert_eq!(fails(subject(), "memory", "960 MiB").required, "1024 MiB for this node's role");
        let mut control_plane = subject();
        control_plane.settings.node.role = Role::ControlPlane;
        total(1600);
        fails(control_plane, "memory", "1600 MiB");
        let reserving = with_field("systemReserved", serde_json::json!({ "memory": "1500Mi" }));
        fails(reserving, "memory", "1600 MiB, and 1600 MiB are reserved");
    });
}

#[test]
fn ns_a_product_uuid_that_many_boards_have_is_warned_of() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs tmpfs /sys/class && mkdir -p /sys/class/dmi/id");
        passes(subject(), "product-uuid", "the firmware has none");
        for (uuid, said) in [
            ("03000200-0400-0500-0006-000700080009\n", "which is what boards come with"),
            ("00000000-0000-0000-0000-000000000000\n", "which is what boards come with"),
            ("Not Settable\n", "\"Not Settable\" is no UUID"),
        ] {
            fs::write("/sys/class/dmi/id/product_uuid", uuid).unwrap();
            ends(subject(), "product-uuid", &Outcome::Warning, said);
        }
        fs::write("/sys/class/dmi/id/product_uuid", "4C4C4544-0051-3510-8052-B4C04F4D3732\n").unwrap();
        passes(subject(), "product-uuid", "4C4C4544-0051-3510-8052-B4C04F4D3732");
    });
}

/// The kernel's answer to adjtimex is the machine's own business: strace gives another one.
#[test]
fn ns_a_clock_that_nobody_keeps_in_time_is_warned_of() {
    let answering = |answer: u8| {
        [
            "--follow-forks".to_owned(),
            "--output=/dev/null".to_owned(),
            format!("--inject=adjtimex,clock_adjtime:retval={answer}"),
        ]
    };
    let unsynchronised = || _ = ends(subject(), "time-sync", &Outcome::Warning, "nothing does");
    let arguments = answering(5);
    through("strace", &arguments.each_ref().map(String::as_str), name_of(&unsynchronised), unsynchronised);
}

#[test]
fn ns_a_clock_that_is_kept_in_time_passes() {
    let arguments = ["--follow-forks", "--output=/dev/null", "--inject=adjtimex,clock_adjtime:retval=0"];
    let synchronised = || passes(subject(), "time-sync", "it is, to within 0 ms");
    through("strace", &arguments, name_of(&synchronised), synchronised);
}

#[test]
fn ns_limits_of_the_kernel_that_are_too_low_are_named_with_the_lines_that_raise_them() {
    on_a_fresh_host(|| {
        let over = |name: &str, value: &str| {
            fs::write("/mnt/limit", value).unwrap();
            sh(&format!("mount --bind /mnt/limit /proc/sys/fs/{name}"));
        };
        sh("for limit in inotify/max_user_instances inotify/max_user_watches nr_open file-max; do
            echo 2000000 > /mnt/$(basename $limit) && mount --bind /mnt/$(basename $limit) /proc/sys/fs/$limit; done");
        passes(subject(), "limits", "fs.inotify.max_user_instances = 2000000");
        over("inotify/max_user_watches", "8192\n");
        let found = ends(subject(), "limits", &Outcome::Warning, "fs.inotify.max_user_watches = 8192");
        assert!(found.remedy.unwrap().contains("'fs.inotify.max_user_watches = 65536' >/etc/sysctl.d/"));
        ends(with_field("maxOpenFiles", 3_000_000), "limits", &Outcome::Warning, "fs.nr_open = 2000000");
    });
}

#[test]
fn ns_programs_that_the_kubelet_runs_must_be_there() {
    on_a_fresh_host(|| {
        passes(subject(), "executables", "all are there");
        let hide = |name: &str| {
            for place in printed(&format!("which -a {name}")).lines() {
                sh(&format!("mount --bind /dev/null $(readlink -f {place})"));
            }
        };
        hide("losetup");
        ends(subject(), "executables", &Outcome::Warning, "not on the PATH of services: losetup");
        hide("umount");
        fails(subject(), "executables", "not on the PATH of services: umount");
    });
}

/// An ext4 made without `filetype` tells no more than an XFS of before 2015, which today's kernels do not mount any more.
#[test]
fn ns_images_on_a_file_system_that_does_not_tell_the_kinds_of_entries_are_refused() {
    on_a_fresh_host(|| {
        sh("mkdir -p /mnt/host/images/io.containerd.content");
        passes(subject(), "xfs-ftype", "/mnt/host/images is on /mnt (tmpfs), which tells them");
        sh(
            "truncate -s 8m /mnt/old.img && mkfs.ext4 -q -O ^filetype /mnt/old.img && mount -o loop /mnt/old.img /mnt/host/images",
        );
        fails(subject(), "xfs-ftype", "/mnt/host/images is on /mnt/host/images (ext4), which does not tell them");
    });
}

#[test]
fn ns_the_runtimes_images_have_an_eviction_line_of_their_own() {
    on_a_fresh_host(|| {
        sh(
            "mount -t tmpfs -o size=2g tmpfs /mnt/host && mkdir /mnt/host/images && mount -t tmpfs -o size=100m,nr_inodes=2000 i /mnt/host/images",
        );
        passes(subject(), "disk", "/mnt/host/images: 100 MiB free of 100 MiB");
        sh("fallocate -l 88m /mnt/host/images/full");
        fails(
            subject(),
            "disk",
            "/mnt/host/images: 12 MiB free of 100 MiB, needed 15 MiB (below 15 MiB the kubelet evicts pods)",
        );
        passes(subject(), "inodes", "/mnt/host/images: 1998 free of 2000");
        let lines = serde_json::json!({ "imagefs.inodesFree": "99%" });
        fails(
            with_field("evictionHard", lines),
            "inodes",
            "/mnt/host/images: 1998 free of 2000 (below 1980 the kubelet evicts pods)",
        );
    });
}

#[test]
fn ns_a_root_directory_without_execution_and_a_read_only_cni_directory_are_both_named() {
    on_a_fresh_host(|| {
        sh("mkdir -p /mnt/host/kubelet /mnt/host/cni/net.d && mount -t tmpfs -o noexec vault /mnt/host/kubelet");
        fails(subject(), "exec-mount", "/mnt/host/kubelet is on /mnt/host/kubelet (vault), mounted noexec");
        // Where files are written and nothing is executed, noexec does no harm.
        sh("umount /mnt/host/kubelet && mount -t tmpfs -o noexec,nosuid net /mnt/host/cni/net.d");
        passes(subject(), "exec-mount", "writable, and programs there can be executed");
        sh("mount -o remount,ro /mnt/host/cni/net.d");
        let found = fails(subject(), "exec-mount", "/mnt/host/cni/net.d is on /mnt/host/cni/net.d (net), mounted ro");
        assert_eq!(found.remedy.unwrap(), "mount -o remount,rw /mnt/host/cni/net.d, and the same in /etc/fstab");
    });
}

#[test]
fn ns_a_kernel_that_cannot_keep_secrets_out_of_swap_is_told_of_where_swap_is_allowed() {
    on_a_fresh_host(|| {
        fs::write("/mnt/swaps", "Filename\tType\tSize\tUsed\tPriority\n/swapfile file 2097148 0 -2\n").unwrap();
        sh("mount --bind /mnt/swaps /proc/swaps");
        let old = || {
            _ = ends(with_field("failSwapOn", false), "swap", &Outcome::Warning, "secrets of pods may be written to the disk");
        };
        through("setarch", &["--uname-2.6"], name_of(&old), old);
    });
}
