//! Other installations of Kubernetes on this host: only one may own the node.

use std::path::{Path, PathBuf};

use crate::{
    host::{
        files::{self, if_present},
        look,
        processes::Process,
    },
    model::layout,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "existing",
    tests: "no other kubelet, flanneld or Kubernetes distribution runs on this host or is installed as a unit or container",
    weight: ERROR,
    remedy: "stop and remove it",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(existing),
}];

/// Whether hostlet has installed something here, and this is thus a second run: also where the link to the generation in
/// force is what somebody removed.
pub(super) fn is_installed(subject: &Subject) -> bool {
    let names = files::names(&subject.places.home);
    names.is_ok_and(|names| names.iter().any(|name| matches!(name.as_str(), "current" | "generations")))
}

/// Whether the process is hostlet's own kubelet or flanneld: its unit, executing a file of the store. One that is ending executes
/// nothing any more: a flanneld that waits for its Node ends again and again.
pub(super) fn is_ours(subject: &Subject, process: &Process, name: &str) -> bool {
    let unit_is_ours = process.unit().and_then(|unit| unit.strip_suffix(".service")) == Some(name);
    let store = subject.places.home.join("store");
    unit_is_ours && process.executable.as_ref().is_none_or(|executable| executable.starts_with(store))
}

/// Programs that are or contain a kubelet or a flanneld, as the kernel names their processes.
const PROGRAMS: [&str; 10] =
    ["kubelet", "flanneld", "hyperkube", "k3s", "k3s-server", "k3s-agent", "rke2", "k0s", "kubelite", "microk8s"];

/// Units of other installations, and how each is removed.
const UNITS: [(&str, &str); 10] = [
    ("kubelet.service", "apt-get remove kubelet kubeadm (or dnf remove), and rm -r /etc/systemd/system/kubelet.service*"),
    ("flanneld.service", "remove the package or the unit that brings flanneld"),
    ("k3s.service", "k3s-uninstall.sh"),
    ("k3s-agent.service", "k3s-agent-uninstall.sh"),
    ("rke2-server.service", "rke2-uninstall.sh"),
    ("rke2-agent.service", "rke2-uninstall.sh"),
    ("k0scontroller.service", "k0s stop; k0s reset"),
    ("k0sworker.service", "k0s stop; k0s reset"),
    ("snap.microk8s.daemon-kubelite.service", "snap remove microk8s"),
    ("snap.kubelet.daemon.service", "snap remove kubelet"),
];

fn existing(subject: &Subject) -> Looked {
    let (mut found, mut remedies, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
    let mut adoptable = false;
    let processes = Process::all()?;
    for (container, name) in docker_containers()? {
        // One that runs is found as a process.
        if !processes.iter().any(|process| process.control_group.contains(&container)) {
            found.push(format!("the container {name} ({}) of Docker's, stopped, is a kubelet's", short(&container)));
            remedies.push(format!("docker rm --force {name}"));
        }
    }
    for process in processes {
        if PROGRAMS.contains(&process.name.as_str()) && !is_ours(subject, &process, &process.name) {
            let can_be_adopted = can_be_adopted(&process);
            if can_be_adopted && subject.adopt {
                adopted.push(process.to_string());
                continue;
            }
            adoptable |= can_be_adopted;
            let container = if process.is_in_container() { ", in a container" } else { "" };
            found.push(format!("{process} runs{container}"));
            remedies.push(stopping(&process));
        }
    }
    for (path, remedy) in units(subject)? {
        let is_kubelets = path.to_string_lossy().contains("kubelet.service");
        if is_kubelets && subject.adopt {
            adopted.push(path.display().to_string());
            continue;
        }
        adoptable |= is_kubelets;
        found.push(format!("{} is not hostlet's", path.display()));
        remedies.push(remedy.to_owned());
    }
    if adoptable {
        remedies.insert(
            0,
            "`hostlet install --adopt` takes the kubelet over with its node identity; or, to get rid of it:".to_owned(),
        );
    }
    remedies.dedup();
    Ok(if found.is_empty() && !adopted.is_empty() {
        Judgement::pass(format!("taken over: {}", adopted.join(", ")))
    } else if found.is_empty() {
        Judgement::pass("none")
    } else {
        Judgement::failure(found.join("\n")).remedy(remedies.join("\n"))
    })
}

/// Whether `install --adopt` can stop it, and bring it back: a kubelet that a service of its own runs, whatever that does
/// with namespaces. One in a container of an engine's, or in a pod, is theirs.
pub(super) fn can_be_adopted(process: &Process) -> bool {
    let service = process.unit().is_some_and(|unit| unit.ends_with(".service"));
    process.name == "kubelet" && service && !process.is_in_container()
}

/// As Docker shows the id of a container.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The containers that Docker keeps for a kubelet, by id and name, running or not: Docker starts them again. RKE names its
/// own `kubelet`.
fn docker_containers() -> Result<Vec<(String, String)>, Unclear> {
    let directory = Path::new("/var/lib/docker/containers");
    let mut found = Vec::new();
    for id in files::names(directory)? {
        let Some(text) = if_present(files::read_text(&directory.join(&id).join("config.v2.json")))? else { continue };
        let Ok(container) = serde_json::from_str::<Container>(&text) else { continue };
        let program = container.path.rsplit('/').next().unwrap_or_default();
        let name = container.name.trim_start_matches('/');
        if name == "kubelet" || PROGRAMS.contains(&program) {
            found.push((id, name.to_owned()));
        }
    }
    Ok(found)
}

/// A container, as Docker writes it down.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Container {
    name: String,
    path: String,
}

fn stopping(process: &Process) -> String {
    if process.is_in_pod() {
        return format!("kubectl delete the DaemonSet that runs {}", process.name);
    }
    if process.is_in_container() {
        let id = process.control_group.rsplit(['/', '-']).next().unwrap_or_default().trim_end_matches(".scope");
        return format!("docker rm --force {} (or what manages this container)", short(id));
    }
    match process.unit() {
        Some(unit) if unit.ends_with(".service") => format!("systemctl disable --now {unit}"),
        _ => format!("kill {}", process.pid),
    }
}

/// Units and drop-ins that are not ours, in the directories that systemd reads. A drop-in of another package would apply to
/// our unit of the same name.
fn units(subject: &Subject) -> Result<Vec<(PathBuf, &'static str)>, Unclear> {
    let mut found = Vec::new();
    let home = subject.places.home.to_string_lossy();
    for directory in [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ] {
        let directory = Path::new(directory);
        // /lib is a link to /usr/lib on merged systems: do not say everything twice.
        if directory.starts_with("/lib") && directory.canonicalize().is_ok_and(|real| real != directory) {
            continue;
        }
        for (unit, remedy) in UNITS {
            let path = directory.join(unit);
            // One of ours comes first in systemd's order.
            let shadowed = directory != Path::new(layout::UNITS) && is_ours_in_etc(unit, &home)?;
            if let Some(text) = if_present(files::read_text(&path))?
                && !text.contains(&*home)
                && !shadowed
                && !is_ours_and_masked(subject, &path)?
            {
                found.push((path, remedy));
            }
            if unit == "kubelet.service" {
                let drop_ins = directory.join(format!("{unit}.d"));
                for name in files::names(&drop_ins)?.iter().filter(|name| name.ends_with("kubeadm.conf")) {
                    if !is_masked(name)? {
                        found.push((drop_ins.join(name), remedy));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// A unit of ours that somebody masked is a hand edit: the installation mends it.
fn is_ours_and_masked(subject: &Subject, path: &Path) -> Result<bool, Unclear> {
    let masked = look::link_target(path)?.is_some_and(|target| target == Path::new("/dev/null"));
    Ok(masked && is_installed(subject))
}

fn is_ours_in_etc(unit: &str, home: &str) -> Result<bool, Unclear> {
    Ok(if_present(files::read_text(&Path::new(layout::UNITS).join(unit)))?.is_some_and(|text| text.contains(home)))
}

/// A link to /dev/null in /etc keeps systemd from reading drop-ins of that name anywhere.
fn is_masked(drop_in: &str) -> Result<bool, Unclear> {
    let path = Path::new(layout::UNITS).join("kubelet.service.d").join(drop_in);
    Ok(look::link_target(&path)?.is_some_and(|target| target == Path::new("/dev/null")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::runner::tests::subject;

    fn process(executable: &str, group: &str) -> Process {
        Process { pid: 812, name: "kubelet".to_owned(), executable: Some(executable.into()), control_group: group.to_owned() }
    }

    #[test]
    fn our_own_kubelet_is_known_by_its_unit_and_its_file_in_the_store() {
        let ours = |executable, group| is_ours(&subject(), &process(executable, group), "kubelet");
        let unit = "/system.slice/kubelet.service";
        assert!(ours("/opt/hostlet/store/ab-kubelet-1.36.4/bin/kubelet", unit));
        // Replaced in the store while it runs.
        assert!(ours("/opt/hostlet/store/ab-kubelet-1.36.4/bin/kubelet (deleted)", unit));
        assert!(!ours("/usr/bin/kubelet", unit));
        let ending = |group| is_ours(&subject(), &Process { executable: None, ..process("", group) }, "kubelet");
        assert!(ending(unit) && !ending("/system.slice/other.service"));
        assert!(!ours("/opt/hostlet/store/ab-kubelet-1.36.4/bin/kubelet", "/system.slice/other.service"));
    }

    #[test]
    fn a_kubelet_in_a_container_is_stopped_by_what_runs_the_container() {
        let docker = process("/kubelet", "/system.slice/docker-0123456789abcdef0123.scope");
        assert_eq!(stopping(&docker), "docker rm --force 0123456789ab (or what manages this container)");
        assert_eq!(stopping(&process("/kubelet", "/system.slice/kubelet.service")), "systemctl disable --now kubelet.service");
        assert_eq!(stopping(&process("/kubelet", "/")), "kill 812");
    }
}
