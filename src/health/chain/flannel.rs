//! flannel: its lease in subnet.env, its device with the lease's address, and its routes.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use super::{Link, Obstacle};
use crate::{
    host::{files, links},
    model::Cidr,
};

/// Where flannel writes its lease, and the CNI plugin reads it.
const SUBNET: &str = "/run/flannel/subnet.env";
const UNIT: &str = "flanneld.service";
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0));

/// What is installed of flannel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flannel {
    /// Its lease is its Node's podCIDR: the datastore is the API server.
    pub from_node: bool,
    /// The device that its backend makes; none where it makes none, or where that is not known.
    pub device: Option<String>,
    /// The backend routes the whole network to that device.
    pub routes_network: bool,
}

impl Flannel {
    /// By net-conf.json, where flannel has one. Source: flannel 0.28, pkg/backend: vxlan makes flannel.VNI, udp flannel0 and
    /// wireguard flannel-wg, and the last two route the whole network to it.
    #[must_use]
    pub fn of(from_node: bool, net_conf: Option<&serde_json::Value>) -> Self {
        let backend = net_conf.map(|value| &value["Backend"]);
        let (device, routes_network) = match backend.and_then(|backend| backend["Type"].as_str()) {
            Some("vxlan") => {
                let vni = backend.and_then(|backend| backend["VNI"].as_u64()).unwrap_or(1);
                (Some(format!("flannel.{vni}")), false)
            }
            Some("udp") => (Some("flannel0".to_owned()), true),
            Some("wireguard") => (Some("flannel-wg".to_owned()), true),
            _ => (None, false),
        };
        Self { from_node, device, routes_network }
    }
}

/// A lease, as subnet.env tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    network: Cidr,
    subnet: Cidr,
}

impl Lease {
    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        // With several networks the first one counts.
        let cidr = |key: &str| Cidr::around(value(key)?.split(',').next()?);
        Some(Self { network: cidr("FLANNEL_NETWORK")?, subnet: cidr("FLANNEL_SUBNET")? })
    }
}

/// The device and its routes, as the kernel has them.
#[derive(Debug, Default)]
struct Devices {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    routes: Vec<Cidr>,
}

impl Devices {
    fn of(device: Option<&str>) -> std::io::Result<Self> {
        let all = links::links()?;
        let names = all.iter().map(|link| link.name.clone()).collect();
        let Some(index) = device.and_then(|device| all.iter().find(|link| link.name == device)).map(|link| link.index) else {
            return Ok(Self { names, ..Self::default() });
        };
        let addresses = links::addresses()?.into_iter().filter(|address| address.link == index).map(|address| address.ip);
        let routes = links::routes()?.into_iter().filter(|route| route.link == Some(index));
        Ok(Self {
            names,
            addresses: addresses.collect(),
            routes: routes.filter_map(|route| Cidr::new(route.base, route.length).ok()).collect(),
        })
    }
}

pub(super) fn flannel(expected: &Flannel, pod_cidrs: &[String]) -> Result<String, Obstacle> {
    let text = files::if_present(files::read_text(Path::new(SUBNET)));
    let text = text.map_err(|error| Obstacle::new(Link::Flannel, error.to_string(), "journalctl -u flanneld"))?;
    let devices = Devices::of(expected.device.as_deref())
        .map_err(|error| Obstacle::new(Link::Flannel, format!("listing network links: {error}"), "ip link"))?;
    judge(expected, pod_cidrs, text.as_deref(), &devices)
}

fn judge(expected: &Flannel, pod_cidrs: &[String], text: Option<&str>, devices: &Devices) -> Result<String, Obstacle> {
    let obstacle =
        |found: String| Err(Obstacle::new(Link::Flannel, found, "look at why: journalctl -u flanneld").of_unit(UNIT));
    let Some(text) = text else {
        return obstacle(format!("flannel has no lease yet: {SUBNET} is not there"));
    };
    let Some(Lease { network, subnet }) = Lease::parse(text) else {
        return obstacle(format!("{SUBNET} tells no network and no subnet"));
    };
    let is_its_nodes = |cidr: &String| cidr.parse::<Cidr>().is_ok_and(|cidr| cidr == subnet);
    if expected.from_node && !pod_cidrs.iter().any(is_its_nodes) {
        let cidrs = pod_cidrs.join(", ");
        return obstacle(format!("{SUBNET} says {subnet}, and the Node's podCIDR is {cidrs}: it is of an earlier lease"));
    }
    let Some(device) = &expected.device else { return Ok(format!("subnet {subnet}")) };
    if !devices.names.contains(device) {
        return obstacle(format!("flannel's device {device} is not there"));
    }
    if !devices.addresses.iter().any(|address| subnet.contains(*address)) {
        return obstacle(format!("flannel's device {device} has no address of {subnet}"));
    }
    if expected.routes_network && !devices.routes.contains(&network) {
        return obstacle(format!("no route leads to {network} by {device}"));
    }
    // Every device has a route to fe80::/64 besides.
    let routes = devices.routes.iter().filter(|route| !route.contains(LINK_LOCAL)).count();
    Ok(format!("subnet {subnet} on {device}, {routes} route{} by it", if routes == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LEASE: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    fn found(expected: &Flannel, text: Option<&str>, devices: &Devices) -> String {
        match judge(expected, &["10.244.7.0/24".to_owned()], text, devices) {
            Ok(seen) => format!("ok: {seen}"),
            Err(obstacle) => obstacle.found,
        }
    }

    #[test]
    fn each_backend_has_its_device_and_those_that_route_all_are_known() {
        let of = |kind: &str| Flannel::of(true, Some(&json!({ "Backend": { "Type": kind, "VNI": 4096 } })));
        assert_eq!(of("vxlan").device.as_deref(), Some("flannel.4096"));
        assert_eq!((of("udp").device.as_deref(), of("udp").routes_network), (Some("flannel0"), true));
        assert_eq!((of("wireguard").device.as_deref(), of("wireguard").routes_network), (Some("flannel-wg"), true));
        assert_eq!(of("host-gw").device, None);
        assert_eq!(Flannel::of(false, None), Flannel::default());
    }

    #[test]
    fn each_missing_part_is_named() {
        let vxlan = Flannel::of(true, Some(&json!({ "Backend": { "Type": "vxlan" } })));
        let device = |addresses: &[&str], routes: &[&str]| Devices {
            names: vec!["eth0".into(), "flannel.1".into(), "flannel0".into()],
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        };
        let good = device(&["10.244.7.0"], &["10.244.8.0/24", "fe80::/64"]);
        assert!(found(&vxlan, None, &good).contains("/run/flannel/subnet.env is not there"));
        assert!(found(&vxlan, Some("FLANNEL_MTU=1450\n"), &good).contains("tells no network"));
        assert!(found(&vxlan, Some(&LEASE.replace(".7.", ".9.")), &good).contains("of an earlier lease"));
        assert!(found(&vxlan, Some(LEASE), &Devices::default()).contains("flannel.1 is not there"));
        assert!(found(&vxlan, Some(LEASE), &device(&["10.244.9.0"], &[])).contains("has no address of 10.244.7.0/24"));
        assert_eq!(found(&vxlan, Some(LEASE), &good), "ok: subnet 10.244.7.0/24 on flannel.1, 1 route by it");
        let udp = Flannel::of(true, Some(&json!({ "Backend": { "Type": "udp" } })));
        assert!(found(&udp, Some(LEASE), &good).contains("no route leads to 10.244.0.0/16 by flannel0"));
        assert!(found(&udp, Some(LEASE), &device(&["10.244.7.0"], &["10.244.0.0/16"])).starts_with("ok"));
        let alone = device(&["10.244.7.0"], &["fe80::/64"]);
        assert!(found(&vxlan, Some(LEASE), &alone).ends_with("0 routes by it"), "nobody else is there yet");
        let host_gw = Flannel::of(true, Some(&json!({ "Backend": { "Type": "host-gw" } })));
        assert_eq!(found(&host_gw, Some(LEASE), &Devices::default()), "ok: subnet 10.244.7.0/24");
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(text in ".{0,200}") {
            let _ = Lease::parse(&text);
            let _ = Lease::parse(&format!("FLANNEL_NETWORK={text}\nFLANNEL_SUBNET={text}"));
        }
    }
}
