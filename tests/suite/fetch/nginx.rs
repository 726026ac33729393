//! Against nginx, as most mirrors run it: TLS, ranges, logins, clients' certificates, limits.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use hostlet::{
    config::{ClientIdentity, Site},
    fetch::{FetchError, Request, Verified},
    model::{Component, SignaturePolicy},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use super::bench::{Bench, artifact, content, open_to, until};

const PORTS: [&str; 6] = ["good", "unknown", "expired", "other-name", "client", "plain"];

/// nginx in a directory of its own, on ports of its own. It ends when it is dropped.
struct Nginx {
    directory: PathBuf,
    ports: Vec<u16>,
    process: Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes certificate and key, as one PEM file.
fn issue(path: &Path, name: &str, issuer: &CertifiedIssuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(path, format!("{}{}", certificate.pem(), key.serialize_pem())).unwrap();
}

impl Nginx {
    /// Its authority is the one that the bench trusts.
    fn start(bench: &Bench) -> Self {
        let directory = bench.directory.path().join("nginx");
        std::fs::create_dir_all(directory.join("www")).unwrap();
        let (ours, foreign) = (authority("hostlet test mirror"), authority("somebody else"));
        std::fs::write(bench.sources.ca_file.as_ref().unwrap(), ours.pem()).unwrap();
        std::fs::write(directory.join("ca.pem"), ours.pem()).unwrap();
        let file = |name: &str| directory.join(format!("{name}.pem"));
        issue(&file("good"), "127.0.0.1", &ours, |_| ());
        issue(&file("unknown"), "127.0.0.1", &foreign, |_| ());
        issue(&file("expired"), "127.0.0.1", &ours, |params| {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        });
        issue(&file("other-name"), "mirror.example", &ours, |_| ());
        issue(&file("node"), "node-07", &ours, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        std::fs::write(directory.join("htpasswd"), "node:{PLAIN}hunter2\n").unwrap();
        let free: Vec<_> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(free);
        let process = Command::new("true").spawn().unwrap();
        let mut nginx = Self { directory, ports, process };
        std::fs::write(nginx.directory.join("nginx.conf"), nginx.configuration()).unwrap();
        nginx.restart();
        nginx
    }

    fn restart(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let started =
            Command::new("nginx").arg("-c").arg(self.directory.join("nginx.conf")).arg("-p").arg(&self.directory).spawn();
        self.process = started.expect("nginx: packaging/install-tools nginx=nginx-light");
        for _ in 0..500 {
            if self.ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen");
    }

    fn configuration(&self) -> String {
        let server = |name: &str, more: &str| {
            let port = self.ports[PORTS.iter().position(|port| *port == name).unwrap()];
            let certificate = if name == "client" { "good" } else { name };
            format!(
                "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.pem; {more} }}\n"
            )
        };
        let good = "location /private/ { auth_basic files; auth_basic_user_file htpasswd; alias www/; }
            location /slow/ { limit_rate 500; alias www/; }
            location /limited/ { limit_rate 2m; alias www/; }
            location /no-ranges/ { max_ranges 0; limit_rate 2m; alias www/; }
            location /zipped/ { gzip_static always; alias www/; }
            location /portal/ { default_type text/html; return 200 '<!DOCTYPE html><title>Hotel WiFi</title>'; }
            location /plainly/ { return 302 http://127.0.0.1:1/; }
            location /moved/ { return 307 /kubelet; }";
        let servers = server("good", good)
            + &server("unknown", "")
            + &server("expired", "")
            + &server("other-name", "")
            + &server("client", "ssl_verify_client on; ssl_client_certificate ca.pem;");
        let plain = self.ports[5];
        let home = self.directory.display();
        format!(
            "daemon off; master_process off; user root; pid {home}/pid; error_log {home}/error.log;
            events {{}}
            http {{
                log_format seen '$status $request_uri $http_range';
                access_log {home}/access.log seen;
                client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
                uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
                gzip on; gzip_types *; gzip_min_length 1;
                root {home}/www;
                server {{ listen 127.0.0.1:{plain}; }}
                {servers}
            }}"
        )
        .replace("alias www/", &format!("alias {home}/www/"))
    }

    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.directory.join("www").join(name), content).unwrap();
    }

    fn site(&self, server: &str, path: &str) -> Site {
        let port = self.ports[PORTS.iter().position(|port| *port == server).unwrap()];
        let scheme = if server == "plain" { "http" } else { "https" };
        Site::of(format!("{scheme}://127.0.0.1:{port}/{path}").parse().unwrap())
    }

    /// Status, path and range of each request.
    fn seen(&self) -> String {
        std::fs::read_to_string(self.directory.join("access.log")).unwrap()
    }
}

async fn fetch(bench: &Bench, body: &[u8], sites: Vec<Site>) -> Result<Verified, FetchError> {
    let request = Request { artifact: artifact(Component::Kubelet, body), sites, signature: SignaturePolicy::Off };
    Ok(bench.fetcher().fetch_all(vec![request]).await?.kept().await?.remove(0))
}

#[tokio::test]
async fn nginx_serves_the_file_and_every_fault_of_its_tls_is_named() {
    let mut bench = Bench::new().await;
    let nginx = Nginx::start(&bench);
    let body = content(300_000);
    nginx.put("kubelet", &body);
    let mut plain = nginx.site("plain", "kubelet");
    plain.allow_http = true;
    for site in [nginx.site("good", "kubelet"), nginx.site("good", "moved/kubelet"), plain] {
        let fetched = fetch(&bench, &body, vec![site]).await.unwrap();
        assert_eq!(std::fs::read(fetched.path()).unwrap(), body);
        std::fs::remove_dir_all(bench.cache()).unwrap();
    }
    for (server, said) in
        [("unknown", "UnknownIssuer"), ("expired", "certificate expired"), ("other-name", "not valid for name")]
    {
        let error = fetch(&bench, &body, vec![nginx.site(server, "kubelet")]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the source cannot be trusted") && text.contains(said), "{server}: {text}");
        assert!(error.remedy().contains("sources.ca-file") && error.remedy().contains("clock"), "{}", error.remedy());
        // And the next source has it.
        fetch(&bench, &body, vec![nginx.site(server, "kubelet"), nginx.site("good", "kubelet")]).await.unwrap();
        std::fs::remove_dir_all(bench.cache()).unwrap();
    }
    let error = fetch(&bench, &body, vec![nginx.site("client", "kubelet")]).await.unwrap_err();
    assert!(error.to_string().contains("400 Bad Request"), "{error}");
    let node = nginx.directory.join("node.pem");
    open_to(&node, 0o600);
    bench.sources.client_identity = Some(ClientIdentity { certificate_file: node.clone(), key_file: node });
    fetch(&bench, &body, vec![nginx.site("client", "kubelet")]).await.unwrap();
}

#[tokio::test]
async fn nginx_that_is_killed_in_the_middle_goes_on_where_it_was_with_and_without_ranges() {
    let mut bench = Bench::new().await;
    bench.sources.stall_timeout = Duration::from_secs(5);
    let mut nginx = Nginx::start(&bench);
    for (path, continued) in [("limited/kubelet", true), ("no-ranges/kubelet", false)] {
        let mut body = content(6_000_000);
        body[0] = u8::from(continued);
        nginx.put("kubelet", &body);
        let (site, partial) = (nginx.site("good", path), bench.partial(&body));
        let killing = async {
            until("some of it is there", || std::fs::metadata(&partial).is_ok_and(|found| found.len() > 500_000)).await;
            nginx.restart();
        };
        let (fetched, ()) = tokio::join!(fetch(&bench, &body, vec![site]), killing);
        assert_eq!(std::fs::read(fetched.unwrap().path()).unwrap(), body);
        let seen = nginx.seen();
        let last = seen.lines().rfind(|line| line.contains(path)).unwrap();
        assert!(last.starts_with(if continued { "206" } else { "200" }) && last.contains("bytes="), "{seen}");
    }
}

#[tokio::test]
async fn nginx_with_a_login_a_limit_a_portal_or_compression_is_failed_over_or_refused_by_name() {
    let mut bench = Bench::new().await;
    bench.sources.stall_timeout = Duration::from_millis(1500);
    let nginx = Nginx::start(&bench);
    let body = content(300_000);
    nginx.put("kubelet", &body);
    nginx.put("kubelet.gz", b"not what was asked for");
    let good = || nginx.site("good", "kubelet");
    for (path, said) in [
        ("private/kubelet", "401 Unauthorized"),
        ("slow/kubelet", "less than the minimum of 1024"),
        ("portal/kubelet", "an HTML page came instead of the file (\"Hotel WiFi\"): a captive portal"),
        ("plainly/kubelet", "redirects to http://127.0.0.1:1/, which is not https"),
        ("zipped/kubelet", "with the encoding gzip"),
        ("absent", "404 Not Found"),
    ] {
        fetch(&bench, &body, vec![nginx.site("good", path), good()]).await.unwrap();
        let warnings = bench.warnings();
        assert!(warnings.last().unwrap().contains(said), "{said} is not in {warnings:?}");
        std::fs::remove_dir_all(bench.cache()).unwrap();
    }
    bench.sources.netrc_file = Some(bench.secret("netrc", "machine 127.0.0.1 login node password hunter2"));
    fetch(&bench, &body, vec![nginx.site("good", "private/kubelet")]).await.unwrap();
}
