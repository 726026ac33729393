//! The ports of role and backend.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde_json::Value;

use crate::{
    config::{Backend, Role},
    host::{
        kernel, look,
        ports::{self, Holder, Holders, Probe, Scope},
        processes::Process,
    },
    model::{Port, Protocol, layout},
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear, WARNING},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "port-bind",
        tests: "every port of the node's role and of flannel's backend can be bound on the address its service will use",
        weight: ERROR,
        remedy: "stop what holds the port, or configure another port",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(bindable),
    },
    Check {
        id: "ephemeral-range",
        tests: "outgoing connections take neither the node's ports nor those of NodePort services (net.ipv4.ip_local_port_range, \
            ip_local_reserved_ports)",
        weight: WARNING,
        remedy: "sysctl -w net.ipv4.ip_local_reserved_ports=PORTS, and the same in /etc/sysctl.d",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(ephemeral),
    },
];

/// A port that a service of this node will listen on.
#[derive(Debug, Clone, PartialEq)]
struct Need {
    protocol: Protocol,
    port: Port,
    scope: Scope,
    service: Service,
}

/// Who will listen: that one may hold the port already.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Service {
    /// kubelet or flanneld, by their units' names.
    Own(&'static str),
    /// What a pod of this host runs, by the process's name; the kernel cuts names after 15 characters.
    Pod(&'static str),
    /// The kernel, for flannel's device of this name.
    Device(&'static str),
    /// hostlet, for other nodes.
    Responder,
    /// The user said so.
    Extra,
}

impl Service {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Own(name) | Self::Pod(name) => name,
            Self::Device(_) => "flannel",
            Self::Responder => "hostlet-responder.socket (mesh.port)",
            Self::Extra => "preflight.extra-ports",
        }
    }
}

const LOOPBACK: Scope = Scope::At(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Which ports. Source: facts on preflight, "Ports", and the services' own defaults for addresses.
fn needs(subject: &Subject) -> Vec<Need> {
    let tcp = |port, scope, service| Need { protocol: Protocol::Tcp, port, scope, service };
    let mut needs = Vec::new();
    let everywhere = address_of(subject, "address", Scope::Every);
    needs.extend(field(subject, "port", 10_250).map(|port| tcp(port, everywhere, Service::Own("kubelet"))));
    let health = address_of(subject, "healthzBindAddress", LOOPBACK);
    needs.extend(field(subject, "healthzPort", 10_248).map(|port| tcp(port, health, Service::Own("kubelet"))));
    needs.extend(field(subject, "readOnlyPort", 0).map(|port| tcp(port, everywhere, Service::Own("kubelet"))));
    needs.push(tcp(Port::known(10_256), Scope::Every, Service::Pod("kube-proxy")));
    needs.push(tcp(Port::known(10_249), LOOPBACK, Service::Pod("kube-proxy")));
    if subject.settings.node.role == Role::ControlPlane {
        needs.push(tcp(Port::known(6443), Scope::Every, Service::Pod("kube-apiserver")));
        needs.push(tcp(Port::known(2379), LOOPBACK, Service::Pod("etcd")));
        if let Some(address) = subject.identity.addresses.first() {
            let node = Scope::At(address.ip());
            needs.extend([2379, 2380].map(|port| tcp(Port::known(port), node, Service::Pod("etcd"))));
        }
        needs.push(tcp(Port::known(10_257), LOOPBACK, Service::Pod("kube-controller-manager")));
        needs.push(tcp(Port::known(10_259), LOOPBACK, Service::Pod("kube-scheduler")));
    }
    needs.extend(overlay(subject));
    if let Some(mesh) = &subject.settings.mesh {
        let at_each = |protocol| {
            let need = move |ip| Need { protocol, port: mesh.port, scope: Scope::At(ip), service: Service::Responder };
            subject.identity.addresses.iter().map(move |address| need(address.ip()))
        };
        needs.extend(at_each(Protocol::Tcp).chain(at_each(Protocol::Udp)));
    }
    needs.extend(subject.settings.preflight.extra_ports.iter().map(|(protocol, port)| Need {
        protocol: *protocol,
        port: *port,
        scope: Scope::Every,
        service: Service::Extra,
    }));
    needs
}

/// The ports that other nodes must reach: all but those that only this host's own programs speak to.
pub(super) fn reachable(subject: &Subject) -> Vec<(Protocol, Port)> {
    let outside = |need: &Need| !matches!(need.scope, Scope::At(ip) if ip.is_loopback());
    let mut ports = Vec::new();
    for need in needs(subject).iter().filter(|need| outside(need)) {
        if !ports.contains(&(need.protocol, need.port)) {
            ports.push((need.protocol, need.port));
        }
    }
    ports
}

/// flannel's backend: the kernel listens on every address, the udp backend on the node's own.
fn overlay(subject: &Subject) -> Vec<Need> {
    let Some(flannel) = &subject.settings.flannel else { return Vec::new() };
    let udp = |port, scope, service| Need { protocol: Protocol::Udp, port, scope, service };
    let ipv6 = flannel.ipv6_network.is_some();
    match flannel.backend {
        Backend::HostGw => Vec::new(),
        Backend::Vxlan { port, .. } => {
            let mut needs = vec![udp(port, Scope::EveryIpv4, Service::Device("flannel."))];
            needs.extend(ipv6.then(|| udp(port, Scope::EveryIpv6, Service::Device("flannel-v6."))));
            needs
        }
        Backend::Udp { port } => {
            let v4 = subject.identity.addresses.iter().find(|address| address.ip().is_ipv4());
            let scope = v4.map_or(Scope::EveryIpv4, |address| Scope::At(address.ip()));
            vec![udp(port, scope, Service::Own("flanneld"))]
        }
        Backend::Wireguard { port, ipv6_port } => {
            let mut needs = vec![udp(port, Scope::Every, Service::Device("flannel-wg"))];
            needs.extend(ipv6.then(|| udp(ipv6_port, Scope::Every, Service::Device("flannel-wg-v6"))));
            needs
        }
    }
}

/// A port of KubeletConfiguration; zero means that nothing listens.
fn field(subject: &Subject, name: &str, default: u16) -> Option<Port> {
    match subject.kubelet_field(name) {
        Some(value) => serde_json::from_value(value.clone()).ok(),
        None => serde_json::from_value(Value::from(default)).ok(),
    }
}

fn address_of(subject: &Subject, name: &str, default: Scope) -> Scope {
    match subject.kubelet_field(name).and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok()) {
        Some(ip) if ip.is_unspecified() => Scope::Every,
        Some(ip) => Scope::At(ip),
        None => default,
    }
}

fn bindable(subject: &Subject) -> Looked {
    let needs = needs(subject);
    let mut taken = Vec::new();
    let mut foreign = Vec::new();
    for need in &needs {
        let probe = ports::probe(need.protocol, need.scope, need.port);
        match probe.map_err(|error| Unclear(format!("binding {}/{}: {error}", need.port, need.protocol)))? {
            Probe::Free => {}
            Probe::InUse => taken.push(need),
            Probe::ForeignAddress => foreign.push(need),
        }
    }
    let mut lines: Vec<_> = foreign
        .iter()
        .map(|need| format!("{}/{}: {} is not an address of this host", need.port, need.protocol, need.scope))
        .collect();
    let (mut remedies, mut own) = (Vec::new(), Vec::new());
    if !taken.is_empty() {
        let asked: Vec<_> = taken.iter().map(|need| (need.protocol, need.port)).collect();
        let holders = Holders::of(&asked)?;
        for need in taken {
            let holder = holders.holder(need.protocol, need.scope, need.port);
            let line = format!("{}/{} is held by {holder}", need.port, need.protocol);
            if is_expected(subject, need.service, &holder) {
                own.push(line);
                continue;
            }
            lines.push(format!("{line}; {} needs it on {}", need.service.as_str(), need.scope));
            remedies.extend(remedy(&holder));
        }
    }
    remedies.dedup();
    if lines.is_empty() {
        let node_ports = node_ports()?;
        let free = format!("{} of {} are free", needs.len() - own.len(), needs.len());
        own.insert(0, free);
        if !node_ports.is_empty() {
            own.extend(node_ports);
            return Ok(Judgement::warning(own.join("\n"))
                .remedy("move it to a port outside of 30000-32767, or keep Services off that NodePort"));
        }
        return Ok(Judgement::pass(own.join("\n")));
    }
    let judgement = Judgement::failure(lines.join("\n"));
    Ok(if remedies.is_empty() { judgement } else { judgement.remedy(remedies.join("\n")) })
}

/// What listens where Services of type NodePort may be given a port: kube-proxy's rules take the traffic away from it.
fn node_ports() -> Result<Vec<String>, Unclear> {
    let listening = Holders::listening_in(&(NODE_PORTS.0..=NODE_PORTS.1))?;
    // Earlier ones of kube-proxy held the ports of the Services they served.
    let others = listening.into_iter().filter(|(_, _, process)| process.name != "kube-proxy");
    Ok(others
        .map(|(protocol, port, process)| {
            format!("{port}/{protocol} is held by {process}; a NodePort of that number would hide it")
        })
        .collect())
}

/// Whether the one who will listen already does: a second run passes.
fn is_expected(subject: &Subject, service: Service, holder: &Holder) -> bool {
    match (service, holder) {
        (Service::Own("kubelet"), Holder::Process(process)) if subject.adopt && super::existing::can_be_adopted(process) => {
            true
        }
        (Service::Own(name), Holder::Process(process)) => super::existing::is_ours(subject, process, name),
        // systemd where nobody has asked yet, hostlet where somebody has, or where it was started by hand.
        (Service::Responder, Holder::Process(process)) => {
            let socket = Path::new(layout::UNITS).join("hostlet-responder.socket");
            process.name == "hostlet" || (process.pid == 1 && look::exists(&socket))
        }
        (Service::Pod("kube-proxy"), Holder::Process(process)) => process.name == "kube-proxy",
        // A process of that name outside a pod is another installation's.
        (Service::Pod(name), Holder::Process(process)) => process.is_in_pod() && is_named(process, name),
        // flanneld takes over a device that it left when it stopped; another installation's we must not touch.
        (Service::Device(prefix), Holder::Device { name, .. }) => {
            name.starts_with(prefix) && super::existing::is_installed(subject)
        }
        _ => false,
    }
}

fn is_named(process: &Process, name: &str) -> bool {
    name.get(..15).unwrap_or(name) == process.name
}

fn remedy(holder: &Holder) -> Option<String> {
    match holder {
        Holder::Process(process) | Holder::Client(process) => Some(match process.unit() {
            Some(unit) if unit.ends_with(".service") => format!("systemctl disable --now {unit}"),
            Some(_) if !process.is_in_container() => format!("kill {}", process.pid),
            Some(unit) => format!("stop the container {unit}"),
            None => format!("kill {}", process.pid),
        }),
        Holder::Device { name, .. } => Some(format!("ip link delete {name} (and stop what made it)")),
        Holder::Hidden | Holder::Nobody => None,
    }
}

/// What services of type NodePort get, unless the API server is told otherwise (--service-node-port-range).
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

fn ephemeral(subject: &Subject) -> Looked {
    let Some(range) = kernel::setting("net.ipv4.ip_local_port_range")? else {
        return Ok(Judgement::pass("the kernel has no such range"));
    };
    let reserved = kernel::setting("net.ipv4.ip_local_reserved_ports")?.unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (Some(low), Some(high)) = (bounds.next(), bounds.next()) else {
        return Err(Unclear(format!("net.ipv4.ip_local_port_range is {range:?}")));
    };
    let mut exposed: Vec<_> = needs(subject)
        .into_iter()
        .map(|need| need.port.number())
        .filter(|port| (low..=high).contains(port) && !is_reserved(&reserved, *port))
        .map(|port| port.to_string())
        .collect();
    exposed.sort();
    exposed.dedup();
    let (first, last) = NODE_PORTS;
    if (first.max(low)..=last.min(high)).any(|port| !is_reserved(&reserved, port)) {
        exposed.push(format!("{first}-{last}"));
    }
    if exposed.is_empty() {
        return Ok(Judgement::pass(format!("{low}-{high}, none of them the node's")));
    }
    let ports = exposed.join(",");
    let all = [reserved.as_str(), &ports].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
    Ok(Judgement::failure(format!("{low}-{high} contains {ports}"))
        .remedy(format!("echo net.ipv4.ip_local_reserved_ports={all} > /etc/sysctl.d/90-node-ports.conf && sysctl --system")))
}

/// Whether a list such as `8080,9148-9150` contains the port.
fn is_reserved(list: &str, port: u16) -> bool {
    list.split(',').any(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        matches!((low.trim().parse::<u16>(), high.trim().parse::<u16>()), (Ok(low), Ok(high)) if (low..=high).contains(&port))
    })
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
