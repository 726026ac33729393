//! What the kernel must be able to do, and how it must be set. Install sets what can be set; these look whether it can.

use std::path::Path;

use crate::{
    config::Backend,
    host::{
        capabilities::{Capability, Privileges},
        kernel::{self, Module},
        look,
    },
    plan::KERNEL_DEFAULTS,
    preflight::{
        Subject,
        check::{Check, ERROR, Judgement, Look, Looked, USUAL, Unclear},
    },
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "modules",
        tests: "the kernel has overlay and nf_conntrack, and what flannel's backend needs (vxlan, wireguard or tun)",
        weight: ERROR,
        remedy: "install the kernel's package of extra modules (linux-modules-extra-$(uname -r), kernel-modules), or another kernel",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(modules),
    },
    Check {
        id: "ip-forward",
        tests: "the kernel forwards packets (net.ipv4.ip_forward = 1), or can be set to",
        weight: ERROR,
        remedy: "run hostlet on the host itself: in this container /proc/sys is read-only",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(forwarding),
    },
    Check {
        id: "bridge-nf",
        tests: "bridged packets pass iptables (net.bridge.bridge-nf-call-iptables = 1), or can be set to; not with nftables",
        weight: ERROR,
        remedy: "install a kernel with br_netfilter, or set flannel.nftables = true",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(bridge_netfilter),
    },
    Check {
        id: "kernel-defaults",
        tests: "the six settings that the kubelet sets, or insists on with protectKernelDefaults, have its values or can be set to them; and the kernel's log is there (/dev/kmsg)",
        weight: ERROR,
        remedy: "set them in /etc/sysctl.d, or set kubelet.config.protectKernelDefaults = false",
        deadline: USUAL,
        may_become_true: false,
        look: Look::Blocking(kernel_defaults),
    },
];

const BY_INSTALL: &str = "will be set by install";
const ON_THE_HOST: &str = "run hostlet on the host itself: a container has neither a /proc/sys to write nor /dev/kmsg";
/// What the kubelet hears of processes that the kernel killed from.
const KERNEL_LOG: &str = "/dev/kmsg";

fn modules(subject: &Subject) -> Looked {
    let mut needed = vec![("overlay", "OVERLAY_FS"), ("nf_conntrack", "NF_CONNTRACK")];
    match subject.settings.flannel.as_ref().map(|flannel| flannel.backend) {
        Some(Backend::Vxlan { .. }) => needed.push(("vxlan", "VXLAN")),
        Some(Backend::Wireguard { .. }) => needed.push(("wireguard", "WIREGUARD")),
        Some(Backend::Udp { .. }) => needed.push(("tun", "TUN")),
        Some(Backend::HostGw) | None => {}
    }
    let (mut present, mut absent, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for (name, option) in needed {
        match kernel::module(name, option)? {
            Module::Present => present.push(name.to_owned()),
            Module::Loadable if name == "overlay" && !may_load_modules()? => return Ok(not_allowed(name)),
            // overlay is what install loads; the others the kernel loads itself when it is asked for what they bring.
            Module::Loadable if name == "overlay" => present.push(format!("{name} ({BY_INSTALL})")),
            Module::Loadable => present.push(format!("{name} (loaded when it is needed)")),
            Module::Absent => absent.push(name),
            Module::Unknown => unclear.push(name),
        }
    }
    if !absent.is_empty() {
        return Ok(Judgement::failure(format!("the kernel has no {}", absent.join(", "))));
    }
    if let Some(trouble) = tunnel(subject, &unclear)? {
        return Ok(trouble);
    }
    Ok(if unclear.is_empty() {
        Judgement::pass(present.join(", "))
    } else {
        // Not knowing is no obstacle by itself here: nothing but trying would tell, and trying would load them.
        let names = unclear.join(", ");
        Judgement::warning(format!("{names}: neither /lib/modules nor the kernel's configuration tells"))
            .remedy(format!("modprobe --all {names}"))
    })
}

/// Modules that the kernel loads when they are asked for need no capability of ours; those that install loads do.
fn may_load_modules() -> Result<bool, Unclear> {
    Ok(Privileges::own()?.has(Capability::SysModule))
}

fn not_allowed(name: &str) -> Judgement {
    Judgement::failure(format!(
        "{name} is not loaded, and hostlet may not load it: it lacks {}",
        Capability::SysModule.as_str()
    ))
    .remedy(format!("modprobe {name} on the host itself, and the same in /etc/modules-load.d"))
}

/// The udp backend opens /dev/net/tun: a kernel that can is not enough where the device is missing or forbidden, as in
/// containers.
fn tunnel(subject: &Subject, unclear: &[&str]) -> Result<Option<Judgement>, Unclear> {
    let udp = matches!(subject.settings.flannel.as_ref().map(|flannel| flannel.backend), Some(Backend::Udp { .. }));
    // Where it is yet to be loaded, opening it would do so.
    if !udp || unclear.contains(&"tun") || kernel::module("tun", "TUN")? != Module::Present {
        return Ok(None);
    }
    Ok(kernel::open_tun().err().map(|error| {
        Judgement::failure(error.to_string())
            .required("/dev/net/tun, for flannel's udp backend")
            .remedy("mkdir -p /dev/net && mknod /dev/net/tun c 10 200; or set flannel.backend to vxlan, host-gw or wireguard")
    }))
}

/// Whether pods have IPv6: then install sets that family's parameters, too.
fn has_ipv6(subject: &Subject) -> bool {
    let settings = &subject.settings;
    settings.node.addresses.iter().any(|address| address.ip().is_ipv6())
        || settings.flannel.as_ref().is_some_and(|flannel| flannel.ipv6_network.is_some())
}

/// The settings that are not as wanted. `None`: the kernel has no such setting.
fn differing<'a>(wanted: &[(&'a str, &str)]) -> Result<Vec<(&'a str, Option<String>)>, Unclear> {
    let mut differing = Vec::new();
    for (name, value) in wanted {
        let found = kernel::setting(name)?;
        if found.as_deref() != Some(value) {
            differing.push((*name, found));
        }
    }
    Ok(differing)
}

/// Whether install can set all of them.
fn are_writable(settings: &[(&str, Option<String>)]) -> Result<bool, Unclear> {
    for (name, _) in settings {
        if !kernel::is_writable(name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn shown(settings: &[(&str, Option<String>)]) -> String {
    let one = |(name, value): &(&str, Option<String>)| match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("{name} does not exist"),
    };
    settings.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn forwarding(subject: &Subject) -> Looked {
    let mut wanted = vec![("net.ipv4.ip_forward", "1")];
    if has_ipv6(subject) {
        wanted.push(("net.ipv6.conf.all.forwarding", "1"));
    }
    let found = differing(&wanted)?;
    Ok(if found.is_empty() {
        Judgement::pass("it does")
    } else if found.iter().any(|(_, value)| value.is_none()) {
        Judgement::failure(shown(&found)).remedy("boot a kernel with IPv4, and with IPv6 where flannel.ipv6-network is set")
    } else if are_writable(&found)? {
        Judgement::pass(format!("{}: {BY_INSTALL}", shown(&found)))
    } else {
        Judgement::failure(format!("{}, and /proc/sys is read-only", shown(&found)))
    })
}

/// flannel exits without it since 0.26, unless it uses nftables (facts: flanneld).
fn bridge_netfilter(subject: &Subject) -> Looked {
    match &subject.settings.flannel {
        None => return Ok(Judgement::pass("not needed without flannel")),
        Some(flannel) if flannel.nftables => return Ok(Judgement::pass("not needed with nftables")),
        Some(_) => {}
    }
    let mut wanted = vec![("net.bridge.bridge-nf-call-iptables", "1")];
    if has_ipv6(subject) {
        wanted.push(("net.bridge.bridge-nf-call-ip6tables", "1"));
    }
    let found = differing(&wanted)?;
    if found.is_empty() {
        return Ok(Judgement::pass("they do"));
    }
    if found.iter().any(|(_, value)| value.is_none()) {
        return Ok(match kernel::module("br_netfilter", "BRIDGE_NETFILTER")? {
            Module::Absent => Judgement::failure("the kernel has no br_netfilter"),
            Module::Loadable if !may_load_modules()? => not_allowed("br_netfilter"),
            Module::Loadable | Module::Present => Judgement::pass(format!("br_netfilter is not loaded: {BY_INSTALL}")),
            Module::Unknown => Judgement::warning("br_netfilter is not loaded, and nothing tells whether it can be")
                .remedy("modprobe br_netfilter"),
        });
    }
    Ok(if are_writable(&found)? {
        Judgement::pass(format!("{}: {BY_INSTALL}", shown(&found)))
    } else {
        Judgement::failure(format!("{}, and /proc/sys is read-only", shown(&found)))
            .remedy("run hostlet on the host itself: in this container /proc/sys is read-only")
    })
}

/// A kubelet sets them unless it is told to insist, and ends where it cannot: after it has told systemd that it is ready. It ends
/// as well where it cannot watch the kernel's log. A rootless one may go without both (KubeletInUserNamespace).
fn kernel_defaults(subject: &Subject) -> Looked {
    let gate = subject.kubelet_field("featureGates").and_then(|gates| gates["KubeletInUserNamespace"].as_bool());
    if gate == Some(true) {
        return Ok(Judgement::pass("KubeletInUserNamespace: the kubelet goes without"));
    }
    if !look::exists(Path::new(KERNEL_LOG)) {
        return Ok(
            Judgement::failure(format!("there is no {KERNEL_LOG}, and a kubelet does not start without")).remedy(ON_THE_HOST)
        );
    }
    let found = differing(&KERNEL_DEFAULTS)?;
    let insists = subject.kubelet_flag("protectKernelDefaults", false);
    if found.is_empty() {
        return Ok(Judgement::pass("all six"));
    }
    if are_writable(&found)? {
        return Ok(if insists {
            Judgement::pass(format!("{}: {BY_INSTALL}", shown(&found)))
        } else {
            Judgement::pass("the kubelet sets them itself")
        });
    }
    let wanted: Vec<_> = KERNEL_DEFAULTS.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let failure = if insists {
        Judgement::failure(shown(&found))
    } else {
        Judgement::failure(format!("{}: the kubelet sets them, and /proc/sys is read-only", shown(&found))).remedy(ON_THE_HOST)
    };
    Ok(failure.required(wanted.join(", ")))
}
