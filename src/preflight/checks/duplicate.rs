//! Another machine with an address of this one's.

use std::net::IpAddr;

use crate::{
    host::{arp, links},
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL},
    },
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "duplicate-ip",
    tests: "no other machine on the link has one of the node's addresses",
    weight: ERROR,
    remedy: "give one of the two machines another address",
    deadline: USUAL,
    may_become_true: false,
    look: Look::Blocking(duplicates),
}];

/// IPv4 by ARP; for IPv6 the kernel has looked when it took the address (RFC 4862).
fn duplicates(subject: &Subject) -> Looked {
    let (links, local, twice) = (links::links()?, links::addresses()?, links::duplicates()?);
    let ours: Vec<_> = links.iter().filter_map(|link| link.hardware).collect();
    let (mut found, mut free, mut remedies) = (Vec::new(), Vec::new(), Vec::new());
    for address in &subject.identity.addresses {
        let ip = address.ip();
        let at = local.iter().find(|local| local.ip == ip).map(|local| local.link);
        // An address that is nowhere is node-ip's finding.
        let Some(link) = at.and_then(|at| links.iter().find(|link| link.index == at)) else { continue };
        match ip {
            IpAddr::V4(v4) => match link.hardware.filter(|_| link.has_arp) {
                None => free.push(format!("{ip}: {} has no neighbours to ask", link.name)),
                Some(own) => match arp::other_owner(link.index, v4, own, &ours)? {
                    Some(owner) => {
                        found.push(format!(
                            "{ip} on {} also belongs to the machine with the hardware address {owner}",
                            link.name
                        ));
                        remedies.push(format!("find {owner} in the switch's table or among the hypervisor's machines"));
                    }
                    None => free.push(format!("nobody else on {} answers for {ip}", link.name)),
                },
            },
            IpAddr::V6(_) if twice.contains(&ip) => {
                found.push(format!("{ip} on {} also belongs to another machine, as the kernel noticed", link.name));
            }
            IpAddr::V6(_) => free.push(format!("{ip} is this machine's alone, as the kernel saw")),
        }
    }
    remedies.push("give one of the two another address".to_owned());
    Ok(if found.is_empty() {
        Judgement::pass(if free.is_empty() { "see node-ip".to_owned() } else { free.join("\n") })
    } else {
        Judgement::failure(found.join("\n")).remedy(remedies.join(", and "))
    })
}
