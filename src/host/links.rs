//! Network links, addresses and routes of this network namespace, over netlink. Looks only, but for [`delete`].
//!
//! Not from /sys/class/net: that shows the namespace of whoever mounted it, and does not tell a VXLAN device's port.

use std::{fmt, io, net::IpAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use nix::sys::socket::SockProtocol;

use super::netlink;

/// A network link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// `eth0`
    pub name: String,
    /// What carries its packets.
    pub kind: LinkKind,
    /// The bridge, or the like, that it is a port of.
    pub controller: Option<u32>,
    /// Its address on an Ethernet.
    pub hardware: Option<HardwareAddress>,
    /// Neighbours are found by ARP on it, and it is up.
    pub has_arp: bool,
    /// The largest packet that it carries.
    pub mtu: u32,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardwareAddress(pub [u8; 6]);

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// What carries a link's packets, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// UDP to this port.
    Vxlan {
        /// The UDP port that the kernel holds for it.
        port: u16,
    },
    /// UDP to a port that only WireGuard's own interface tells.
    Wireguard,
    /// Anything else.
    Other,
}

/// An address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub ip: IpAddr,
    /// The link it belongs to.
    pub link: u32,
}

/// A route to other hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The first address of the network it leads to; unspecified for a default route.
    pub base: IpAddr,
    /// The length of the network's prefix.
    pub length: u8,
    /// The link it goes out by.
    pub link: Option<u32>,
}

/// All links.
pub fn links() -> io::Result<Vec<Link>> {
    let messages = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| if let RouteNetlinkMessage::NewLink(l) = message { Some(link(&l)) } else { None })
        .collect())
}

/// The devices that flanneld makes and leaves when it stops.
pub fn flannels() -> io::Result<Vec<Link>> {
    let is_flannels = |link: &Link| match link.kind {
        LinkKind::Vxlan { .. } => link.name.starts_with("flannel."),
        LinkKind::Wireguard => matches!(link.name.as_str(), "flannel-wg" | "flannel-wg-v6"),
        LinkKind::Other => false,
    };
    Ok(links()?.into_iter().filter(is_flannels).collect())
}

/// All addresses.
pub fn addresses() -> io::Result<Vec<LocalAddress>> {
    let messages = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| if let RouteNetlinkMessage::NewAddress(a) = message { address(&a) } else { None })
        .collect())
}

/// The IPv6 addresses that the kernel found on another machine of the link as well, and does not use.
pub fn duplicates() -> io::Result<Vec<IpAddr>> {
    let messages = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let is_duplicate = |message: &AddressMessage| message.header.flags.contains(AddressHeaderFlags::Dadfailed);
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) if is_duplicate(&message) => address(&message).map(|found| found.ip),
            _ => None,
        })
        .collect())
}

/// The unicast routes of the main table, of both families.
pub fn routes() -> io::Result<Vec<Route>> {
    let messages = dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| if let RouteNetlinkMessage::NewRoute(r) = message { route(&r) } else { None })
        .collect())
}

/// Those addresses on the links that were asked for and did not answer: to ARP, or to IPv6's neighbour discovery.
pub fn silent_neighbours() -> io::Result<Vec<IpAddr>> {
    let messages = dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
    let address = |message: NeighbourMessage| {
        let silent = matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
        message.attributes.into_iter().filter(|_| silent).find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(v4.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(v6.into()),
            _ => None,
        })
    };
    let neighbours = messages.into_iter();
    Ok(neighbours.filter_map(|one| if let RouteNetlinkMessage::NewNeighbour(n) = one { address(n) } else { None }).collect())
}

/// The link by which packets from here to there leave, as routes and rules (ip-rule(8)) have it.
pub fn way_out(source: IpAddr, destination: IpAddr) -> io::Result<Option<u32>> {
    let mut message = RouteMessage::default();
    let (family, bits) = match destination {
        IpAddr::V4(_) => (netlink_packet_route::AddressFamily::Inet, 32),
        IpAddr::V6(_) => (netlink_packet_route::AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    (message.header.destination_prefix_length, message.header.source_prefix_length) = (bits, bits);
    message.attributes =
        vec![RouteAttribute::Destination(route_address(destination)), RouteAttribute::Source(route_address(source))];
    // An acknowledgement ends the answer.
    let asked = RouteNetlinkMessage::GetRoute(message);
    let answers = netlink::ask(SockProtocol::NetlinkRoute, asked, NLM_F_REQUEST | NLM_F_ACK)?;
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        }),
        _ => None,
    }))
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

fn link(message: &LinkMessage) -> Link {
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: LinkKind::Other,
        controller: None,
        hardware: None,
        has_arp: ethernet
            && flags.contains(LinkFlags::Up)
            && !flags.intersects(LinkFlags::Loopback | LinkFlags::Pointopoint | LinkFlags::Noarp),
        mtu: 1500,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Address(bytes) if ethernet => {
                link.hardware = bytes.as_slice().try_into().ok().map(HardwareAddress);
            }
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
            _ => {}
        }
    }
    link
}

fn kind(infos: &[LinkInfo]) -> LinkKind {
    let port = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => {
            data.iter().find_map(|attribute| if let InfoVxlan::Port(port) = attribute { Some(*port) } else { None })
        }
        _ => None,
    });
    match (port, infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Wireguard)))) {
        (Some(port), _) => LinkKind::Vxlan { port },
        (None, true) => LinkKind::Wireguard,
        (None, false) => LinkKind::Other,
    }
}

fn address(message: &AddressMessage) -> Option<LocalAddress> {
    let pick = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // On a point-to-point link Address is the peer's, and Local our own.
    let local = pick(|attribute| if let AddressAttribute::Local(ip) = attribute { Some(*ip) } else { None });
    let ip =
        local.or_else(|| pick(|attribute| if let AddressAttribute::Address(ip) = attribute { Some(*ip) } else { None }))?;
    Some(LocalAddress { ip, link: message.header.index })
}

fn route(message: &RouteMessage) -> Option<Route> {
    if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.kind != RouteType::Unicast {
        return None;
    }
    let ipv6 = message.header.address_family == netlink_packet_route::AddressFamily::Inet6;
    let mut base = if ipv6 { IpAddr::from([0_u16; 8]) } else { IpAddr::from([0_u8; 4]) };
    let mut link = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => base = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => base = (*v6).into(),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    Some(Route { base, length: message.header.destination_prefix_length, link })
}

/// Removes a link. One that is gone already is no error.
pub fn delete(link: &Link) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    match netlink::ask(SockProtocol::NetlinkRoute, RouteNetlinkMessage::DelLink(message), NLM_F_REQUEST | NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
        other => other.map(drop),
    }
}

/// Asks for everything of a kind.
fn dump(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    netlink::ask(SockProtocol::NetlinkRoute, question, NLM_F_DUMP | NLM_F_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_and_its_address_are_seen() {
        let loopback = links().unwrap().into_iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(loopback.kind, LinkKind::Other);
        assert!(addresses().unwrap().contains(&LocalAddress { ip: "127.0.0.1".parse().unwrap(), link: loopback.index }));
        let here = "127.0.0.1".parse().unwrap();
        assert_eq!(way_out(here, here).unwrap(), Some(loopback.index));
        routes().unwrap();
    }
}
