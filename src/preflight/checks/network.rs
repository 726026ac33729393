//! Addresses, routes and networks.

use std::net::IpAddr;

use crate::{
    config::Backend,
    host::links,
    model::Cidr,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "node-ip",
        tests: "the node's addresses are addresses of this host",
        weight: ERROR,
        remedy: "set node.ip to an address that `ip address` shows",
        deadline: USUAL,
        may_become_true: true,
        look: Look::Blocking(node_addresses),
    },
    Check {
        id: "route",
        tests: "there is a default route of each family that the node has an address of",
        weight: ERROR,
        remedy: "configure a gateway; on a network without one: ip route add default dev INTERFACE",
        deadline: USUAL,
        may_become_true: true,
        look: Look::Blocking(default_route),
    },
    Check {
        id: "cidr",
        tests: "the pods' network, the services' network, this host's routes and its addresses are disjoint",
        weight: ERROR,
        remedy: "choose another flannel.network or cluster.service-cidr (both are the same on every node of the cluster)",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(disjoint),
    },
];

fn list(ips: impl Iterator<Item = IpAddr>) -> String {
    ips.map(|ip| ip.to_string()).collect::<Vec<_>>().join(", ")
}

fn node_addresses(subject: &Subject) -> Looked {
    let local = links::addresses()?;
    let wanted = || subject.identity.addresses.iter().map(|address| address.ip());
    let foreign = list(wanted().filter(|ip| !local.iter().any(|local| local.ip == *ip)));
    if foreign.is_empty() {
        return Ok(Judgement::pass(list(wanted())));
    }
    let candidates = list(local.iter().map(|local| local.ip).filter(|ip| crate::model::NodeAddress::try_from(*ip).is_ok()));
    let has = if candidates.is_empty() { "none that other nodes can reach".to_owned() } else { candidates };
    Ok(Judgement::failure(format!("{foreign} is not an address of this host, which has {has}")))
}

fn default_route(subject: &Subject) -> Looked {
    let routes = links::routes()?;
    let missing: Vec<_> = [(true, "IPv4"), (false, "IPv6")]
        .into_iter()
        .filter(|(ipv4, _)| subject.identity.addresses.iter().any(|address| address.ip().is_ipv4() == *ipv4))
        .filter(|(ipv4, _)| !routes.iter().any(|route| route.length == 0 && route.base.is_ipv4() == *ipv4))
        .map(|(_, family)| family)
        .collect();
    Ok(if missing.is_empty() {
        Judgement::pass("there is")
    } else {
        Judgement::failure(format!("there is no default route for {}", missing.join(" and ")))
    })
}

fn disjoint(subject: &Subject) -> Looked {
    let settings = &subject.settings;
    let mut networks: Vec<(&str, Cidr)> = Vec::new();
    if let Some(flannel) = &settings.flannel {
        networks.push(("flannel.network", flannel.network));
        networks.extend(flannel.ipv6_network.map(|network| ("flannel.ipv6-network", network)));
    }
    networks
        .extend(settings.cluster.as_ref().and_then(|cluster| cluster.service_cidr).map(|cidr| ("cluster.service-cidr", cidr)));
    let mut found = Vec::new();
    for (index, (name, network)) in networks.iter().enumerate() {
        for (other_name, other) in &networks[index + 1..] {
            if network.overlaps(*other) {
                found.push(format!("{name} {network} overlaps {other_name} {other}"));
            }
        }
    }
    let host_gateway = settings.flannel.as_ref().is_some_and(|flannel| flannel.backend == Backend::HostGw);
    let (links, routes) = (links::links()?, links::routes()?);
    for (name, network) in &networks {
        for address in &subject.identity.addresses {
            if network.contains(address.ip()) {
                found.push(format!("{name} {network} contains the node's own address {address}"));
            }
        }
        for route in routes.iter().filter(|route| route.length > 0) {
            let link = route.link.and_then(|index| links.iter().find(|link| link.index == index));
            let link = link.map_or("", |link| link.name.as_str());
            let Ok(destination) = format!("{}/{}", route.base, route.length).parse::<Cidr>() else { continue };
            // What flannel and the bridge plugin make lies in the pods' network by design; host-gw's routes go by any link.
            // udp and wireguard route the whole network to their device, also while another backend is to take its place.
            let within = name.starts_with("flannel.") && network.contains(route.base);
            let by_flannel = match link {
                link if link.starts_with("flannel") => within && network.length() <= destination.length(),
                link => within && network.length() < destination.length() && (link == "cni0" || host_gateway),
            };
            if destination.overlaps(*network) && !by_flannel {
                found.push(format!("{name} {network} overlaps the route to {destination} by {link}"));
            }
        }
    }
    Ok(if found.is_empty() {
        let names: Vec<_> = networks.iter().map(|(name, network)| format!("{name} {network}")).collect();
        Judgement::pass(if names.is_empty() { "no networks are configured".to_owned() } else { names.join(", ") })
    } else {
        Judgement::failure(found.join("\n"))
    })
}
