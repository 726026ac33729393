//! `[sources]`: which places are asked in which order, and what is refused.

use super::{accepted, fragment, problem, with};
use crate::{
    config::{self, Catalog, ConfigError, ProxyChoice, Settings},
    model::{Architecture, Component, DigestOrigin},
};

fn urls(settings: &Settings, component: Component) -> Vec<String> {
    settings.sites(component, Architecture::Amd64).iter().map(|site| site.url.to_string()).collect()
}

/// The only mistake, whose text has all of these.
#[track_caller]
fn refused(result: Result<Settings, ConfigError>, says: &[&str]) {
    let shown = problem(result).to_string();
    for part in says {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
}

#[test]
fn mirrors_come_before_upstream_and_a_components_own_list_instead_of_both() {
    let text = "[sources]\nmirrors = [\"https://a.example/{component}/{file}\", \"/media/usb\"]\n\
                [sources.cni-plugins]\nurl = [\"https://b.example/cni\", { url = \"/srv/cni.tgz\" }]";
    let settings = with(text).unwrap();
    assert_eq!(
        urls(&settings, Component::Kubelet),
        [
            "https://a.example/kubelet/kubelet",
            "file:///media/usb/kubelet",
            "https://dl.k8s.io/release/v1.36.4/bin/linux/amd64/kubelet"
        ]
    );
    assert_eq!(urls(&settings, Component::CniPlugins), ["https://b.example/cni", "file:///srv/cni.tgz"]);
    let settings = with("[sources]\nupstream = false\nmirrors = \"https://a.example/k8s/\"").unwrap();
    assert_eq!(urls(&settings, Component::FlannelCni), ["https://a.example/k8s/cni-plugin-flannel-linux-amd64-v1.9.1.tgz"]);
}

#[test]
fn a_source_may_have_headers_and_may_be_plain_http_where_a_digest_is_known() {
    let url = "{ url = \"http://10.0.0.5/kubelet\", allow-http = true, header-file = \"/etc/hostlet/header\" }";
    let settings = with(&format!("[sources.kubelet]\nurl = {url}")).unwrap();
    let site = settings.sites(Component::Kubelet, Architecture::Amd64).remove(0);
    assert!(site.allow_http && site.header_file.unwrap().ends_with("header"));
    refused(with("[sources.kubelet]\nurl = \"http://10.0.0.5/kubelet\""), &["plain http", "allow-http = true"]);
    refused(with("[sources]\nmirrors = \"http://10.0.0.5/\""), &["plain http", "allow-http = true"]);
    let unknown = format!("[kubelet]\nversion = \"1.37.1\"\n[sources.kubelet]\ntrust-on-first-use = true\nurl = {url}");
    refused(with(&unknown), &["would come over plain http, and nobody says its digest before", "sources.kubelet.digest"]);
}

#[test]
fn what_is_wrong_with_sources_is_said() {
    refused(
        with("[sources]\nupstream = true\nmirrors = [\"https://a.example/v{version}\"]"),
        &["tell them apart", "{component}"],
    );
    refused(with("[sources.kubelet]\nurl = []"), &["nothing says where kubelet comes from"]);
    let misspelt = with("[sources.kubelet]\nurl = [{ url = \"/x\", allow_http = true }]");
    refused(misspelt, &["unknown key \"allow_http\"", "did you mean \"allow-http\"?", "url, allow-http, header-file"]);
    refused(with("[sources.kubelet]\nurl = [{ allow-http = true }]"), &["missing field `url`"]);
    refused(with("[sources.kubelet]\nurl = 3"), &["a string or a table, not an integer"]);
    refused(with("[sources]\nclient-key-file = \"/etc/key\""), &["needs sources.client-certificate-file beside it"]);
    refused(with("[sources]\nbuiltin-catalog = false"), &["another one is needed", "sources.catalog-file"]);
    refused(with("[sources]\nproxy = \"http://user:hunter2@proxy:3128\""), &["without user and password"]);
    refused(with("[sources]\nproxy = \"socks5://proxy:1080\""), &["starts with http:// or https://"]);
    refused(with("[sources]\nno-proxy = \"a.example,b.example\""), &["one in each element"]);
    refused(with("[sources]\nupstream = false"), &["nothing says where kubelet comes from", "sources.mirrors"]);
}

#[test]
fn nobody_vouches_for_what_is_not_in_the_catalog_unless_the_published_checksum_is_trusted() {
    let text = "[kubelet]\nversion = \"1.37.1\"";
    refused(
        with(text),
        &["nobody vouches for kubelet 1.37.1", "sources.kubelet.digest", "sources.kubelet.trust-on-first-use = true"],
    );
    with(&format!("{text}\n[sources.kubelet]\ntrust-on-first-use = true")).unwrap();
    // flannel publishes none, and a mirror may.
    let flanneld = config::minimal().replace("[flannel]", "[flannel]\nversion = \"0.28.9\"");
    let trusting = format!("{flanneld}\n[sources.flanneld]\ntrust-on-first-use = true\n");
    refused(super::parse(&trusting), &["upstream publishes no checksums"]);
    accepted(&format!("{trusting}url = \"https://mirror.example/flanneld\""));
    let without = config::minimal().replace("trust-on-first-use = true", "");
    refused(super::parse(&without), &["nobody vouches for flannel-cni 1.9.1-flannel1", "trust-on-first-use = true (takes"]);
}

#[test]
fn the_users_catalog_is_named_before_parsing_and_counts_in_it() {
    let digest = "ab".repeat(32);
    let named = fragment("[sources]\ncatalog-file = \"/etc/hostlet/catalog.csv\"\nbuiltin-catalog = false\n");
    let found = config::catalog_file(std::slice::from_ref(&named), &[]).unwrap();
    assert!(found.replaces && found.path.ends_with("catalog.csv"));
    assert_eq!(config::catalog_file(&[fragment("[sources]\ncatalog-file = 3")], &[]), None);
    let text = format!("kubelet,1.37.1,amd64,{digest}\ncni-plugins,1.9.1,amd64,{digest}\n");
    let catalog = Catalog::read(&config::Fragment { name: "catalog.csv".to_owned(), text }).unwrap();
    let settings = config::parse_with(&[named], &[], catalog, None).unwrap();
    assert_eq!(settings.kubelet.version.to_string(), "1.37.1");
    let pinned = settings.pinned(Component::Kubelet, Architecture::Amd64).unwrap();
    assert_eq!((pinned.0.to_string(), pinned.1), (digest, DigestOrigin::CatalogFile));
}

#[test]
fn the_proxy_is_the_environments_another_or_none() {
    assert_eq!(accepted("").sources.proxy, ProxyChoice::Environment);
    let proxy = |text: &str| accepted(&format!("[sources]\nproxy = {text:?}\nno-proxy = []")).sources;
    assert_eq!(proxy("direct").proxy, ProxyChoice::Direct);
    assert!(matches!(proxy("http://proxy:3128").proxy, ProxyChoice::Url(url) if url.port() == Some(3128)));
    assert_eq!(proxy("direct").no_proxy, Some(Vec::new()));
}
