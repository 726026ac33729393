//! Debian's containerd and CNI plugins with what hostlet lays: from a node without a network to a pod with an address.
//!
//! flannel's own plugin is in no registry: a stand-in reads subnet.env and delegates, and Debian's bridge, host-local and
//! portmap do the work.

use std::{path::Path, process::Command};

use hostlet::{
    host::cri::RuntimeService,
    model::Digest,
    rehearse::{Machine, set_up_stand_ins},
};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Uri},
};

use crate::machine::{HOSTLET, boot_with_hostlet};

const CONFIGURATION: &str = "/etc/hostlet/hostlet.toml";

/// The messages that pods' sandboxes need, by the field numbers of CRI's api.proto (kubernetes/cri-api, v1).
mod messages {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RunPodSandboxRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) config: Option<PodSandboxConfig>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PodSandboxConfig {
        #[prost(message, optional, tag = "1")]
        pub(super) metadata: Option<PodSandboxMetadata>,
        #[prost(string, tag = "2")]
        pub(super) hostname: String,
        #[prost(message, repeated, tag = "5")]
        pub(super) port_mappings: Vec<PortMapping>,
        #[prost(message, optional, tag = "8")]
        pub(super) linux: Option<LinuxPodSandboxConfig>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PodSandboxMetadata {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) uid: String,
        #[prost(string, tag = "3")]
        pub(super) namespace: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PortMapping {
        /// `Protocol`: 0 is TCP.
        #[prost(int32, tag = "1")]
        pub(super) protocol: i32,
        #[prost(int32, tag = "2")]
        pub(super) container_port: i32,
        #[prost(int32, tag = "3")]
        pub(super) host_port: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct LinuxPodSandboxConfig {
        #[prost(string, tag = "1")]
        pub(super) cgroup_parent: String,
    }

    /// The answer to RunPodSandbox, and the question of the other methods.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SandboxId {
        #[prost(string, tag = "1")]
        pub(super) id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PodSandboxStatusResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) status: Option<PodSandboxStatus>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PodSandboxStatus {
        #[prost(message, optional, tag = "5")]
        pub(super) network: Option<PodSandboxNetworkStatus>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PodSandboxNetworkStatus {
        #[prost(string, tag = "1")]
        pub(super) ip: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Nothing {}
}

use messages::{
    LinuxPodSandboxConfig, Nothing, PodSandboxConfig, PodSandboxMetadata, PodSandboxStatusResponse, PortMapping,
    RunPodSandboxRequest, SandboxId,
};

/// The copy's runtime, as the kubelet would use it.
struct Runtime(Grpc<Channel>);

impl Runtime {
    async fn dial(machine: &Machine) -> Self {
        let path = machine.path("/run/containerd/containerd.sock");
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        Self(Grpc::new(Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()))
    }

    async fn call<Q, A>(&mut self, method: &'static str, question: Q) -> Result<A, String>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.0.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::default();
        let answer = self.0.unary(Request::new(question), PathAndQuery::from_static(method), codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    }

    async fn run(&mut self, name: &str, port_mappings: Vec<PortMapping>) -> Result<String, String> {
        let metadata =
            PodSandboxMetadata { name: name.to_owned(), uid: format!("{name}-uid"), namespace: "default".to_owned() };
        let config = PodSandboxConfig {
            metadata: Some(metadata),
            hostname: name.to_owned(),
            port_mappings,
            linux: Some(LinuxPodSandboxConfig::default()),
        };
        let request = RunPodSandboxRequest { config: Some(config) };
        let answer: SandboxId = self.call("/runtime.v1.RuntimeService/RunPodSandbox", request).await?;
        Ok(answer.id)
    }

    async fn address(&mut self, id: &str) -> String {
        let question = SandboxId { id: id.to_owned() };
        let answer: PodSandboxStatusResponse =
            self.call("/runtime.v1.RuntimeService/PodSandboxStatus", question).await.unwrap();
        answer.status.unwrap().network.unwrap().ip
    }

    async fn remove(&mut self, id: &str) {
        for method in ["/runtime.v1.RuntimeService/StopPodSandbox", "/runtime.v1.RuntimeService/RemovePodSandbox"] {
            let _: Nothing = self.call(method, SandboxId { id: id.to_owned() }).await.unwrap();
        }
    }
}

/// An OCI archive with one static program that sleeps, under the name of the runtime's sandbox image.
fn pause_image(directory: &Path, name: &str) -> std::path::PathBuf {
    let program = directory.join("pause");
    std::fs::write(directory.join("pause.c"), "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n").unwrap();
    let compiled = Command::new("cc")
        .args(["-static", "-Os", "-s", "-o"])
        .arg(&program)
        .arg(directory.join("pause.c"))
        .status()
        .expect("apt-get install gcc libc6-dev");
    assert!(compiled.success());
    let mut layer = tar::Builder::new(Vec::new());
    let mut file = std::fs::File::open(&program).unwrap();
    layer.append_file("pause", &mut file).unwrap();
    let layer = layer.into_inner().unwrap();
    let digest = |content: &[u8]| Digest::of(content).to_string();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "os": "linux",
        "config": { "Entrypoint": ["/pause"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
    })
    .to_string();
    let described = |kind: &str, content: &[u8]| serde_json::json!({ "mediaType": kind, "digest": format!("sha256:{}", digest(content)), "size": content.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [described("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string();
    let mut entry = described("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    entry["annotations"] = serde_json::json!({ "io.containerd.image.name": name });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let blob = |content: &[u8]| (format!("blobs/sha256/{}", digest(content)), content.to_vec());
    let members = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
        blob(&layer),
        blob(config.as_bytes()),
        blob(manifest.as_bytes()),
    ];
    let path = directory.join("pause.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap();
    path
}

/// On cgroup v1 the copy sees the machine's own hierarchies, to read: each gets a group of its own to write, which goes with
/// this value, or, where that was killed, with the next one.
struct ControlGroups(String);

const V1: &str = "awk '$3 == \"cgroup\" && $4 !~ /name=/ { print $2 }' /proc/mounts";

impl ControlGroups {
    fn new() -> Self {
        Self(format!("hostlet-cni-{}", std::process::id()))
    }

    async fn give(&self, machine: &Machine) {
        for pid in groups_of("*").lines().filter_map(|path| path.rsplit('-').next()) {
            if !Path::new("/proc").join(pid).exists() {
                remove_groups(pid);
            }
        }
        let own = format!(
            "for directory in $({V1}); do mount -o remount,rw,bind $directory; mkdir $directory/{0}
            for file in cpuset.cpus cpuset.mems; do
                [ ! -f $directory/$file ] || cat $directory/$file >$directory/{0}/$file; done
            mount --bind $directory/{0} $directory; done",
            self.0
        );
        machine.script(&own).await.unwrap();
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        remove_groups(&std::process::id().to_string());
    }
}

fn groups_of(pid: &str) -> String {
    let name = format!("hostlet-cni-{pid}");
    let found = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &name, "-prune"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

fn remove_groups(pid: &str) {
    for group in groups_of(pid).lines() {
        let _ = Command::new("find").args([group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]).status();
    }
}

/// containerd as Debian has it, but for what this machine does not let it do: overlays on overlays, and lower oom scores.
async fn start_containerd(machine: &Machine, plugins: &str) {
    let configuration = format!(
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{plugins}\"\nconf_dir = \"/etc/cni/net.d\"\n"
    );
    machine.write("/etc/containerd/config.toml", configuration, 0o644).await.unwrap();
    let script = "systemctl stop containerd
        mountpoint --quiet /var/lib/containerd || mount -t tmpfs tmpfs /var/lib/containerd
        systemctl start containerd";
    machine.script(script).await.unwrap();
}

/// Imports an image that the runtime runs sandboxes of.
async fn import_pause(machine: &Machine) {
    let name = "containerd config dump | sed -n 's/^ *sandbox_image = \"\\(.*\\)\"/\\1/p'";
    let name = machine.script(name).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let image = pause_image(directory.path(), name.trim());
    machine.copy_in(&image, "/srv/pause.tar", 0o644).await.unwrap();
    machine.script("ctr --namespace k8s.io images import /srv/pause.tar").await.unwrap();
}

/// `NetworkReady`, as the runtime says it now.
async fn network_ready(machine: &Machine) -> (bool, String) {
    let path = machine.path("/run/containerd/containerd.sock");
    let network = RuntimeService::dial(&path).await.unwrap().readiness().await.unwrap().network.unwrap();
    (network.holds, network.explanation)
}

async fn found(machine: &Machine, id: &str) -> (String, String) {
    let output = machine.run(&[HOSTLET, "preflight", "--output", "json"]).await.unwrap();
    let report: serde_json::Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id).unwrap().clone();
    (finding["outcome"].as_str().unwrap().to_owned(), finding.to_string())
}

#[tokio::test]
async fn sys_a_node_without_a_network_gets_one_and_its_pods_addresses_of_the_nodes_subnet() {
    let groups = ControlGroups::new();
    let machine = boot_with_hostlet().await;
    groups.give(&machine).await;
    set_up_stand_ins(&machine, HOSTLET, CONFIGURATION, "{}").await.unwrap();

    // As Debian's package has it, pods would get no network, and the runtime would not say so.
    start_containerd(&machine, "/usr/lib/cni").await;
    let (outcome, text) = found(&machine, "cni-places").await;
    assert!(outcome == "failure" && text.contains("CNI plugins in /usr/lib/cni, and not in /opt/cni/bin"), "{text}");
    start_containerd(&machine, "/opt/cni/bin").await;
    let (outcome, text) = found(&machine, "cni-places").await;
    assert_eq!(outcome, "pass", "{text}");

    import_pause(&machine).await;
    let mut runtime = Runtime::dial(&machine).await;
    let (ready, why) = network_ready(&machine).await;
    assert!(!ready && why.contains("cni plugin not initialized"), "{why}");
    let refused = runtime.run("early", Vec::new()).await.unwrap_err();
    assert!(refused.contains("cni plugin not initialized"), "{refused}");

    machine.expect(&[HOSTLET, "install"]).await.unwrap();
    assert!(network_ready(&machine).await.0);
    let pod = pod_in_the_subnet(&machine, &mut runtime).await;
    without_a_subnet(&machine, &mut runtime).await;
    a_foreign_network_comes_first(&machine, &mut runtime).await;
    the_closed_unit_opens_its_tunnel(&machine).await;
    runtime.remove(&pod).await;
    assert_eq!(machine.script("ls /var/lib/cni/flannel; ls /var/lib/cni/networks/cbr0 | grep ^10. || true").await.unwrap(), "");
}

/// flannel's conflist, run by the real bridge, host-local and portmap.
async fn pod_in_the_subnet(machine: &Machine, runtime: &mut Runtime) -> String {
    let subnet = machine.read("/run/flannel/subnet.env").await.unwrap();
    assert!(subnet.contains("FLANNEL_SUBNET=10.244.0.1/24\n"), "{subnet}");
    let mapping = PortMapping { protocol: 0, container_port: 80, host_port: 18080 };
    let pod = runtime.run("first", vec![mapping]).await.unwrap();
    let address = runtime.address(&pod).await;
    assert!(address.starts_with("10.244.0.") && address != "10.244.0.1", "{address}");
    // The pod's own kernel says that nothing listens: the packets reach it and come back.
    let output = machine.run(&["bash", "-c", &format!("exec 3<>/dev/tcp/{address}/80")]).await.unwrap();
    assert!(output.stderr.contains("Connection refused"), "{output}");
    let bridge = machine.script("ip -4 -oneline address show cni0; ip link show master cni0").await.unwrap();
    // The overlay's 50 bytes less than the interface's 1500, or the pods' large packets are lost.
    assert!(bridge.contains("10.244.0.1/24") && bridge.contains("mtu 1450"), "{bridge}");
    let rules = machine.script("iptables-save -t nat").await.unwrap();
    assert!(rules.contains(&format!("--to-destination {address}:80")), "{rules}");
    pod
}

/// The udp backend, in which flanneld carries the packets, in the unit that is closed to almost everything.
async fn the_closed_unit_opens_its_tunnel(machine: &Machine) {
    let exposure = machine.script("systemd-analyze security --no-pager flanneld.service | tail -n1").await.unwrap();
    println!("{exposure}");
    assert!(exposure.contains("OK") || exposure.contains("LOW"), "{exposure}");
    machine
        .write("/etc/hostlet/hostlet.d/60-udp.toml", "[cluster]\nready-timeout = 20\n[flannel]\nbackend = \"udp\"\n", 0o644)
        .await
        .unwrap();
    machine.expect(&[HOSTLET, "install"]).await.unwrap();
    let device = machine.script("ip -details link show flannel0; cat /run/flannel/subnet.env").await.unwrap();
    assert!(device.contains("tun type tun") && device.contains("FLANNEL_MTU=1472"), "{device}");
    assert_eq!(machine.script("systemctl show --value --property=NRestarts flanneld").await.unwrap(), "0\n");
}

/// What a pod meets while flannel has no lease.
async fn without_a_subnet(machine: &Machine, runtime: &mut Runtime) {
    machine.script("systemctl stop flanneld; rm -f /run/flannel/subnet.env").await.unwrap();
    let refused = runtime.run("second", Vec::new()).await.unwrap_err();
    assert!(refused.contains("failed to load flannel 'subnet.env' file: open /run/flannel/subnet.env"), "{refused}");
    assert!(network_ready(machine).await.0, "the runtime knows nothing of that");
    machine.expect(&["systemctl", "start", "flanneld"]).await.unwrap();
    let pod = runtime.run("third", Vec::new()).await.unwrap();
    assert!(runtime.address(&pod).await.starts_with("10.244.0."));
    runtime.remove(&pod).await;
}

/// The runtime takes the first configuration by name, and preflight says so.
async fn a_foreign_network_comes_first(machine: &Machine, runtime: &mut Runtime) {
    let other = r#"{ "cniVersion": "0.3.1", "name": "left-behind", "plugins": [{ "type": "bridge", "bridge": "other0",
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.99.0.0/24" }]] } }] }"#;
    machine.write("/etc/cni/net.d/05-left-behind.conflist", other, 0o644).await.unwrap();
    // containerd hears of it through inotify.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pod = runtime.run("astray", Vec::new()).await.unwrap();
    assert!(runtime.address(&pod).await.starts_with("10.99.0."));
    runtime.remove(&pod).await;
    let (outcome, text) = found(machine, "leftovers").await;
    assert!(outcome == "failure" && text.contains("05-left-behind.conflist"), "{text}");
    machine.script("rm /etc/cni/net.d/05-left-behind.conflist; sleep 0.2").await.unwrap();
}
