//! What only a host with a systemd of its own can show of others on it: a kubelet in a container, units' environments.

use crate::{
    machine::HOSTLET,
    sys_preflight::{booted, ended, preflight},
};

#[tokio::test]
async fn sys_a_kubelet_in_a_container_is_named_with_what_stops_the_container() {
    let machine = booted().await;
    ended(&preflight(&machine).await, "existing", "pass", "none");
    // As Docker has systemd make it.
    let id = "0123456789abcdef".repeat(4);
    machine
        .script(&format!(
            "cp /bin/sleep /usr/local/bin/kubelet
            systemd-run --quiet --unit=docker-{id}.scope --scope /usr/local/bin/kubelet 1000 >/dev/null 2>&1 &
            until pgrep --exact kubelet >/dev/null; do sleep 0.05; done; disown"
        ))
        .await
        .unwrap();
    let report = preflight(&machine).await;
    ended(&report, "existing", "failure", ", in a container");
    let findings = report["findings"].as_array().unwrap();
    let existing = findings.iter().find(|finding| finding["id"] == "existing").unwrap();
    assert!(existing["remedy"].as_str().unwrap().contains("docker rm --force 0123456789ab"), "{existing:#}");
}

#[tokio::test]
async fn sys_a_proxy_in_the_runtimes_unit_is_named_with_the_unit() {
    let machine = booted().await;
    // The loopback is never reached through a proxy, and this cluster's API server is there: it is the services' network.
    let settings = "[cluster]\nservice-cidr = \"10.96.0.0/12\"\n";
    machine.write("/etc/hostlet/hostlet.d/50-test.toml", settings, 0o644).await.unwrap();
    ended(&preflight(&machine).await, "proxy", "pass", "none is set");
    let drop_in = "/etc/systemd/system/containerd.service.d/proxy.conf";
    let with = |more: &str| format!("[Service]\nEnvironment=HTTPS_PROXY=http://proxy.test:3128 {more}\n");
    machine.write(drop_in, with(""), 0o644).await.unwrap();
    machine.script("systemctl daemon-reload && systemctl restart containerd").await.unwrap();
    let said = "containerd.service: the services' network 10.96.0.0/12 through the proxy proxy.test:3128";
    ended(&preflight(&machine).await, "proxy", "warning", said);
    machine.write(drop_in, with("NO_PROXY=10.96.0.0/12"), 0o644).await.unwrap();
    machine.script("systemctl daemon-reload && systemctl restart containerd").await.unwrap();
    ended(&preflight(&machine).await, "proxy", "pass", "excepted in containerd.service");
    // Where nothing runs, the unit's own lines count.
    machine.write(drop_in, with(""), 0o644).await.unwrap();
    machine.script("systemctl daemon-reload && systemctl stop containerd").await.unwrap();
    ended(&preflight(&machine).await, "proxy", "warning", said);
}

/// The wall time of each check and of the whole, on a host on which nothing is wrong, with its API server and sources.
#[tokio::test]
async fn sys_a_host_with_a_cluster_is_looked_at_in_a_fraction_of_a_second() {
    let machine = booted().await;
    let report = preflight(&machine).await;
    for id in ["apiserver", "version-skew", "node-name-free", "sources", "duplicate-ip", "proxy"] {
        ended(&report, id, "pass", "");
    }
    let mut slowest: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["duration-ms"].as_f64().unwrap(), finding["id"].to_string()))
        .collect();
    slowest.sort_by(|one, other| other.0.total_cmp(&one.0));
    println!("{slowest:#?}\nthe whole: {} ms ({HOSTLET})", report["duration-ms"]);
    assert!(report["duration-ms"].as_f64().unwrap() < 1000.0);
}
