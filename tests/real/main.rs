//! A node of real programs: etcd, kube-apiserver, kube-controller-manager and kubeadm make the cluster; hostlet installs kubelet,
//! flanneld and the CNI plugins; containerd and then CRI-O run a pod that reads a secret. See tests/with-real-kubernetes.
//!
//! Gap: the machine is a copy with this machine's kernel and cgroup version, and it has one node.
#![allow(clippy::print_stdout, reason = "it prints what it found")]

mod node;

use std::{env, path::PathBuf};

use anyhow::{Context, Result, ensure};
use node::Node;

/// What has to lie in the directory.
const PROGRAMS: [&str; 18] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
    "kubeadm",
    "kubelet",
    "previous-kubelet",
    "flanneld",
    "flannel",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
    "containerd",
    "containerd-shim-runc-v2",
    "crio",
    "conmon",
    "pinns",
];
/// What the pod prints.
const WORD: &str = "a secret of the real cluster";

#[tokio::main]
async fn main() -> Result<()> {
    let directory = env::args().nth(1).context("tests/with-real-kubernetes DIRECTORY")?;
    let directory = PathBuf::from(directory);
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !directory.join(program).is_file()).collect();
    ensure!(missing.is_empty(), "{} does not have: {}", directory.display(), missing.join(", "));
    for runtime in ["containerd", "crio"] {
        let node = Node::boot(&directory, &PROGRAMS, runtime).await.with_context(|| format!("with {runtime}"))?;
        life_of_a_node(&node).await.with_context(|| format!("with {runtime}"))?;
    }
    println!("all of it holds, with containerd and with CRI-O");
    Ok(())
}

async fn life_of_a_node(node: &Node) -> Result<()> {
    let output = node.hostlet("preflight").await?;
    ensure!(output.contains("pass     flannel-rbac"), "{output}");
    let output = node.hostlet("install").await?;
    ensure!(output.contains("The Node is Ready") && output.contains("Node registered"), "{output}");
    println!("{}", node.kubectl("get node --output=wide").await?);

    node.pod().await?;
    node.pod_says(WORD).await?;
    let output = node.hostlet("install").await?;
    ensure!(output.contains("Nothing to do"), "{output}");

    let versions = node.versions().await?;
    node.hostlet(&format!("upgrade {}", versions.current)).await?;
    node.is_ready_with(&versions.current).await?;
    node.hostlet("rollback").await?;
    node.is_ready_with(&versions.previous).await?;

    for change in ["backend = \"udp\"", "backend = \"host-gw\"", "backend = \"vxlan\"\nnftables = true", "backend = \"vxlan\""]
    {
        node.change_flannel(change).await?;
    }

    // The pod was there all the time.
    let restarts = node.kubectl("get pod reader --output=jsonpath={.status.containerStatuses[0].restartCount}").await?;
    ensure!(restarts == "0", "the pod was restarted {restarts} times");
    let status = node.hostlet("status").await?;
    ensure!(status.contains("Node: Ready") && status.contains("Mount propagation: proved"), "{status}");
    let output = node.hostlet("uninstall").await?;
    ensure!(output.contains("Uninstalled generation"), "{output}");
    let left = node.script("grep /var/lib/kubelet /proc/1/mountinfo || true; ip -oneline link | grep flannel || true").await?;
    ensure!(left.is_empty(), "after the uninstallation there is still: {left}");
    Ok(())
}
