//! A kubelet that runs no pods, and otherwise starts, joins, fails and serves as the real one does.
//!
//! Sources: kubernetes 1.36, cmd/kubelet/app/server.go and options.go.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Behaviour, Release, flags::Flags, join::Join, notify, say};
use crate::{
    config::{FeatureGates, GateProblem, KubeletFlag, kubelet_flags, parse_feature_gates, unknown_kubelet_fields},
    host::{
        cri::RuntimeService,
        files, kernel,
        mounts::{MountTable, Process},
        parameters,
        process::Invocation,
    },
    plan::KERNEL_DEFAULTS,
};

/// What a health endpoint answers.
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// The pod whose secret it mounts.
const POD: &str = "5ec7e700-0000-4000-8000-000000000001";

pub(super) async fn run(arguments: &[String]) -> Result<u8, String> {
    let release = Release::of(Path::new("/proc/self/exe")).map_err(|error| error.to_string())?;
    let (known, switches) = known_flags(&release);
    let flags = Flags::parse(arguments, &known, &switches).map_err(|error| format!("failed to parse kubelet flag: {error}"))?;
    if flags.is_on("version") {
        super::print(&format!("Kubernetes v{}", release.version));
        return Ok(0);
    }
    say(&format!("Kubelet version v{} (a stand-in of hostlet's)", release.version));
    if release.behaviour == Behaviour::ExitAtStart {
        return Err("panic: this release does not start".to_owned());
    }
    let configuration = Configuration::read(&flags, &release)?;
    configuration.check_host(&release)?;
    let join = join(&flags, &configuration, &release)?;
    let root = PathBuf::from(flags.get("root-dir").unwrap_or("/var/lib/kubelet"));
    make_shared(&root).await?;
    check_runtime(&configuration.runtime).await?;
    if let Some(join) = join {
        mount_secret(&root).await?;
        tokio::spawn(join.run());
    }
    listen(configuration.address, b"").await?;
    if let Some(address) = configuration.healthz.filter(|_| release.behaviour != Behaviour::NoHealthz) {
        listen(address, OK).await?;
    }
    notify::live(release.behaviour).await
}

/// The flags that its version has, those with a value and those without. One that is gone stops the real one, too.
fn known_flags(release: &Release) -> (String, String) {
    let version = release.parsed();
    let there = kubelet_flags().filter(|flag| flag.availability.absence(&version).is_none());
    let (switches, known): (Vec<_>, Vec<_>) = there.partition(|flag| flag.switch);
    let join = |flags: Vec<KubeletFlag>| flags.iter().map(|flag| flag.name).collect::<Vec<_>>().join(" ");
    (join(known), join(switches))
}

/// What it takes of its KubeletConfiguration.
struct Configuration {
    runtime: PathBuf,
    address: SocketAddr,
    healthz: Option<SocketAddr>,
    value: Value,
}

impl Configuration {
    fn read(flags: &Flags, release: &Release) -> Result<Self, String> {
        // The real one would start with insecure defaults: hostlet must never let it.
        let path = flags.get("config").ok_or("the stand-in needs --config")?;
        let text = files::read_text(Path::new(path)).map_err(|error| format!("failed to load kubelet config file: {error}"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("failed to decode {path}: {error}"))?;
        if value["kind"] != "KubeletConfiguration" || value["apiVersion"] != "kubelet.config.k8s.io/v1beta1" {
            return Err(format!("failed to decode {path}: it is no KubeletConfiguration of kubelet.config.k8s.io/v1beta1"));
        }
        // Its decoder is strict first, and lenient with one line in the log where that fails.
        for field in value.as_object().map(|fields| unknown_kubelet_fields(fields, &release.parsed())).unwrap_or_default() {
            // kind and apiVersion are in every object.
            if !matches!(field.as_str(), "kind" | "apiVersion") {
                say(&format!(
                    "\"Using lenient decoding as strict decoding failed\" err=\"strict decoding error: unknown field \\\"{field}\\\"\""
                ));
            }
        }
        check_feature_gates(flags, &value, release)?;
        let endpoint = flags.get("container-runtime-endpoint").or(value["containerRuntimeEndpoint"].as_str());
        let runtime =
            endpoint.and_then(|endpoint| endpoint.strip_prefix("unix://")).unwrap_or("/run/containerd/containerd.sock");
        let address = |key: &str, default: IpAddr, port: &str, default_port: u16| -> Result<SocketAddr, String> {
            let ip = value[key].as_str().map_or(Ok(default), str::parse).map_err(|_| format!("{key}: invalid IP"))?;
            let port = value[port].as_u64().map_or(Ok(default_port), u16::try_from).map_err(|_| format!("{port}: invalid"))?;
            Ok(SocketAddr::new(ip, port))
        };
        let healthz = address("healthzBindAddress", Ipv4Addr::LOCALHOST.into(), "healthzPort", 10248)?;
        Ok(Self {
            runtime: PathBuf::from(runtime),
            address: address("address", Ipv4Addr::UNSPECIFIED.into(), "port", 10250)?,
            healthz: (healthz.port() != 0).then_some(healthz),
            value,
        })
    }

    /// What stops the real one on an unfit host.
    fn check_host(&self, release: &Release) -> Result<(), String> {
        let fails_on_v1 = self.value["failCgroupV1"].as_bool().unwrap_or(release.minor() >= (1, 35));
        if fails_on_v1 && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            return Err("kubelet is configured to not run on a host using cgroup v1".to_owned());
        }
        let swaps = files::read_text(Path::new("/proc/swaps")).unwrap_or_default();
        if self.value["failSwapOn"].as_bool().unwrap_or(true) && swaps.lines().count() > 1 {
            return Err(
                "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false".to_owned()
            );
        }
        if let Some(path) = self.value["authentication"]["x509"]["clientCAFile"].as_str() {
            files::read(Path::new(path)).map_err(|error| format!("unable to load client CA file: {error}"))?;
        }
        files::open(Path::new("/dev/kmsg"))
            .map_err(|error| format!("failed to run Kubelet: failed to create kubelet: {error}"))?;
        self.set_kernel_parameters()
    }

    /// The real one does so a moment after it has told systemd that it is ready, and ends where it cannot.
    fn set_kernel_parameters(&self) -> Result<(), String> {
        let insists = self.value["protectKernelDefaults"].as_bool().unwrap_or(false);
        for (name, value) in KERNEL_DEFAULTS {
            let found = kernel::setting(name).map_err(|error| error.to_string())?;
            match found.as_deref() {
                Some(found) if found == value => Ok(()),
                found if insists => Err(format!(
                    "invalid kernel flag: {name}, expected value: {value}, actual value: {}",
                    found.unwrap_or_default()
                )),
                _ => parameters::set_sysctl(name, value).map_err(|error| format!("Failed to start ContainerManager: {error}")),
            }?;
        }
        Ok(())
    }
}

/// One that is misspelt, gone, locked or without what it needs stops the real one.
fn check_feature_gates(flags: &Flags, value: &Value, release: &Release) -> Result<(), String> {
    let field = value["featureGates"].as_object().into_iter().flatten();
    let mut set: BTreeMap<String, bool> = field.filter_map(|(name, on)| Some((name.clone(), on.as_bool()?))).collect();
    set.extend(flags.get("feature-gates").map_or_else(|| Ok(BTreeMap::new()), parse_feature_gates)?);
    let version = release.parsed();
    let Some((name, problem)) = FeatureGates::new(&version, &set).problems().into_iter().next() else { return Ok(()) };
    let why = match problem {
        GateProblem::Unknown { .. } | GateProblem::Absent(_) => format!("unrecognized feature gate: {name}"),
        GateProblem::Locked { to } => format!("cannot set feature gate {name} to {}, feature is locked to {to}", !to),
        GateProblem::Needs { other } => {
            format!("{name} is enabled, but depends on features that are disabled: [{other}]")
        }
    };
    Err(format!("failed to set feature gates from initial flags-based config: {why}"))
}

/// How it joins a cluster, where it does. As the real one with rotateCertificates, it writes the kubeconfig at once.
fn join(flags: &Flags, configuration: &Configuration, release: &Release) -> Result<Option<Join>, String> {
    let Some(kubeconfig) = flags.get("kubeconfig") else { return Ok(None) };
    let certificates = PathBuf::from(flags.get("cert-dir").unwrap_or("/var/lib/kubelet/pki"));
    let address = flags.get("node-ip").and_then(|addresses| addresses.split(',').next()).unwrap_or_default();
    let hostname = || sysinfo::System::host_name().unwrap_or_default().to_lowercase();
    let join = Join {
        node: flags.get("hostname-override").map_or_else(hostname, str::to_owned),
        address: address.to_owned(),
        version: release.version.clone(),
        kubeconfig: kubeconfig.into(),
        bootstrap: flags.get("bootstrap-kubeconfig").unwrap_or_default().into(),
        certificates,
        runtime: configuration.runtime.clone(),
        never_ready: release.behaviour == Behaviour::NeverReady,
    };
    if join.is_valid() {
        return Ok(Some(join));
    }
    let Some(bootstrap) = flags.get("bootstrap-kubeconfig") else {
        return Err(format!("invalid kubeconfig: {kubeconfig} holds no client certificate that is valid"));
    };
    let text =
        files::read_text(Path::new(bootstrap)).map_err(|error| format!("unable to load bootstrap kubeconfig: {error}"))?;
    let bootstrap: Value =
        serde_json::from_str(&text).map_err(|error| format!("unable to load bootstrap kubeconfig: {error}"))?;
    let certificate = join.certificates.join("kubelet-client-current.pem");
    let kubeconfig_content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "default-cluster", "cluster": bootstrap["clusters"][0]["cluster"] }],
        "contexts": [{ "name": "default-context",
            "context": { "cluster": "default-cluster", "namespace": "default", "user": "default-auth" } }],
        "current-context": "default-context",
        "users": [{ "name": "default-auth",
            "user": { "client-certificate": certificate, "client-key": certificate } }],
    });
    files::write(Path::new(kubeconfig), kubeconfig_content.to_string().as_bytes(), 0o600).map_err(|error| error.to_string())?;
    Ok(Some(join))
}

/// Makes the root directory's mount shared in its own namespace, and only there; a bind of its own where it has none.
async fn make_shared(root: &Path) -> Result<(), String> {
    files::create_directory(root, 0o750).map_err(|error| error.to_string())?;
    let root = root.to_string_lossy();
    let propagation = tool("findmnt", &["--noheadings", "--output", "PROPAGATION", "--target", &root]).await?;
    if !propagation.contains("shared") {
        tool("mount", &["--bind", &root, &root]).await?;
        tool("mount", &["--make-rshared", &root]).await?;
    }
    Ok(())
}

/// A secret as a pod gets it: a tmpfs of its own, with the file in it. It stays when the kubelet ends.
async fn mount_secret(root: &Path) -> Result<(), String> {
    let directory = root.join(format!("pods/{POD}/volumes/kubernetes.io~secret/token"));
    // Another kubelet may have left the directory without the mount: the real one, too, looks for the mount.
    let table = MountTable::of(Process::Own).map_err(|error| error.to_string())?;
    if table.covering(&directory).is_none_or(|mount| mount.mount_point != directory) {
        files::create_directory(&directory, 0o755).map_err(|error| error.to_string())?;
        tool("mount", &["-t", "tmpfs", "-o", "size=65536", "tmpfs", &directory.to_string_lossy()]).await?;
    }
    files::write(&directory.join("token"), b"a rehearsal's secret\n", 0o644).map_err(|error| error.to_string())
}

/// The real one asks for CRI v1's Version and ends when there is no answer.
async fn check_runtime(socket: &Path) -> Result<(), String> {
    let answer = async { RuntimeService::dial(socket).await?.version().await };
    answer.await.map(drop).map_err(|error| format!("failed to run Kubelet: validate service connection: {error}"))
}

/// Answers every connection with the same bytes.
pub(super) async fn listen(address: SocketAddr, answer: &'static [u8]) -> Result<(), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("listen tcp {address}: bind: {error}"))?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if !answer.is_empty() && stream.read(&mut request).await.is_ok() {
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    Ok(())
}

async fn tool(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Invocation::new(program).args(arguments).run().await.and_then(crate::host::process::Output::success);
    output.map(|output| output.stdout).map_err(|error| error.to_string())
}
