//! Whom the client believes.

use std::sync::Arc;

use hostlet::{fetch::Fetcher, output::Silent};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{
    bench::{Bench, content},
    server::Server,
};

#[tokio::test]
async fn a_foreign_authority_is_refused_at_once() {
    let mut bench = Bench::new().await;
    bench.sources.ca_file = None;
    let body = content(10);
    let url = bench.server.put("/kubelet", &body, []);
    let error = bench.refused(&body, &url).await;
    // A machine may have no authorities of its own at all: that has its own message.
    let text = error.to_string();
    assert!(
        text.contains("cannot be trusted: invalid peer certificate: UnknownIssuer") || text.contains("TLS cannot be"),
        "{text}"
    );
    assert!(error.remedy().contains("sources.ca-file"), "{}", error.remedy());
    assert!(bench.warnings().is_empty(), "it is not tried again");
}

#[tokio::test]
async fn another_authority_in_the_file_does_not_help() {
    let bench = Bench::new().await;
    let other = Server::start().await;
    let url = other.put("/kubelet", b"x", []);
    let error = bench.refused(b"x", &url).await;
    assert!(error.to_string().contains("cannot be trusted: invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let bench = Bench::new().await;
    let other = Server::start_as("other.example").await;
    std::fs::write(bench.sources.ca_file.as_ref().unwrap(), &other.authority).unwrap();
    let url = other.put("/kubelet", b"x", []);
    let error = bench.refused(b"x", &url).await;
    assert!(error.to_string().contains("cannot be trusted") && error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_is_not_tried_again() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/kubelet", listener.local_addr().unwrap()).parse().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let error = bench.refused(b"x", &url).await;
    plain.await.unwrap();
    assert!(error.to_string().contains("cannot be trusted"), "{error}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_tried_again() {
    let mut bench = Bench::new().await;
    bench.sources.attempts = 2;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = bench.refused(b"x", &format!("https://{free}/kubelet").parse().unwrap()).await;
    assert!(error.to_string().contains("no connection") && error.to_string().contains("refused"), "{error}");
    assert!(error.to_string().ends_with("(after 2 attempts)"), "{error}");
}

#[tokio::test]
async fn a_file_with_authorities_that_holds_none_is_refused_by_name() {
    let bench = Bench::new().await;
    let path = bench.sources.ca_file.clone().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, expected) in [
        ("hello", "holds no PEM certificate"),
        ("", "holds no PEM"),
        (broken, "it is not PEM"),
        (empty, "certificate 1 cannot be used"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Fetcher::new(&bench.sources, bench.cache(), Arc::new(Silent)).err().unwrap();
        assert!(error.to_string().contains(expected) && error.to_string().contains("ca.pem"), "{error}");
        assert!(error.remedy().contains("-----BEGIN CERTIFICATE-----"), "{}", error.remedy());
    }
    std::fs::remove_file(&path).unwrap();
    let error = Fetcher::new(&bench.sources, bench.cache(), Arc::new(Silent)).err().unwrap();
    assert!(error.to_string().contains("No such file"), "{error}");
}
