//! flannel's flags and the fields of its net-conf.json, by version.
//!
//! Source: main.go, pkg/subnet/config.go and pkg/backend/{vxlan,udp,wireguard,hostgw} of flannel's tags v0.24.0 to v0.28.9.

use serde_json::{Map, Value};

use crate::model::Version;

/// A flag: its name, whether it stands alone, and the first version that has it.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) switch: bool,
    pub(crate) since: Version,
}

const OLDEST: Version = Version::new(0, 24, 0);

const fn value(name: &'static str) -> Flag {
    Flag { name, switch: false, since: OLDEST }
}

const fn switch(name: &'static str, since: Version) -> Flag {
    Flag { name, switch: true, since }
}

/// Of klog's flags only those that are not about files.
pub(crate) static FLAGS: [Flag; 31] = [
    value("etcd-cafile"),
    value("etcd-certfile"),
    value("etcd-endpoints"),
    value("etcd-keyfile"),
    value("etcd-password"),
    value("etcd-prefix"),
    value("etcd-username"),
    value("healthz-ip"),
    value("healthz-port"),
    value("iface"),
    value("iface-can-reach"),
    value("iface-regex"),
    switch("ip-blackhole-route", Version::new(0, 27, 1)),
    switch("ip-masq", OLDEST),
    switch("ip-masq-fully-random-disable", Version::new(0, 27, 4)),
    switch("iptables-forward-rules", OLDEST),
    value("iptables-resync"),
    value("kube-annotation-prefix"),
    value("kube-api-url"),
    switch("kube-subnet-mgr", OLDEST),
    value("kubeconfig-file"),
    value("log_backtrace_at"),
    value("net-config-path"),
    value("public-ip"),
    value("public-ipv6"),
    switch("set-node-network-unavailable", OLDEST),
    value("subnet-file"),
    value("subnet-lease-renew-margin"),
    value("v"),
    switch("version", OLDEST),
    value("vmodule"),
];

/// What a field holds, as Go's decoder insists on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Switch,
    Text,
    Object,
}

/// A field: its name, what it holds, and the first version that has it.
pub(crate) type NetworkField = (&'static str, Kind, Version);

static NETWORK: [NetworkField; 12] = [
    ("Backend", Kind::Object, OLDEST),
    ("EnableIPv4", Kind::Switch, OLDEST),
    ("EnableIPv6", Kind::Switch, OLDEST),
    ("EnableNFTables", Kind::Switch, Version::new(0, 25, 0)),
    ("IPv6Network", Kind::Text, OLDEST),
    ("IPv6SubnetLen", Kind::Number, OLDEST),
    ("IPv6SubnetMax", Kind::Text, OLDEST),
    ("IPv6SubnetMin", Kind::Text, OLDEST),
    ("Network", Kind::Text, OLDEST),
    ("SubnetLen", Kind::Number, OLDEST),
    ("SubnetMax", Kind::Text, OLDEST),
    ("SubnetMin", Kind::Text, OLDEST),
];
static VXLAN: [NetworkField; 7] = [
    ("DirectRouting", Kind::Switch, OLDEST),
    ("GBP", Kind::Switch, OLDEST),
    ("Learning", Kind::Switch, OLDEST),
    ("MTU", Kind::Number, OLDEST),
    ("Port", Kind::Number, OLDEST),
    ("Type", Kind::Text, OLDEST),
    ("VNI", Kind::Number, OLDEST),
];
static UDP: [NetworkField; 2] = [("Port", Kind::Number, OLDEST), ("Type", Kind::Text, OLDEST)];
static HOST_GW: [NetworkField; 1] = [("Type", Kind::Text, OLDEST)];
static WIREGUARD: [NetworkField; 7] = [
    ("ListenPort", Kind::Number, OLDEST),
    ("ListenPortV6", Kind::Number, OLDEST),
    ("MTU", Kind::Number, OLDEST),
    ("Mode", Kind::Text, OLDEST),
    ("PSK", Kind::Text, OLDEST),
    ("PersistentKeepaliveInterval", Kind::Number, OLDEST),
    ("Type", Kind::Text, OLDEST),
];

/// The fields of the whole, or of a backend's part; none where there is no such backend.
pub(crate) fn fields(backend: Option<&str>) -> Option<&'static [NetworkField]> {
    Some(match backend {
        None => &NETWORK,
        Some("vxlan") => &VXLAN,
        Some("udp") => &UDP,
        Some("host-gw") => &HOST_GW,
        Some("wireguard") => &WIREGUARD,
        Some(_) => return None,
    })
}

/// The first field of a wrong type, as Go's decoder words it. Fields that a version does not know it ignores.
pub(super) fn wrong_type(object: &Map<String, Value>, backend: Option<&str>, version: &Version) -> Option<String> {
    let wrong = |(name, kind, _): &&NetworkField| match object.get(*name) {
        None | Some(Value::Null) => false,
        Some(Value::Number(_)) => *kind != Kind::Number,
        Some(Value::Bool(_)) => *kind != Kind::Switch,
        Some(Value::String(_)) => *kind != Kind::Text,
        Some(Value::Object(_)) => *kind != Kind::Object,
        Some(Value::Array(_)) => true,
    };
    let known = fields(backend)?.iter().filter(|(_, _, since)| version >= since);
    known.clone().find(wrong).map(|(name, ..)| format!("json: cannot unmarshal into Go struct field .{name}"))
}
