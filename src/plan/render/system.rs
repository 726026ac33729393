//! Kernel modules and parameters that pods' networks need.

use serde_json::Value;

use crate::{config::Settings, facts::HostFacts, plan::wanted::Builder, transaction::Content};

/// What the kubelet insists on with protectKernelDefaults, and sets by itself without. Source: kubernetes,
/// pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
pub const KERNEL_DEFAULTS: [(&str, &str); 6] = [
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
];

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
    if settings.kubelet.config.get("protectKernelDefaults") == Some(&Value::Bool(true)) {
        for (name, value) in KERNEL_DEFAULTS {
            builder.sysctl(name, value);
        }
    }
    let mut text = "# Written by hostlet: what pods' packets and the kubelet need.\n".to_owned();
    for (name, value) in builder.sysctls() {
        text.push_str(&format!("{name} = {value}\n"));
    }
    builder.host_file("/etc/sysctl.d/90-hostlet.conf", Content::Plain(text.into_bytes()), "kernel parameters at boot");
    let text = format!("# Written by hostlet.\n{}\n", modules.join("\n"));
    builder.host_file("/etc/modules-load.d/hostlet.conf", Content::Plain(text.into_bytes()), "kernel modules at boot");
}
