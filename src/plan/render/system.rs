//! Kernel modules and parameters that pods' networks need.

use crate::{config::Settings, facts::HostFacts, plan::wanted::Builder, transaction::Content};

pub(super) fn render(builder: &mut Builder, settings: &Settings, facts: &HostFacts) {
    // flanneld exits without bridge-nf-call-iptables, unless it uses nftables (since 0.26).
    let bridge = settings.flannel.as_ref().is_some_and(|flannel| !flannel.nftables);
    let six = settings.node.addresses.iter().any(|address| address.ip().is_ipv6())
        || settings.flannel.as_ref().is_some_and(|flannel| flannel.ipv6_network.is_some());
    let mut modules = vec!["overlay"];
    if !facts.kernel.overlay {
        builder.module("overlay", "containers' root file systems");
    }
    if bridge {
        modules.push("br_netfilter");
        if !facts.kernel.bridge_netfilter {
            builder.module("br_netfilter", "iptables rules apply to pods on one bridge");
        }
        builder.sysctl("net.bridge.bridge-nf-call-iptables", "1");
        if six {
            builder.sysctl("net.bridge.bridge-nf-call-ip6tables", "1");
        }
    }
    builder.sysctl("net.ipv4.ip_forward", "1");
    if six {
        builder.sysctl("net.ipv6.conf.all.forwarding", "1");
    }
    let mut text = "# Written by hostlet: pods' packets are forwarded by the host.\n".to_owned();
    for (name, value) in builder.sysctls() {
        text.push_str(&format!("{name} = {value}\n"));
    }
    builder.host_file("/etc/sysctl.d/90-hostlet.conf", Content::Plain(text.into_bytes()), "kernel parameters at boot");
    let text = format!("# Written by hostlet.\n{}\n", modules.join("\n"));
    builder.host_file("/etc/modules-load.d/hostlet.conf", Content::Plain(text.into_bytes()), "kernel modules at boot");
}
