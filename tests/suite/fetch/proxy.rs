//! A proxy from the environment.

use std::{path::Path, process::Command, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::bench::{Bench, content};

const TOLD: &str = "HOSTLET_TEST_FETCH_THROUGH_PROXY";

/// The process runs itself once more as the client: its environment names the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_the_environment_is_used_and_sees_only_tls() {
    if let Some(told) = std::env::var_os(TOLD) {
        return client(Path::new(&told)).await;
    }
    let bench = Bench::new().await;
    let url = bench.server.put("/kubelet", &content(10_000), []);
    std::fs::write(bench.directory.path().join("source"), url.as_str()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://us3r:passw0rd@{}", listener.local_addr().unwrap());
    let heads = Arc::<std::sync::Mutex<String>>::default();
    let proxying = tokio::spawn(connect(listener, Arc::clone(&heads)));
    let told = bench.directory.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fetch::proxy::a_proxy_of_the_environment_is_used_and_sees_only_tls", "--nocapture"])
            .env(TOLD, told)
            .env("HTTPS_PROXY", proxy)
            .env_remove("https_proxy")
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    proxying.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let heads = heads.lock().unwrap().clone();
    assert!(heads.starts_with(&format!("CONNECT {}", bench.server.address)), "{heads}");
    assert!(heads.to_lowercase().contains("proxy-authorization: basic"), "{heads}");
    assert!(!bench.server.seen()[0].head.to_lowercase().contains("proxy-authorization"));
}

async fn client(directory: &Path) {
    let sources = hostlet::config::Sources {
        ca_file: Some(directory.join("ca.pem")),
        stall_timeout: std::time::Duration::from_secs(10),
        attempts: 1,
        ..hostlet::config::Sources::default()
    };
    let events = Arc::new(hostlet::output::Silent);
    let fetcher = hostlet::fetch::Fetcher::new(&sources, directory.join("cache"), events).unwrap();
    let url = std::fs::read_to_string(directory.join("source")).unwrap().parse().unwrap();
    fetcher.fetch_all(vec![super::bench::request(&content(10_000), &url)]).await.unwrap().kept().await.unwrap();
}

async fn connect(listener: TcpListener, heads: Arc<std::sync::Mutex<String>>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split_whitespace().nth(1).unwrap().to_owned();
        heads.lock().unwrap().push_str(&head);
        let mut server = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
    }
}
