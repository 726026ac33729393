//! Every other check, made to fail for real where a namespace can make it, and to pass.

use std::{fs, path::Path, time::Duration};

use hostlet::{config::Waiver, model::Version, preflight::Outcome};

use crate::ns_preflight_world::{
    ends, fails, name_of, on_a_fresh_host, passes, preflight, printed, runtime_apart, sh, start, subject, through, with_field,
};

#[test]
fn ns_root_with_all_capabilities_passes() {
    passes(subject(), "privileges", "root, with all capabilities needed");
}

#[test]
fn ns_root_without_a_capability_is_refused_by_its_name() {
    on_a_fresh_host(|| {
        let without = || _ = fails(subject(), "privileges", "root, but without CAP_NET_RAW");
        through("setpriv", &["--bounding-set=-net_raw"], name_of(&without), without);
    });
}

#[test]
fn ns_another_user_than_root_is_refused() {
    let nobody = || _ = fails(subject(), "privileges", "the effective user id is 65534");
    through("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups"], name_of(&nobody), nobody);
}

/// That it passes needs a systemd: see the tests under a booted one.
#[test]
fn ns_another_init_and_a_systemd_that_does_not_answer_are_told_apart() {
    on_a_fresh_host(|| {
        fails(subject(), "init", "and the host was not booted with systemd");
        sh("mkdir -p /run/systemd/system");
        fails(subject(), "init", "systemd runs and does not answer: reaching systemd: the system bus: ");
    });
}

#[test]
fn ns_the_processor_must_be_that_of_the_artifacts() {
    passes(subject(), "arch", "64");
    let mut other = subject();
    other.identity.architecture = match other.identity.architecture {
        hostlet::model::Architecture::Amd64 => hostlet::model::Architecture::Arm64,
        hostlet::model::Architecture::Arm64 => hostlet::model::Architecture::Amd64,
    };
    fails(other, "arch", "and the artifacts are for");
}

#[test]
fn ns_this_kernel_passes() {
    passes(subject(), "kernel", printed("uname -r").trim());
}

#[test]
fn ns_an_old_kernel_is_refused() {
    // setarch makes uname say 2.6: the one way to be on an old kernel without one.
    let old = || _ = fails(subject(), "kernel", "2.6.");
    through("setarch", &["--uname-2.6"], name_of(&old), old);
}

#[test]
fn ns_a_machine_id_must_be_there_and_be_one() {
    on_a_fresh_host(|| {
        for (id, said) in [("", "is empty"), ("uninitialized\n", "uninitialized"), ("xyz\n", "\"xyz\"")] {
            fs::write("/etc/machine-id", id).unwrap();
            fails(subject(), "machine-id", said);
        }
        fs::write("/etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n").unwrap();
        passes(subject(), "machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4");
        fs::remove_file("/etc/machine-id").unwrap();
        fails(subject(), "machine-id", "there is no /etc/machine-id");
    });
}

/// What the kernel would print, over /proc/swaps: really swapping would change the machine.
#[test]
fn ns_swap_blocks_unless_the_kubelet_may_run_with_it() {
    on_a_fresh_host(|| {
        let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        fs::write("/mnt/swaps", header).unwrap();
        sh("mount --bind /mnt/swaps /proc/swaps");
        passes(subject(), "swap", "none");
        fs::write("/mnt/swaps", format!("{header}/swapfile file\t\t2097148\t0\t-2\n")).unwrap();
        fails(subject(), "swap", "/swapfile (file)");
        ends(with_field("failSwapOn", false), "swap", &Outcome::Warning, "/swapfile (file)");
        fs::write("/mnt/swaps", format!("{header}/dev/zram0 partition\t\t2097148\t0\t100\n")).unwrap();
        assert!(fails(subject(), "swap", "/dev/zram0").remedy.unwrap().contains("zram"));
    });
}

#[test]
fn ns_control_groups_of_version_1_block_from_kubelet_1_35_on() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs tmpfs /sys/fs/cgroup");
        fails(subject(), "cgroup-version", "version 1, with kubelet 1.36.4");
        ends(with_field("failCgroupV1", false), "cgroup-version", &Outcome::Warning, "version 1");
        let mut older = subject();
        older.settings.kubelet.version = Version::new(1, 34, 9);
        ends(older, "cgroup-version", &Outcome::Warning, "version 1, with kubelet 1.34.9");
        sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup");
        passes(subject(), "cgroup-version", "version 2");
    });
}

#[test]
fn ns_a_missing_controller_is_named() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs tmpfs /sys/fs/cgroup");
        let line = |name: &str| format!("{name}\t2\t1\t1\n");
        let all = ["cpu", "cpuset", "memory", "pids", "blkio"];
        fs::write("/mnt/cgroups", all.map(line).concat()).unwrap();
        sh("mount --bind /mnt/cgroups /proc/cgroups");
        passes(subject(), "cgroup-controllers", "cpu, cpuset, memory, pids, io");
        fs::write("/mnt/cgroups", all[..2].iter().map(|name| line(name)).collect::<String>()).unwrap();
        fails(subject(), "cgroup-controllers", "missing: memory, pids");
        fs::write("/mnt/cgroups", all[..4].iter().map(|name| line(name)).collect::<String>()).unwrap();
        ends(subject(), "cgroup-controllers", &Outcome::Warning, "missing: io");
    });
}

#[test]
fn ns_room_is_measured_where_things_will_lie() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs -o size=2g tmpfs /mnt/host");
        passes(subject(), "disk", "/mnt/host/home, /mnt/host/cache, /mnt/host/kubelet, /mnt/host/images: 2048 MiB free of");
        sh("mkdir /mnt/host/home && mount -t tmpfs -o size=50m tmpfs /mnt/host/home");
        fails(subject(), "disk", "/mnt/host/home: 50 MiB free of 50 MiB, needed 400 MiB");
        sh("mount -o remount,size=430m /mnt/host/home");
        ends(subject(), "disk", &Outcome::Warning, "/mnt/host/home: 430 MiB free of 430 MiB, barely more than the 400 MiB");
        sh("mount -o remount,ro /mnt/host/home");
        let found = fails(subject(), "disk", "/mnt/host/home: the file system is mounted read-only");
        assert!(found.remedy.unwrap().contains("remount,rw"));
    });
}

#[test]
fn ns_the_kubelets_eviction_line_counts_as_needed() {
    on_a_fresh_host(|| {
        sh("mkdir /mnt/host/kubelet && mount -t tmpfs -o size=1g tmpfs /mnt/host/kubelet");
        sh(
            "mount -t tmpfs -o size=2g tmpfs /mnt/host && mkdir /mnt/host/kubelet && mount -t tmpfs -o size=1000m tmpfs /mnt/host/kubelet",
        );
        passes(subject(), "disk", "/mnt/host/kubelet: 1000 MiB free of 1000 MiB");
        sh("fallocate -l 850m /mnt/host/kubelet/full");
        fails(subject(), "disk", "150 MiB free of 1000 MiB, needed 200 MiB (below 100 MiB the kubelet evicts pods)");
        let line = serde_json::json!({ "nodefs.available": "20Mi" });
        passes(with_field("evictionHard", line), "disk", "/mnt/host/kubelet: 150 MiB free");
    });
}

#[test]
fn ns_a_file_system_without_free_inodes_is_refused() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs -o size=2g,nr_inodes=100 tmpfs /mnt/host");
        passes(subject(), "inodes", "free of 100");
        sh("cd /mnt/host; i=0; while [ $i -lt 97 ]; do : > file$i; i=$((i+1)); done");
        fails(subject(), "inodes", "2 free of 100");
    });
}

#[test]
fn ns_mounts_that_forbid_execution_are_named_with_the_remedy() {
    on_a_fresh_host(|| {
        passes(subject(), "exec-mount", "can be executed");
        sh("mkdir -p /mnt/host/home && mount -t tmpfs -o noexec,nosuid vault /mnt/host/home");
        let found = fails(subject(), "exec-mount", "/mnt/host/home is on /mnt/host/home (vault), mounted noexec,nosuid");
        assert_eq!(found.remedy.unwrap(), "mount -o remount,exec,suid /mnt/host/home, and the same in /etc/fstab");
    });
}

#[test]
fn ns_a_root_directory_that_is_not_shared_is_left_to_install() {
    on_a_fresh_host(|| {
        passes(subject(), "mount-propagation", "is on /mnt, which is not shared: will be set by install; no runtime runs yet");
        sh("mount --make-rshared /mnt");
        passes(subject(), "mount-propagation", "is on /mnt, which is shared (peer group ");
        sh("mount --make-unbindable /mnt");
        fails(subject(), "mount-propagation", "is on /mnt, which is unbindable");
    });
}

#[test]
fn ns_a_mount_namespace_of_hostlets_own_is_refused() {
    on_a_fresh_host(|| {
        let apart = || _ = fails(subject(), "mount-propagation", "hostlet runs in a mount namespace of its own");
        through("unshare", &["--mount"], name_of(&apart), apart);
    });
}

#[test]
fn ns_a_runtime_in_a_mount_namespace_of_its_own_needs_a_link_to_the_hosts() {
    on_a_fresh_host(|| {
        let socket = Path::new("/mnt/host/cri.sock");
        sh("mount --make-rshared /mnt");
        for (propagation, outcome, said) in [
            ("private", Outcome::Failure, "has its own copy of the host's mounts, without a link"),
            ("slave", Outcome::Warning, "receives the host's mounts and does not send its own"),
            ("shared", Outcome::Pass, "linked by peer group"),
        ] {
            let runtime = runtime_apart(socket, propagation);
            ends(subject(), "mount-propagation", &outcome, said);
            drop(runtime);
            fs::remove_file(socket).unwrap();
        }
    });
}

#[test]
fn ns_forwarding_is_left_to_install_where_it_can_be_set() {
    on_a_fresh_host(|| {
        passes(subject(), "ip-forward", "it does");
        sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
        passes(subject(), "ip-forward", "net.ipv4.ip_forward = 0: will be set by install");
        sh("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
        fails(subject(), "ip-forward", "net.ipv4.ip_forward = 0, and /proc/sys is read-only");
        assert_eq!(printed("cat /proc/sys/net/ipv4/ip_forward").trim(), "0");
    });
}

#[test]
fn ns_bridged_packets_must_be_able_to_pass_iptables() {
    on_a_fresh_host(|| {
        sh("test -e /proc/sys/net/bridge/bridge-nf-call-iptables || modprobe br_netfilter");
        sh("for f in iptables ip6tables; do echo 0 > /proc/sys/net/bridge/bridge-nf-call-$f; done");
        passes(subject(), "bridge-nf", "net.bridge.bridge-nf-call-iptables = 0: will be set by install");
        let mut dual = subject();
        dual.settings.flannel.as_mut().unwrap().ipv6_network = Some("fd00:10:244::/56".parse().unwrap());
        passes(dual, "bridge-nf", "bridge-nf-call-iptables = 0, net.bridge.bridge-nf-call-ip6tables = 0: will be set");
        sh("for f in iptables ip6tables; do echo 1 > /proc/sys/net/bridge/bridge-nf-call-$f; done");
        passes(subject(), "bridge-nf", "they do");
        sh("echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables");
        sh("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
        fails(subject(), "bridge-nf", "and /proc/sys is read-only");
        let mut with_nftables = subject();
        with_nftables.settings.flannel.as_mut().unwrap().nftables = true;
        passes(with_nftables, "bridge-nf", "not needed with nftables");
    });
}

/// A kernel without the module: nothing that shows what it brings, nothing in /sys/module, and a list of modules that does
/// not name it.
#[test]
fn ns_a_kernel_without_a_needed_module_is_refused() {
    on_a_fresh_host(|| {
        passes(subject(), "modules", "overlay");
        sh("mkdir -p /mnt/modules/$(uname -r) && mount -t tmpfs tmpfs /sys/module
            if test -d /lib/modules; then mount --bind /mnt/modules /lib/modules; fi
            printf '' | gzip > /mnt/config.gz && mount --bind /mnt/config.gz /proc/config.gz
            echo ext4 > /mnt/filesystems && mount --bind /mnt/filesystems /proc/filesystems
            mount -t tmpfs tmpfs /proc/sys/net/netfilter");
        fails(subject(), "modules", "the kernel has no overlay, nf_conntrack, vxlan");
    });
}

#[test]
fn ns_a_kernel_that_the_kubelet_can_neither_set_nor_watch_is_refused() {
    on_a_fresh_host(|| {
        passes(subject(), "kernel-defaults", "the kubelet sets them itself");
        fs::write("/mnt/panic", "0\n").unwrap();
        passes(with_field("protectKernelDefaults", true), "kernel-defaults", "");
        sh("mount --bind /mnt/panic /proc/sys/kernel/panic");
        sh("mount -o bind,remount,ro /proc/sys/kernel/panic");
        let found = fails(with_field("protectKernelDefaults", true), "kernel-defaults", "kernel.panic = 0");
        assert!(found.required.contains("kernel.panic = 10"));
        // A kubelet that does not insist sets it, and ends where it cannot.
        let found = fails(subject(), "kernel-defaults", "the kubelet sets them, and /proc/sys is read-only");
        assert!(found.remedy.unwrap().contains("on the host itself"));
        let rootless = serde_json::json!({ "KubeletInUserNamespace": true });
        passes(with_field("featureGates", rootless), "kernel-defaults", "goes without");
        sh("umount /proc/sys/kernel/panic; mount -t tmpfs tmpfs /dev && mknod -m 0666 /dev/null c 1 3");
        fails(subject(), "kernel-defaults", "there is no /dev/kmsg");
    });
}

#[test]
fn ns_a_node_address_must_be_the_hosts_own() {
    on_a_fresh_host(|| {
        passes(subject(), "node-ip", "10.0.1.7");
        let mut other = subject();
        other.identity.addresses = vec!["10.9.9.9".parse().unwrap()];
        fails(other, "node-ip", "10.9.9.9 is not an address of this host, which has 10.0.1.7");
    });
}

#[test]
fn ns_a_missing_default_route_is_refused() {
    on_a_fresh_host(|| {
        passes(subject(), "route", "there is");
        sh("ip route delete default");
        fails(subject(), "route", "there is no default route for IPv4");
    });
}

#[test]
fn ns_networks_that_overlap_are_named() {
    on_a_fresh_host(|| {
        passes(subject(), "cidr", "flannel.network 10.244.0.0/16");
        sh("ip link add flannel.1 type dummy 2>/dev/null || ip link add flannel.1 type bridge
            ip link set flannel.1 up && ip route add 10.244.7.0/24 dev flannel.1");
        passes(subject(), "cidr", "flannel.network 10.244.0.0/16");
        // udp and wireguard route the whole network to their device: a node that has it can be upgraded, and change its backend.
        sh("ip link add flannel0 type bridge && ip link set flannel0 up && ip route add 10.244.0.0/16 dev flannel0");
        passes(subject(), "cidr", "flannel.network 10.244.0.0/16");
        sh("ip link delete flannel0; ip link add cni0 type bridge; ip link set cni0 up; ip route add 10.244.0.0/16 dev cni0");
        fails(subject(), "cidr", "flannel.network 10.244.0.0/16 overlaps the route to 10.244.0.0/16 by cni0");
        sh("ip link delete cni0; ip route add 10.244.3.0/24 via 10.0.1.1");
        fails(subject(), "cidr", "flannel.network 10.244.0.0/16 overlaps the route to 10.244.3.0/24 by bridge0");
        let mut around = subject();
        around.settings.flannel.as_mut().unwrap().network = "10.0.0.0/16".parse().unwrap();
        fails(around, "cidr", "contains the node's own address 10.0.1.7");
    });
}

#[test]
fn ns_another_kubelet_is_named_with_what_removes_it() {
    on_a_fresh_host(|| {
        passes(subject(), "existing", "none");
        fs::create_dir_all("/mnt/bin").unwrap();
        fs::copy("/bin/sleep", "/mnt/bin/kubelet").unwrap();
        let other = start("/mnt/bin/kubelet", &["30"]);
        let found = fails(subject(), "existing", &format!("kubelet (pid {}", other.0.id()));
        assert!(found.remedy.unwrap().contains(&format!("kill {}", other.0.id())));
    });
}

#[test]
fn ns_units_and_drop_ins_of_other_installations_are_named() {
    on_a_fresh_host(|| {
        sh("mkdir -p /etc/systemd/system/kubelet.service.d
            echo ExecStart=/mnt/host/home/current/bin/kubelet > /etc/systemd/system/kubelet.service");
        passes(subject(), "existing", "none");
        sh("echo ExecStart=/usr/bin/k3s > /etc/systemd/system/k3s.service");
        assert!(fails(subject(), "existing", "/etc/systemd/system/k3s.service").remedy.unwrap().contains("k3s-uninstall.sh"));
        sh("rm /etc/systemd/system/k3s.service && touch /etc/systemd/system/kubelet.service.d/10-kubeadm.conf");
        fails(subject(), "existing", "kubelet.service.d/10-kubeadm.conf is not hostlet's");
    });
}

#[test]
fn ns_static_pods_and_cni_configuration_of_others_are_named() {
    on_a_fresh_host(|| {
        passes(subject(), "leftovers", "none");
        sh("mkdir -p /etc/kubernetes/manifests && touch /etc/kubernetes/manifests/etcd.yaml");
        fails(subject(), "leftovers", "/etc/kubernetes/manifests/etcd.yaml would be started as a static pod");
        sh(
            "rm /etc/kubernetes/manifests/etcd.yaml && mkdir -p /mnt/host/cni/net.d && touch /mnt/host/cni/net.d/05-cilium.conflist",
        );
        let directory = Path::new("/mnt/host/cni/net.d");
        let warns = |said: &str| ends(subject(), "leftovers", &Outcome::Warning, said);
        warns("/mnt/host/cni/net.d/05-cilium.conflist is no valid CNI configuration; the runtime passes it over");
        let list = r#"{ "cniVersion": "0.3.1", "name": "cilium", "plugins": [{ "type": "cilium-cni" }] }"#;
        fs::write(directory.join("05-cilium.conflist"), list).unwrap();
        let found =
            fails(subject(), "leftovers", "05-cilium.conflist, the CNI network cilium, sorts before 10-flannel.conflist");
        assert!(found.remedy.unwrap().contains("mv /mnt/host/cni/net.d/05-cilium.conflist"));
        // A file with one plugin, as it was before there were lists, counts as well.
        fs::rename(directory.join("05-cilium.conflist"), directory.join("disabled")).unwrap();
        fs::write(directory.join("00-old.conf"), r#"{ "name": "old", "type": "bridge" }"#).unwrap();
        fails(subject(), "leftovers", "00-old.conf, the CNI network old, sorts before");
        // Packages bring such files, podman's for instance: they do no harm behind ours.
        fs::rename(directory.join("00-old.conf"), directory.join("87-podman-bridge.conflist")).unwrap();
        warns("87-podman-bridge.conflist, the CNI network old, is not used as long as 10-flannel.conflist is there");
    });
}

#[test]
fn ns_whatever_hangs_the_whole_preflight_is_over_in_two_seconds() {
    on_a_fresh_host(|| {
        // Reading a named pipe that nobody writes to never ends; nor does a runtime that takes connections and is silent.
        sh("rm /etc/machine-id && mkfifo /etc/machine-id /mnt/swaps && mount --bind /mnt/swaps /proc/swaps");
        let _silent = runtime_apart(Path::new("/mnt/host/cri.sock"), "unchanged");
        let report = preflight(subject());
        for id in ["machine-id", "swap"] {
            let found = report.findings.iter().find(|finding| finding.id == id).unwrap();
            assert!(found.outcome == Outcome::Unknown && found.blocks(), "{found:#?}");
            assert_eq!(found.observed, "no answer within 1500 ms");
        }
        assert!(report.duration < Duration::from_secs(2));
        assert!(report.gate().is_err());
    });
}

#[test]
fn ns_a_waiver_lets_a_failed_check_through_and_is_recorded() {
    on_a_fresh_host(|| {
        sh("ip route delete default");
        let mut waiving = subject();
        waiving.settings.preflight.waive =
            vec![Waiver { check: "route".to_owned(), reason: "an island on purpose".to_owned() }];
        let reason = "an island on purpose".to_owned();
        let found = ends(waiving, "route", &Outcome::Waived { reason }, "there is no default route");
        assert!(!found.blocks());
    });
}

#[test]
fn ns_the_whole_preflight_changes_nothing() {
    on_a_fresh_host(|| {
        let state = || {
            let script =
                "cat /proc/self/mountinfo; cat /proc/modules; ip link; ip -d link show type vxlan; ip address; ip route show table all; ip neigh
                 sysctl -a 2>/dev/null | grep -vE 'random|dentry|inode|file-nr|nr_|ns_last_pid|uuid|cpufreq|printk|perf|slab'
                 find /mnt /etc /run -printf '%p %i %m %s %T@ %C@\\n' | sort";
            printed(script)
        };
        let before = state();
        preflight(subject());
        let after = state();
        let only_in = |one: &str, other: &str| {
            one.lines().filter(|line| !other.lines().any(|other| other == *line)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(before == after, "gone: {:#?}\nnew: {:#?}", only_in(&before, &after), only_in(&after, &before));
        assert!(before.lines().count() > 500);
    });
}
