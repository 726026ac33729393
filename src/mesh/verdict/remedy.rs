//! The command that mends it, or where to look.

use super::{Cause, Evidence};
use crate::mesh::body::{Chain, ChainFamily, Ending, Firewall};

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
        Cause::AnswerLost => format!(
            "on {0}: ss -lnt 'sport = :{1}' (Recv-Q above Send-Q: the queue is full), and let what leaves port {1} pass in its output \
             chain, in {2}'s input chain and between them",
            to.name, requirement.port, from.name
        ),
        Cause::Translated => format!(
            "give {0} the address in mesh.peers and node.ip that the others see, or let packets between the nodes pass \
             untranslated (on {0} and on what is between: nft list ruleset, iptables -t nat -S; look for masquerade)",
            from.name
        ),
        Cause::NoRoute if matches!(evidence.ending, Ending::Icmp { by: None, .. }) => format!(
            "on {}: ip rule; ip route get {} from {} ipproto {} dport {}; add the missing route, or remove what makes it \
             unreachable, a blackhole or prohibited",
            from.name, to.address, from.address, requirement.protocol, requirement.port
        ),
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
    let command = match firewall {
        Firewall::Firewalld => format!("firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"),
        Firewall::Ufw => format!("ufw allow proto {protocol} from {} to any port {port}", from.address),
        Firewall::Nftables(chains) => nft(chains, evidence),
        Firewall::Iptables { legacy } => {
            let tool = if to.address.is_ipv4() { "iptables" } else { "ip6tables" };
            let suffix = if *legacy { "-legacy" } else { "" };
            format!(
                "{tool}{suffix} -I INPUT -p {protocol} --dport {port} -s {} -j ACCEPT; and save it, as netfilter-persistent save does",
                from.address
            )
        }
        Firewall::None => format!(
            "look for what drops {requirement}: nft list ruleset, iptables -S, tc filter show; and net.ipv4.conf.*.rp_filter"
        ),
    };
    format!("on {}: {command}", to.name)
}

/// In every chain that refuses: what one of them accepts, another may still drop.
fn nft(chains: &[Chain], evidence: &Evidence) -> String {
    let requirement = evidence.requirement;
    let fits = |chain: &&Chain| match chain.family {
        ChainFamily::Inet => true,
        ChainFamily::Ip => evidence.to.address.is_ipv4(),
        ChainFamily::Ip6 => evidence.to.address.is_ipv6(),
    };
    let rule = |chain: &Chain| format!("nft insert rule {chain} {} dport {} accept", requirement.protocol, requirement.port);
    let rules: Vec<_> = chains.iter().filter(fits).map(rule).collect();
    if rules.is_empty() {
        return format!("nft list ruleset; accept {requirement} in the chain that drops it");
    }
    format!("{}; and the same in the file that is loaded at boot (/etc/nftables.conf)", rules.join(" && "))
}
