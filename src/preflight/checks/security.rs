//! Mandatory access control: SELinux and AppArmor.
//!
//! Gap: which types the policy in force lets kubelet and runtime use is not asked; only types that no policy gives them are
//! named. No machine that tests run on has SELinux in force: the tests give the kernel's files and real labels.

use std::path::Path;

use crate::{
    host::{
        labels::{self, SeLinux},
        look,
    },
    preflight::{
        Subject,
        check::{Check, Judgement, Look, Looked, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "lsm",
    tests: "where SELinux is enforcing, the node's directories have labels of the system's; where AppArmor is on, its parser is there",
    weight: WARNING,
    remedy: "restorecon -R DIRECTORY",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(access_control),
}];

/// Types of files that lie where nobody labelled them, or were moved from somebody's home: nothing confined may use them.
const WRONG: [&str; 8] =
    ["unlabeled_t", "default_t", "file_t", "tmp_t", "user_tmp_t", "user_home_t", "admin_home_t", "home_root_t"];

fn access_control(subject: &Subject) -> Looked {
    let (mut found, mut remedies, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    match labels::selinux()? {
        SeLinux::Absent => {}
        SeLinux::Permissive => seen.push("SELinux is permissive".to_owned()),
        SeLinux::Enforcing => {
            seen.push("SELinux is enforcing".to_owned());
            for (directory, label) in wrongly_labelled(subject)? {
                found.push(format!("SELinux is enforcing, and {directory} has {label}"));
                remedies.push(format!("restorecon -R {directory}"));
            }
        }
    }
    if labels::apparmor()? {
        if look::program("apparmor_parser")?.is_some() {
            seen.push("AppArmor is on".to_owned());
        } else {
            found.push("AppArmor is on, and the runtime finds no apparmor_parser to load pods' profiles with".to_owned());
            remedies.push("apt-get install apparmor, and restart the container runtime".to_owned());
        }
    }
    Ok(if found.is_empty() {
        Judgement::pass(if seen.is_empty() { "neither SELinux nor AppArmor is on".to_owned() } else { seen.join("; ") })
    } else {
        Judgement::failure(found.join("\n")).remedy(remedies.join("\n"))
    })
}

/// Directories that are there and labelled so that nothing confined may use them. Those to come get the label that the policy
/// has for them, or that of the one above.
fn wrongly_labelled(subject: &Subject) -> Result<Vec<(String, String)>, Unclear> {
    let places = &subject.places;
    let directories: [&Path; 5] = [
        &subject.settings.kubelet.root_directory,
        &places.home,
        &places.cache,
        &places.cni_executables,
        &places.cni_configuration,
    ];
    let mut found = Vec::new();
    for directory in directories.into_iter().filter(|directory| look::exists(directory)) {
        match labels::selinux_type(directory)? {
            None => found.push((directory.display().to_string(), "no label".to_owned())),
            Some(label) if WRONG.contains(&label.as_str()) => {
                found.push((directory.display().to_string(), format!("the type {label}")));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}
