//! The cluster: that its API server can be reached and trusted, what it makes of the kubelet's version, and that the
//! node's name is free; these three share one look. And that flannel is known there.

mod flannel;
mod look;
mod remedy;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use look::{answers, certificate_path, credential, has_certificate};
use remedy::remedy;

use crate::{
    config::Cluster,
    host::{
        api_server::{Answers, Clocks, Credential, Node, NodeAnswer, NotDiscovered, SystemInfo, VersionAnswer},
        files,
    },
    model::Validity,
    plan::{self, Skew},
    preflight::{
        Subject,
        check::{Again, Check, ERROR, Judgement, Look, Looked, Looking, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "apiserver",
        tests: "the API server's name resolves, it takes connections, has a certificate of the cluster's authority, and answers",
        weight: ERROR,
        remedy: "set cluster.server to the API server's URL, and open the way to it",
        deadline: DEADLINE,
        may_become_true: true,
        look: Look::Async(reachable),
    },
    Check {
        id: "version-skew",
        tests: "the kubelet is not newer than the API server, and at most three minor versions older",
        weight: ERROR,
        remedy: "set kubelet.version to one that the API server's version allows",
        deadline: DEADLINE,
        may_become_true: true,
        look: Look::Async(version),
    },
    Check {
        id: "node-name-free",
        tests: "no Ready Node of this node's name is another machine",
        weight: ERROR,
        remedy: "set node.name to a name that no other node has; or drain the other node and `kubectl delete node` it",
        deadline: DEADLINE,
        may_become_true: true,
        look: Look::Async(name_is_free),
    },
    Check {
        id: "clock-skew",
        tests: "this host's clock and the API server's agree, to within a minute",
        weight: WARNING,
        remedy: "set this host's clock: timedatectl set-ntp true, and see that NTP reaches its servers",
        deadline: DEADLINE,
        // A warning is not waited for.
        may_become_true: false,
        look: Look::Async(clocks_agree),
    },
    Check {
        id: "flannel-rbac",
        tests: "the API server knows flannel's identity, which may get, list and watch Nodes and patch their status",
        weight: ERROR,
        remedy: "hostlet config flannel-rbac | kubectl apply -f -",
        deadline: DEADLINE,
        may_become_true: true,
        look: Look::Async(flannel::may_do_its_work),
    },
];

const DEADLINE: Duration = Duration::from_millis(1_700);
const NO_CLUSTER: &str = "no cluster is configured";

fn reachable(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let Some(cluster) = &subject.settings.cluster else { return Ok(Judgement::pass(NO_CLUSTER)) };
        Ok(match &*answers(&subject, cluster, until).await? {
            Ok(Answers { address, version: VersionAnswer::Known(version), .. }) => {
                Judgement::pass(format!("{address} has version {version}"))
            }
            Ok(Answers { address, version: VersionAnswer::Withheld(status), .. }) => {
                Judgement::pass(format!("{address} answers {status}: it tells its version only to those it knows"))
            }
            Err(why) => {
                let judgement = Judgement::failure(format!("{}\n{why}", cluster.server));
                let judgement = judgement.again(again(why, Again::IfItBlocks));
                match remedy(why, cluster) {
                    Some(remedy) => judgement.remedy(remedy),
                    None => judgement,
                }
            }
        })
    })
}

fn version(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let Some(cluster) = &subject.settings.cluster else { return Ok(Judgement::pass(NO_CLUSTER)) };
        let kubelet = &subject.settings.kubelet.version;
        let not_known =
            |why: String| Judgement::warning(format!("kubelet {kubelet}; the API server's version is not known: {why}"));
        Ok(match &*answers(&subject, cluster, until).await? {
            Ok(Answers { version: VersionAnswer::Known(server), .. }) => match plan::skew(kubelet, server) {
                Ok(()) => Judgement::pass(format!("kubelet {kubelet}, API server {server}")),
                Err(skew) => {
                    Judgement::failure(format!("kubelet {kubelet}, API server {server}\n{skew}")).remedy(advice(&skew))
                }
            },
            Ok(Answers { version: VersionAnswer::Withheld(status), .. }) => not_known(format!("it answered {status}")).remedy(
                "compare with `kubectl version`; anonymous requests for /version are allowed by system:public-info-viewer",
            ),
            // Said once is enough.
            Err(why) => not_known("see apiserver".to_owned()).remedy("see apiserver").again(again(why, Again::Yes)),
        })
    })
}

fn clocks_agree(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let Some(cluster) = &subject.settings.cluster else { return Ok(Judgement::pass(NO_CLUSTER)) };
        Ok(match &*answers(&subject, cluster, until).await? {
            Ok(Answers { clocks: Some(clocks), .. }) if clocks.differ() => Judgement::failure(format!(
                "they are {:#} apart, so that one of the two finds certificates not valid yet, or not any more\n{clocks}",
                clocks.apart().round(jiff::Unit::Second).unwrap_or(clocks.apart())
            )),
            Ok(Answers { clocks: Some(clocks), .. }) => Judgement::pass(format!("{} s apart", clocks.apart().as_secs())),
            Ok(Answers { clocks: None, .. }) => Judgement::pass("the API server does not tell its time"),
            Err(_) => Judgement::warning("not known: see apiserver").remedy("see apiserver"),
        })
    })
}

fn advice(skew: &Skew) -> &'static str {
    match skew {
        Skew::KubeletNewer { .. } => {
            "upgrade the control plane first, or set kubelet.version to the API server's minor version"
        }
        Skew::KubeletTooOld { .. } => "set kubelet.version to one of the API server's minor version",
    }
}

fn name_is_free(subject: Arc<Subject>, until: Instant) -> Looking {
    Box::pin(async move {
        let Some(cluster) = &subject.settings.cluster else { return Ok(Judgement::pass(NO_CLUSTER)) };
        let name = &subject.identity.name;
        if let Some(old) = name_in_certificate(&subject, cluster).filter(|old| old != name.as_str()) {
            let certificate = certificate_path(&subject);
            return Ok(Judgement::failure(format!("{} is for the Node {old}, and this node is called {name}", certificate.display()))
                .required(format!("a client certificate for system:node:{name}, or none"))
                .remedy(format!(
                    "set node.name = \"{old}\"; or, to rename it: kubectl delete node {old}, remove {}, and give it a bootstrap token",
                    certificate.display()
                )));
        }
        let answers = answers(&subject, cluster, until).await?;
        let (answer, clocks) = match &*answers {
            Ok(answers) => (&answers.node, answers.clocks),
            Err(why) => {
                let judgement = Judgement::warning("not known: see apiserver").remedy("see apiserver");
                return Ok(judgement.again(again(why, Again::Yes)));
            }
        };
        match answer {
            NodeAnswer::Absent => Ok(Judgement::pass(format!("there is no Node {name}"))),
            NodeAnswer::Present(node) => judge_node(&subject, node),
            NodeAnswer::Forbidden => Ok(Judgement::warning(
                "not known: what the node bootstraps with may not read Nodes, as tokens that `kubeadm token create` makes may",
            )
            .remedy(format!("kubectl get node {name}; kubeadm's ClusterRole kubeadm:get-nodes lets tokens look themselves"))),
            NodeAnswer::Unauthorized => Ok(unknown_to_the_cluster(&subject, cluster, clocks)),
            NodeAnswer::NotAsked => Ok(match credential(&subject, cluster) {
                Err(why) if has_certificate(&subject) => {
                    Judgement::warning(format!("not known: {why}")).remedy(format!("kubectl get node {name}"))
                }
                Err(why) => {
                    Judgement::failure(format!("the kubelet cannot bootstrap: {why}")).required("a credential").remedy(RENEW)
                }
                Ok(_) => Judgement::pass("there is no credential to ask with"),
            }),
            NodeAnswer::Unclear(why) => Err(Unclear(why.clone())),
        }
    })
}

/// The Node's name that the kubelet's client certificate is for.
fn name_in_certificate(subject: &Subject, cluster: &Cluster) -> Option<String> {
    let credential = credential(subject, cluster).ok().flatten().filter(|_| has_certificate(subject));
    let Some(Credential::Certificate(certificate)) = credential else { return None };
    certificate.common_name()?.strip_prefix("system:node:").map(str::to_owned)
}

const RENEW: &str = "give another one, or bootstrap with a token: on a control-plane node: kubeadm token create; write what it prints \
                     into a file, and name that as cluster.token-file";

/// 401: a bootstrap token that the API server does not take lets no kubelet join. A certificate may be the old one of a
/// kubelet that gets another.
fn unknown_to_the_cluster(subject: &Subject, cluster: &Cluster, clocks: Option<Clocks>) -> Judgement {
    let bootstrap = cluster.credentials().next().filter(|_| !has_certificate(subject));
    if let (Some(token), Some(_)) = (cluster.token_file(), bootstrap) {
        return Judgement::failure(format!(
            "the API server does not take the bootstrap token in {}: it is wrong or has expired",
            token.display()
        ))
        .required("a bootstrap token that the cluster knows")
        .remedy(format!("on a control-plane node: kubeadm token create; write what it prints into {}", token.display()));
    }
    let credential = credential(subject, cluster).ok().flatten();
    let Some(path) = bootstrap else {
        let certificate = certificate_path(subject);
        return Judgement::warning(format!(
            "not known: the API server does not take the client certificate in {}: it has expired, or is another cluster's{}",
            certificate.display(),
            times(credential.as_ref(), clocks)
        ))
        .remedy(format!("openssl x509 -noout -enddate -in {}", certificate.display()));
    };
    Judgement::failure(format!(
        "the API server does not take the client certificate or token in {}: it is another cluster's, or has expired{}",
        path.display(),
        times(credential.as_ref(), clocks)
    ))
    .required("a credential that the cluster knows")
    .remedy(RENEW)
}

/// When a certificate is valid, and what time it is.
fn times(credential: Option<&Credential>, clocks: Option<Clocks>) -> String {
    let Some(Credential::Certificate(certificate)) = credential else { return String::new() };
    let validity = certificate
        .validity()
        .map(|Validity { not_before, not_after }| format!("\nit is valid from {not_before} to {not_after}"));
    let clocks = clocks.map(|clocks| format!("; {clocks}"));
    validity.map_or_else(String::new, |validity| validity + &clocks.unwrap_or_default())
}

fn judge_node(subject: &Subject, node: &Node) -> Looked {
    let name = &subject.identity.name;
    let this = this_machine()?;
    if is_same(&node.system, &this) {
        return Ok(Judgement::pass(format!("the Node {name} is this machine")));
    }
    if !node.is_ready {
        return Ok(Judgement::pass(format!("the Node {name} is not Ready: this machine takes its place")));
    }
    let at = if node.addresses.is_empty() { String::new() } else { format!(" at {}", node.addresses.join(", ")) };
    let judgement = Judgement::failure(format!(
        "the Node {name} is Ready, and another machine{at}: machine id {}, this one's {}",
        node.system.machine_id, this.machine_id
    ));
    Ok(if has_certificate(subject) {
        judgement.remedy(format!(
            "this disk is a copy of that node's: remove its identity ({}), then hostnamectl set-hostname NAME and \
             systemd-machine-id-setup",
            certificate_path(subject).display()
        ))
    } else {
        judgement
    })
}

/// The same boot is the same machine. Copies of one disk have the same machine id, and firmware tells them apart where it
/// can.
fn is_same(one: &SystemInfo, other: &SystemInfo) -> bool {
    let equal = |one: &str, other: &str| !one.is_empty() && one.eq_ignore_ascii_case(other);
    let firmware = one.system_uuid.is_empty() || other.system_uuid.is_empty() || equal(&one.system_uuid, &other.system_uuid);
    equal(&one.boot_id, &other.boot_id) || (equal(&one.machine_id, &other.machine_id) && firmware)
}

/// As the kubelet reports it (kubernetes: cadvisor's machine info).
fn this_machine() -> Result<SystemInfo, files::FileError> {
    let text = |path: &str| Ok(files::if_present(files::read_text(Path::new(path)))?.unwrap_or_default().trim().to_owned());
    Ok(SystemInfo {
        machine_id: text("/etc/machine-id")?,
        // Root's alone, and absent without firmware tables.
        system_uuid: text("/sys/class/dmi/id/product_uuid").unwrap_or_default(),
        boot_id: text("/proc/sys/kernel/random/boot_id")?,
    })
}

/// Whether to look again while there is time: not at what stays as it is.
fn again(why: &NotDiscovered, while_it_may_change: Again) -> Again {
    if why.is_transient() { while_it_may_change } else { Again::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart_by_boot_machine_id_and_firmware() {
        let machine = |machine: &str, system: &str, boot: &str| SystemInfo {
            machine_id: machine.to_owned(),
            system_uuid: system.to_owned(),
            boot_id: boot.to_owned(),
        };
        let this = machine("m", "FIRMWARE", "boot");
        assert!(is_same(&machine("changed", "", "boot"), &this), "the same boot");
        assert!(is_same(&machine("m", "firmware", "before"), &this), "rebooted");
        assert!(is_same(&machine("m", "", "before"), &this), "no firmware to ask");
        assert!(!is_same(&machine("m", "other", "b"), &this), "a copy of the disk");
        assert!(!is_same(&machine("", "", ""), &machine("", "", "")), "nothing is known");
    }
}
