//! Names: whether the node's own is known, and which nameservers pods get.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    host::{
        kernel::Kernel,
        resolver::{self, Resolved, Unresolved},
    },
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, Looking, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "hostname",
        tests: "the node's name is one that no other machine has by default, and it can be resolved (a warning where not)",
        weight: ERROR,
        remedy: "hostnamectl set-hostname NAME, or set node.name",
        deadline: USUAL,
        // The name was found out before; and that it cannot be resolved is a warning.
        may_become_true: false,
        look: Look::Async(host_name),
    },
    Check {
        id: "resolv-conf",
        tests: "the resolv.conf that pods get is there, and names a nameserver that is not on this host's loopback",
        weight: ERROR,
        remedy: "set kubelet.config.resolvConf to a file with the real nameservers (/run/systemd/resolve/resolv.conf)",
        deadline: USUAL,
        may_become_true: true,
        look: Look::Blocking(pods_resolv_conf),
    },
];

/// A nameserver that answers does so in a few milliseconds; to know that one does not, no more time is spent.
const DNS: Duration = Duration::from_millis(500);

fn host_name(subject: Arc<Subject>, _: Instant) -> Looking {
    Box::pin(async move {
        let name = subject.identity.name.as_str();
        // That the name is well-formed is what its type says; what is left are the names that images come with.
        if name == "localhost" || name.starts_with("localhost.") {
            return Ok(Judgement::failure(format!("the node's name would be {name}, as that of every unnamed machine")));
        }
        let host = Kernel::running()?.host_name;
        let shown = if host == name { name.to_owned() } else { format!("{name} (the host is called {host})") };
        let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok(match resolver::resolve(name, &host, DNS).await {
            Ok(Resolved::Hosts(addresses)) => Judgement::pass(format!("{shown}: {}, by /etc/hosts", list(&addresses))),
            Ok(Resolved::MyHostName) => Judgement::pass(format!("{shown}, by nss-myhostname")),
            Ok(Resolved::Dns(addresses)) => Judgement::pass(format!("{shown}: {}, by DNS", list(&addresses))),
            Err(Unresolved::Files(error)) => return Err(Unclear(error)),
            Err(error) => Judgement::warning(format!("{shown} cannot be resolved: {error}")).remedy(
                match subject.identity.addresses.first() {
                    Some(address) => format!("echo {address} {name} >>/etc/hosts, or let DNS know it"),
                    None => format!("add {name} to /etc/hosts, or let DNS know it"),
                },
            ),
        })
    })
}

/// The file that the kubelet will read: the configured one, or what hostlet sets, or the kubelet's default. `None` where pods
/// are to get nothing.
fn file(subject: &Subject) -> Result<Option<PathBuf>, Unclear> {
    Ok(match subject.kubelet_field("resolvConf").and_then(Value::as_str) {
        Some("") => None,
        Some(path) => Some(path.into()),
        None if resolver::is_stub()? => Some(resolver::BEHIND_THE_STUB.into()),
        None => Some("/etc/resolv.conf".into()),
    })
}

/// A pod cannot reach the host's loopback; CoreDNS, which asks what it finds there, would ask itself (its plugin `loop`).
fn pods_resolv_conf(subject: &Subject) -> Looked {
    let Some(path) = file(subject)? else { return Ok(Judgement::pass("pods get none: resolvConf is empty")) };
    let shown = path.display();
    let Some(servers) = resolver::nameservers_in(&path)? else {
        return Ok(Judgement::failure(format!("{shown} does not exist: the kubelet could start no pod"))
            .remedy(format!("make {shown}, or set kubelet.config.resolvConf to the file that names the nameservers")));
    };
    let (loopback, usable): (Vec<IpAddr>, Vec<IpAddr>) =
        servers.into_iter().partition(|server| server.to_canonical().is_loopback());
    let list = |servers: &[IpAddr]| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Ok(match (loopback.as_slice(), usable.as_slice()) {
        ([], []) => {
            Judgement::warning(format!("{shown} names no nameserver: CoreDNS and pods of the host's DNS policy get none"))
                .remedy(format!("echo nameserver ADDRESS >>{shown}"))
        }
        (loopback, []) => {
            Judgement::failure(format!("{shown} names only {}, which in a pod is the pod itself", list(loopback)))
                .remedy(remedy_of_a_loop())
        }
        ([], usable) if usable.len() > 3 => {
            Judgement::warning(format!("{shown} names {}: the kubelet passes on three", list(usable)))
                .remedy("leave three nameservers in it")
        }
        ([], usable) => Judgement::pass(format!("{} in {shown}", list(usable))),
        (loopback, usable) => Judgement::warning(format!(
            "{shown} names {}, and also {}, which in a pod is the pod itself",
            list(usable),
            list(loopback)
        ))
        .remedy(remedy_of_a_loop()),
    })
}

fn remedy_of_a_loop() -> String {
    let behind = Path::new(resolver::BEHIND_THE_STUB);
    if crate::host::look::exists(behind) {
        format!("set kubelet.config.resolvConf = {:?}", resolver::BEHIND_THE_STUB)
    } else {
        "write the addresses of the nameservers that this host's own one asks into a file, and set kubelet.config.resolvConf to it"
            .to_owned()
    }
}
