//! The command that mends it, or where to look.

use super::{Cause, Evidence};
use crate::mesh::body::{Ending, Firewall};

pub(super) fn remedy(evidence: &Evidence, cause: Cause) -> String {
    let Evidence { from, to, requirement, .. } = evidence;
    let between =
        format!("allow {requirement} from {from} to {to} in the security group, network ACL or firewall between them");
    match cause {
        Cause::ReceiversFirewall => on_receiver(evidence),
        Cause::Refused | Cause::Rejected => match evidence.ending {
            Ending::Icmp { by: Some(ip), .. } if ip != to.address && ip != from.address => {
                format!("on {ip}: allow {requirement} from {from} to {to}")
            }
            Ending::Icmp { by: None, .. } => format!("on {}: allow {requirement} to {} to leave", from.name, to.address),
            _ => on_receiver(evidence),
        },
        Cause::SendersFirewall => format!(
            "on {}: remove the rule that drops {requirement} in the output chain (nft list ruleset, iptables -S OUTPUT)",
            from.name
        ),
        Cause::Network | Cause::FilterOnPort => between,
        Cause::Somewhere => format!("{between}; {}", on_receiver(evidence)),
        Cause::FilterOnVxlan => {
            format!(
                "{between}; where a hypervisor drops VXLAN (VMware NSX does), set flannel.port to another one on every node"
            )
        }
        Cause::NoRoute => {
            format!("on {}: ip route get {}; add the missing route there or on the router named", from.name, to.address)
        }
        Cause::NoNeighbour => {
            format!("see that {} is up and on the same network; on {}: ip neighbour show {}", to.name, from.name, to.address)
        }
        Cause::PathMtu => match evidence.ending {
            Ending::TooLarge { mtu, .. } => format!(
                "set the MTU of every node's interface to {mtu} (ip link set dev INTERFACE mtu {mtu}), or raise it on that hop"
            ),
            _ => between,
        },
        Cause::BlackHole => format!(
            "let ICMP \"fragmentation needed\" pass between {} and {}, or lower the MTU of the nodes' interfaces; to find it: ping -M do -s 1400 {}",
            from.name, to.name, to.address
        ),
        Cause::Impostor => format!("on {}: ss -lntup; look for a proxy or address translation between the nodes", to.name),
        Cause::Blind => format!("run hostlet as root on {}", to.name),
        Cause::NothingTold => {
            "run it again; if it stays so, see whether the other node restarts, and what keeps the processors busy".to_owned()
        }
        Cause::NotExpected => format!("give {} the same [mesh], [flannel] and roles as {}", to.name, from.name),
    }
}

fn on_receiver(evidence: &Evidence) -> String {
    let Evidence { from, to, requirement, firewall, .. } = evidence;
    let (protocol, port) = (requirement.protocol, requirement.port);
    let tool = if to.address.is_ipv4() { "iptables" } else { "ip6tables" };
    let command = match firewall {
        Firewall::Firewalld => format!("firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"),
        Firewall::Ufw => format!("ufw allow proto {protocol} from {} to any port {port}", from.address),
        Firewall::Nftables => format!(
            "nft insert rule inet filter input {protocol} dport {port} accept (table and chain as `nft list ruleset` names them)"
        ),
        Firewall::Iptables => format!("{tool} -I INPUT -p {protocol} --dport {port} -s {} -j ACCEPT", from.address),
    };
    format!("on {}: {command}", to.name)
}
