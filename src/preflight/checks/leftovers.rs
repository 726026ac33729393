//! What another installation left, and the kubelet or the runtime would act on.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::existing::is_installed;
use crate::{
    host::{
        files::{self, if_present},
        look,
    },
    model::layout,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "leftovers",
    tests: "no other installation's static pods, node identity, pods, CNI configuration or state of the kubelet is left",
    weight: ERROR,
    remedy: "move the files away, for example: mkdir /root/old && mv FILE /root/old/",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(leftovers),
}];

/// What is found, and what helps.
struct Leftover {
    found: String,
    remedy: String,
}

fn leftovers(subject: &Subject) -> Looked {
    let mut all = configurations(subject)?;
    all.extend(states(subject)?);
    // After the first installation these are the cluster's own, and an adoption takes them over.
    if !is_installed(subject) && !subject.adopt {
        all.extend(manifests()?);
        all.extend(identity(subject));
        all.extend(pods(subject)?);
    }
    if all.is_empty() {
        return Ok(Judgement::pass("none"));
    }
    let (found, remedies): (Vec<_>, Vec<_>) = all.into_iter().map(|leftover| (leftover.found, leftover.remedy)).unzip();
    Ok(Judgement::failure(found.join("\n")).remedy(remedies.join("\n")))
}

fn moving(path: &Path) -> String {
    format!("mkdir -p /root/old && mv {} /root/old/", path.display())
}

fn manifests() -> Result<Vec<Leftover>, Unclear> {
    let directory = Path::new("/etc/kubernetes/manifests");
    let names = files::names(directory)?.into_iter().filter(|name| !name.starts_with('.'));
    Ok(names
        .map(|name| directory.join(name))
        .map(|path| Leftover { found: format!("{} would be started as a static pod", path.display()), remedy: moving(&path) })
        .collect())
}

/// A CNI configuration that sorts before or beside ours: the runtime takes the first.
fn configurations(subject: &Subject) -> Result<Vec<Leftover>, Unclear> {
    if subject.settings.flannel.is_none() {
        return Ok(Vec::new());
    }
    let directory = &subject.places.cni_configuration;
    let foreign =
        |name: &String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end)) && name != "10-flannel.conflist";
    Ok(files::names(directory)?
        .into_iter()
        .filter(foreign)
        .map(|name| directory.join(name))
        .map(|path| Leftover { found: format!("{} is another CNI configuration", path.display()), remedy: moving(&path) })
        .collect())
}

/// With both the kubelet would go on as the node it was, in the cluster it was in, whatever the bootstrap token says.
fn identity(subject: &Subject) -> Option<Leftover> {
    let kubeconfig = Path::new(layout::KUBELET_KUBECONFIG);
    let certificate = subject.settings.kubelet.root_directory.join("pki/kubelet-client-current.pem");
    (look::exists(kubeconfig) && look::exists(&certificate)).then(|| Leftover {
        found: format!("{} and {} are the identity of an earlier kubelet", kubeconfig.display(), certificate.display()),
        remedy: format!(
            "`hostlet install --adopt` keeps it; or, to join anew: rm {} {}",
            kubeconfig.display(),
            certificate.display()
        ),
    })
}

fn pods(subject: &Subject) -> Result<Option<Leftover>, Unclear> {
    let directory = subject.settings.kubelet.root_directory.join("pods");
    let count = files::names(&directory)?.len();
    Ok((count > 0).then(|| Leftover {
        found: format!("{} holds {count} pods of an earlier kubelet", directory.display()),
        remedy: format!(
            "stop them, unmount what is mounted below (findmnt -R {0}), and rm -r --one-file-system {0}/*",
            directory.display()
        ),
    }))
}

/// The managers of processors and memory write their policy down, and the kubelet exits when it finds another one. Source:
/// kubernetes, pkg/kubelet/cm/cpumanager/state/state_checkpoint.go, and the same of memorymanager.
const STATES: [(&str, &str, &str); 2] =
    [("cpu_manager_state", "cpuManagerPolicy", "none"), ("memory_manager_state", "memoryManagerPolicy", "None")];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    policy_name: String,
}

fn states(subject: &Subject) -> Result<Vec<Leftover>, Unclear> {
    let mut found = Vec::new();
    for (name, field, default) in STATES {
        let path: PathBuf = subject.settings.kubelet.root_directory.join(name);
        let Some(text) = if_present(files::read_text(&path))? else { continue };
        let Ok(State { policy_name }) = serde_json::from_str(&text) else { continue };
        let wanted = subject.kubelet_field(field).and_then(Value::as_str).unwrap_or(default);
        if policy_name != wanted {
            found.push(Leftover {
                found: format!(
                    "{} is of the policy {policy_name}, and {field} is {wanted}: the kubelet would exit",
                    path.display()
                ),
                remedy: format!("drain the node, and rm {}", path.display()),
            });
        }
    }
    Ok(found)
}
