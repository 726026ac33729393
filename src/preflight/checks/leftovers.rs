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
    /// The node would not work with it.
    blocks: bool,
}

fn leftovers(subject: &Subject) -> Looked {
    let mut all = configurations(subject)?;
    all.extend(states(subject)?);
    // After the first installation these are the cluster's own, and an adoption takes them over.
    if !is_installed(subject) && !subject.adopt {
        all.extend(manifests(subject)?);
        all.extend(identity(subject));
        all.extend(pods(subject)?);
    }
    if all.is_empty() {
        return Ok(Judgement::pass("none"));
    }
    let blocks = all.iter().any(|leftover| leftover.blocks);
    let (found, remedies): (Vec<_>, Vec<_>) = all.into_iter().map(|leftover| (leftover.found, leftover.remedy)).unzip();
    let judgement = if blocks { Judgement::failure } else { Judgement::warning };
    Ok(judgement(found.join("\n")).remedy(remedies.join("\n")))
}

fn moving(path: &Path) -> String {
    format!("mkdir -p /root/old && mv {} /root/old/", path.display())
}

fn manifests(subject: &Subject) -> Result<Vec<Leftover>, Unclear> {
    let configured = subject.kubelet_field("staticPodPath").and_then(Value::as_str);
    let directory = Path::new(configured.unwrap_or("/etc/kubernetes/manifests"));
    if directory.is_file() || configured == Some("") {
        return Ok(Vec::new());
    }
    let names = files::names(directory)?.into_iter().filter(|name| !name.starts_with('.'));
    Ok(names
        .map(|name| directory.join(name))
        .map(|path| Leftover {
            found: format!("{} would be started as a static pod", path.display()),
            remedy: moving(&path),
            blocks: true,
        })
        .collect())
}

/// Our configuration's name: of those in the directory the runtime takes the first that is valid.
const OWN: &str = "10-flannel.conflist";

/// Other CNI configurations. Source: containernetworking/cni, libcni.ConfFiles (.conf, .conflist and .json, by name), and
/// containerd's go-cni, which takes the first that it can load (max_conf_num is 1).
fn configurations(subject: &Subject) -> Result<Vec<Leftover>, Unclear> {
    if subject.settings.flannel.is_none() {
        return Ok(Vec::new());
    }
    let directory = &subject.places.cni_configuration;
    let foreign = |name: &String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end)) && name != OWN;
    let mut names: Vec<String> = files::names(directory)?.into_iter().filter(foreign).collect();
    names.sort();
    names.into_iter().map(|name| configuration(directory, &name)).collect()
}

fn configuration(directory: &Path, name: &str) -> Result<Leftover, Unclear> {
    let path = directory.join(name);
    let network = if_present(files::read_text(&path))?.and_then(|text| network_of(&text));
    let file = path.display();
    let remedy = format!("{}, and uninstall the network that wrote it, which would write it again", moving(&path));
    Ok(match network {
        Some(network) if name < OWN => Leftover {
            found: format!(
                "{file}, the CNI network {network}, sorts before {OWN}: pods would get that network, and not flannel's"
            ),
            remedy,
            blocks: true,
        },
        Some(network) => Leftover {
            found: format!("{file}, the CNI network {network}, is not used as long as {OWN} is there"),
            remedy,
            blocks: false,
        },
        None => Leftover {
            found: format!("{file} is no valid CNI configuration; the runtime passes it over as long as that is so"),
            remedy: moving(&path),
            blocks: false,
        },
    })
}

/// The name of the network that a file configures: a list of plugins, or one plugin.
fn network_of(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    let plugins = value["plugins"].as_array().is_some_and(|plugins| !plugins.is_empty()) || value["type"].is_string();
    plugins.then(|| value["name"].as_str().map(str::to_owned)).flatten().filter(|name| !name.is_empty())
}

/// With both the kubelet would go on as the node it was, in the cluster it was in, whatever the bootstrap token says.
fn identity(subject: &Subject) -> Option<Leftover> {
    let kubeconfig = Path::new(layout::KUBELET_KUBECONFIG);
    let certificate = subject.settings.kubelet.root_directory.join("pki/kubelet-client-current.pem");
    (look::exists(kubeconfig) && look::exists(&certificate)).then(|| Leftover {
        blocks: true,
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
        blocks: true,
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
                blocks: true,
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
