//! A flanneld that carries no packets, and otherwise starts, fails and serves as the real one does. With etcd it takes its
//! lease from nobody.
//!
//! Source: flannel 0.28.9, main.go, pkg/backend and pkg/trafficmngr.

use std::{net::Ipv4Addr, path::Path};

use serde_json::Value;
use tokio::net::UdpSocket;

use super::{
    Behaviour, Release,
    flags::Flags,
    flannel_table::{FLAGS, wrong_type},
    join::Api,
    notify, say,
};
use crate::{
    host::{files, kubeconfig, process::Invocation},
    model::Version,
};

pub(super) async fn run(arguments: &[String]) -> Result<u8, String> {
    let release = Release::of(Path::new("/proc/self/exe")).map_err(|error| error.to_string())?;
    let version = release.parsed();
    let there = || FLAGS.iter().filter(|flag| version >= flag.since);
    let names = |switch| there().filter(|flag| flag.switch == switch).map(|flag| flag.name).collect::<Vec<_>>().join(" ");
    let mut flags = match Flags::parse(arguments, &names(false), &names(true)) {
        Ok(flags) => flags,
        Err(error) => {
            // Its usage function ends it with success, whatever Go's flag library wanted: systemd sees a service that ended
            // before it was ready.
            say(&error.replace("unknown flag: --", "flag provided but not defined: -"));
            return Ok(0);
        }
    };
    if flags.is_on("version") {
        super::print(&format!("v{}", release.version));
        return Ok(0);
    }
    for name in there().map(|flag| flag.name) {
        if let Ok(value) = std::env::var(format!("FLANNELD_{}", name.replace('-', "_").to_uppercase())) {
            flags.default_to(name, value);
        }
    }
    say(&format!("flanneld v{} (a stand-in of hostlet's)", release.version));
    if release.behaviour == Behaviour::ExitAtStart {
        return Err("panic: this release does not start".to_owned());
    }
    let interface = Interface::find(flags.get("iface")).await?;
    let mut network = Network::read(&flags, &version)?;
    if flags.is_on("kube-subnet-mgr") {
        network.subnet = acquire_lease(&flags, &interface).await?;
    }
    network.check_host()?;
    network.start_backend(&interface).await?;
    network.write_subnet(&flags, &interface)?;
    if let Some(port) = flags.get("healthz-port").filter(|&port| port != "0") {
        let address = format!("{}:{port}", flags.get("healthz-ip").unwrap_or("0.0.0.0"));
        let address = address.parse().map_err(|_| format!("invalid healthz address {address}"))?;
        super::kubelet::listen(address, super::kubelet::OK).await?;
    }
    notify::live(release.behaviour).await
}

/// The interface that packets to other nodes leave through.
struct Interface {
    name: String,
    address: Ipv4Addr,
    mtu: u64,
}

impl Interface {
    /// The named one (by name or address), or that of the default route.
    async fn find(wanted: Option<&str>) -> Result<Self, String> {
        let default = || async {
            let routes = ip(&["-json", "-4", "route", "show", "default"]).await?;
            let name = routes[0]["dev"].as_str().map(str::to_owned);
            name.ok_or_else(|| "failed to get default interface: unable to find default route".to_owned())
        };
        let wanted = match wanted {
            Some(wanted) => wanted.to_owned(),
            None => default().await?,
        };
        let links = ip(&["-json", "-4", "address", "show"]).await?;
        let address = |link: &Value| link["addr_info"][0]["local"].as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
        let link = links.as_array().into_iter().flatten().find(|link| {
            link["ifname"] == wanted.as_str() || address(link).is_some_and(|address| address.to_string() == wanted)
        });
        let link =
            link.ok_or_else(|| format!("error looking up interface {wanted}: route ip+net: no such network interface"))?;
        Ok(Self {
            name: link["ifname"].as_str().unwrap_or_default().to_owned(),
            address: address(link).ok_or_else(|| format!("failed to find IPv4 address for interface {wanted}"))?,
            mtu: link["mtu"].as_u64().unwrap_or(1500),
        })
    }
}

/// What it takes of net-conf.json.
struct Network {
    cidr: String,
    /// Its lease: with etcd as if it were the first to ask for one.
    subnet: String,
    nftables: bool,
    backend: Value,
}

impl Network {
    fn read(flags: &Flags, version: &Version) -> Result<Self, String> {
        // With etcd the real one finds it under its prefix there.
        let default = if flags.is_on("kube-subnet-mgr") { Some("/etc/kube-flannel/net-conf.json") } else { None };
        let Some(path) = flags.get("net-config-path").or(default) else {
            let (cidr, subnet) = ("10.244.0.0/16".to_owned(), "10.244.0.0/24".to_owned());
            return Ok(Self { cidr, subnet, nftables: false, backend: serde_json::json!({ "Type": "vxlan" }) });
        };
        let text = files::read_text(Path::new(path)).map_err(|error| format!("failed to read net conf: {error}"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("error parsing subnet config: {error}"))?;
        let object = value.as_object().ok_or("error parsing subnet config: json: it is no object")?;
        if let Some(wrong) = wrong_type(object, None, version) {
            return Err(format!("error parsing subnet config: {wrong}"));
        }
        let backend = value["Backend"]["Type"].as_str();
        if let (Some(fields), Some(kind)) = (value["Backend"].as_object(), backend)
            && let Some(wrong) = wrong_type(fields, Some(kind), version)
        {
            return Err(format!("error decoding {kind} backend config: {wrong}"));
        }
        let cidr = value["Network"].as_str().ok_or("error parsing subnet config: please define a correct Network parameter")?;
        Ok(Self {
            cidr: cidr.to_owned(),
            subnet: format!("{}/24", cidr.split('/').next().unwrap_or_default()),
            nftables: value["EnableNFTables"].as_bool().unwrap_or(false),
            backend: value["Backend"].clone(),
        })
    }

    /// The code takes udp where no type is given, whatever the documentation says.
    fn backend_type(&self) -> &str {
        self.backend["Type"].as_str().unwrap_or("udp")
    }

    fn port(&self, default: u16) -> u16 {
        self.backend["Port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0).unwrap_or(default)
    }

    fn check_host(&self) -> Result<(), String> {
        if self.nftables {
            return Ok(());
        }
        if !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
            return Err("Failed to check br_netfilter: stat /proc/sys/net/bridge/bridge-nf-call-iptables: no such file or \
                directory"
                .to_owned());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("iptables").exists()) {
            return Err("Failed to setup masq rules: exec: \"iptables\": executable file not found in $PATH".to_owned());
        }
        Ok(())
    }

    async fn start_backend(&self, interface: &Interface) -> Result<(), String> {
        match self.backend_type() {
            "vxlan" => self.start_vxlan(interface).await,
            "udp" => {
                let address = (interface.address, self.port(8285));
                let socket = UdpSocket::bind(address).await;
                // Held until the process ends.
                std::mem::forget(socket.map_err(|error| format!("failed to start listening on UDP socket: {error}"))?);
                start_tunnel(&format!("{}/32", self.first_address()?), &self.cidr).await
            }
            "host-gw" => Ok(()),
            other => Err(format!("the stand-in does not play the backend {other:?}")),
        }
    }

    /// The device stays when flanneld ends, and is taken over when it is the same.
    async fn start_vxlan(&self, interface: &Interface) -> Result<(), String> {
        let vni = self.backend["VNI"].as_u64().unwrap_or(1).to_string();
        let device = format!("flannel.{vni}");
        let (local, port) = (interface.address.to_string(), self.port(8472).to_string());
        if ip(&["-json", "link", "show", &device]).await.is_err() {
            let add = ["link", "add", &device, "type", "vxlan", "id", &vni, "dev", &interface.name, "local", &local, "dstport"];
            ip(&[&add[..], &[&port, "nolearning"]].concat()).await?;
        }
        ip(&["address", "replace", &format!("{}/32", self.first_address()?), "dev", &device]).await?;
        ip(&["link", "set", &device, "up"]).await.map(drop)
    }

    /// The first address of the node's subnet.
    fn first_address(&self) -> Result<Ipv4Addr, String> {
        let address = self.subnet.split('/').next().unwrap_or_default();
        address.parse().map_err(|_| format!("error parsing subnet config: invalid CIDR address: {}", self.subnet))
    }

    fn write_subnet(&self, flags: &Flags, interface: &Interface) -> Result<(), String> {
        let overhead = match self.backend_type() {
            "vxlan" => 50,
            "udp" => 28,
            _ => 0,
        };
        let content = format!(
            "FLANNEL_NETWORK={}\nFLANNEL_SUBNET={}/{}\nFLANNEL_MTU={}\nFLANNEL_IPMASQ={}\n",
            self.cidr,
            Ipv4Addr::from(u32::from(self.first_address()?) + 1),
            self.subnet.rsplit('/').next().unwrap_or("24"),
            self.backend["MTU"].as_u64().unwrap_or(interface.mtu).saturating_sub(overhead),
            flags.is_on("ip-masq"),
        );
        let path = Path::new(flags.get("subnet-file").unwrap_or("/run/flannel/subnet.env"));
        if let Some(directory) = path.parent() {
            files::create_directory(directory, 0o755).map_err(|error| error.to_string())?;
        }
        files::write(path, content.as_bytes(), 0o644).map_err(|error| error.to_string())
    }
}

/// The udp backend's device, with the whole network behind it. The real one's vanishes with it; this one stays, and is taken
/// over.
async fn start_tunnel(address: &str, network: &str) -> Result<(), String> {
    const DEVICE: &str = "flannel0";
    if ip(&["-json", "link", "show", DEVICE]).await.is_err() {
        ip(&["tuntap", "add", "dev", DEVICE, "mode", "tun"])
            .await
            .map_err(|error| format!("failed to open TUN device: {error}"))?;
    }
    ip(&["address", "replace", address, "dev", DEVICE]).await?;
    ip(&["link", "set", DEVICE, "up"]).await?;
    ip(&["route", "replace", network, "dev", DEVICE]).await.map(drop)
}

/// The Node's network, with the identity of its kubeconfig; and its Node tells the others how to reach it.
async fn acquire_lease(flags: &Flags, interface: &Interface) -> Result<String, String> {
    let Ok(node) = std::env::var("NODE_NAME") else {
        return Err("Failed to create SubnetManager: env variables POD_NAME and POD_NAMESPACE must be set".to_owned());
    };
    let path = Path::new(flags.get("kubeconfig-file").unwrap_or_default());
    let unusable = |error: kubeconfig::KubeconfigError| {
        format!("Failed to create SubnetManager: fail to create kubernetes config: {error}")
    };
    let (server, credential) = (kubeconfig::server(path).map_err(unusable)?, kubeconfig::credential(path).map_err(unusable)?);
    let api = Api { server: &server, credential: &credential };
    let failed = |error: String| format!("Error registering network: failed to acquire lease: {error}");
    let object = api.get(&format!("/api/v1/nodes/{node}")).await.map_err(failed)?;
    let Some(cidr) = object["spec"]["podCIDR"].as_str() else {
        return Err(failed(format!("node {node:?} pod cidr not assigned")));
    };
    let annotations = serde_json::json!({ "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/public-ip": interface.address.to_string() });
    let told = serde_json::json!({ "metadata": { "annotations": annotations } });
    api.patch(&format!("/api/v1/nodes/{node}/status"), &told).await.map_err(failed)?;
    Ok(cidr.to_owned())
}

/// Runs ip(8); what it prints is JSON or nothing.
async fn ip(arguments: &[&str]) -> Result<Value, String> {
    let output = Invocation::new("ip").args(arguments).run().await.and_then(crate::host::process::Output::success);
    let output = output.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&output.stdout).unwrap_or(Value::Null))
}
