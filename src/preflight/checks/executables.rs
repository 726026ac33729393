//! Programs that the kubelet runs on the host. Source: k8s.io/mount-utils, which calls mount(8) and the like by name, and
//! kubeadm's preflight (InPathCheck).

use crate::{
    host::look,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
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
    let (needed, wished) = (missing(&["mount", "umount"])?, missing(&["blkid", "losetup", "fsck", "mkfs.ext4"])?);
    let said = |names: &[&str]| format!("not on the PATH of services: {}", names.join(", "));
    Ok(match (needed.as_slice(), wished.as_slice()) {
        ([], []) => Judgement::pass("all are there"),
        ([], wished) => Judgement::warning(said(wished)),
        (needed, _) => Judgement::failure(said(needed)),
    })
}

fn missing(names: &[&'static str]) -> Result<Vec<&'static str>, Unclear> {
    let mut missing = Vec::new();
    for name in names {
        if look::program(name)?.is_none() {
            missing.push(*name);
        }
    }
    Ok(missing)
}
