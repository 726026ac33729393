//! Programs that the kubelet runs on the host. Source: k8s.io/mount-utils, which calls mount(8) and the like by name, and
//! kubeadm's preflight (InPathCheck).

use crate::{
    host::look,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "executables",
    tests: "the kubelet finds mount and umount; for volumes of block devices also blkid, losetup, fsck and mkfs.ext4 (a warning)",
    weight: ERROR,
    remedy: "apt-get install mount util-linux e2fsprogs (or dnf install util-linux e2fsprogs)",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(programs),
}];

fn programs(_: &Subject) -> Looked {
    let missing =
        |names: &[&'static str]| -> Vec<_> { names.iter().copied().filter(|name| look::program(name).is_none()).collect() };
    let needed = missing(&["mount", "umount"]);
    let wished = missing(&["blkid", "losetup", "fsck", "mkfs.ext4"]);
    let said = |names: &[&str]| format!("not on the PATH of services: {}", names.join(", "));
    Ok(match (needed.as_slice(), wished.as_slice()) {
        ([], []) => Judgement::pass("all are there"),
        ([], wished) => Judgement::warning(said(wished)),
        (needed, _) => Judgement::failure(said(needed)),
    })
}
