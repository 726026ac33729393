//! SELinux and AppArmor, as their files in the kernel show them; the labels are real.

use std::fs;

use hostlet::preflight::Outcome;
use rustix::fs::{XattrFlags, setxattr};

use crate::ns_preflight_world::{ends, on_a_fresh_host, passes, printed, sh, subject};

fn label(path: &str, kind: &str) {
    let label = format!("system_u:object_r:{kind}:s0\0");
    setxattr(path, "security.selinux", label.as_bytes(), XattrFlags::empty()).unwrap();
}

#[test]
fn ns_directories_that_nobody_labelled_are_named_where_selinux_is_enforcing() {
    on_a_fresh_host(|| {
        sh("mkdir -p /mnt/host/home /mnt/host/kubelet && mount -t tmpfs tmpfs /sys/fs && mkdir /sys/fs/selinux");
        passes(subject(), "lsm", "neither SELinux nor AppArmor is on");
        fs::write("/sys/fs/selinux/enforce", "0").unwrap();
        passes(subject(), "lsm", "SELinux is permissive");
        fs::write("/sys/fs/selinux/enforce", "1").unwrap();
        label("/mnt/host/home", "usr_t");
        let found = ends(subject(), "lsm", &Outcome::Warning, "SELinux is enforcing, and /mnt/host/kubelet has no label");
        assert!(found.observed.lines().count() == 1 && found.remedy.unwrap() == "restorecon -R /mnt/host/kubelet");
        label("/mnt/host/kubelet", "default_t");
        ends(subject(), "lsm", &Outcome::Warning, "/mnt/host/kubelet has the type default_t");
        label("/mnt/host/kubelet", "container_var_lib_t");
        passes(subject(), "lsm", "SELinux is enforcing");
    });
}

#[test]
fn ns_apparmor_needs_its_parser() {
    on_a_fresh_host(|| {
        sh("mount -t tmpfs tmpfs /sys/module && mkdir -p /sys/module/apparmor/parameters");
        fs::write("/sys/module/apparmor/parameters/enabled", "Y\n").unwrap();
        for place in printed("which -a apparmor_parser").lines() {
            sh(&format!("mount --bind /dev/null $(readlink -f {place})"));
        }
        let found = ends(subject(), "lsm", &Outcome::Warning, "the runtime finds no apparmor_parser");
        assert!(found.remedy.unwrap().starts_with("apt-get install apparmor"));
        sh("cp /bin/true /usr/local/sbin/apparmor_parser");
        passes(subject(), "lsm", "AppArmor is on");
    });
}
