//! `sources.*.signature`, who shall have signed, and `sources.bundle`.

use super::{accepted, fragment, problem, with};
use crate::{
    config::{self, Settings, minimal},
    model::{Component, SignaturePolicy, Signer},
};

const MINISIGN: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn policy(settings: &Settings, component: Component) -> SignaturePolicy {
    settings.signature(component)
}

fn written(text: &str) -> Settings {
    accepted(&format!("{}\n{text}", minimal()))
}

#[test]
fn of_what_upstream_signs_a_signature_is_asked_for_where_it_can_be_had() {
    let settings = written("");
    let SignaturePolicy::IfAvailable(Signer::Keyless { identity, issuer }) = policy(&settings, Component::Kubelet) else {
        panic!("{:?}", policy(&settings, Component::Kubelet))
    };
    assert_eq!(identity, "krel-staging@k8s-releng-prod.iam.gserviceaccount.com");
    assert_eq!(issuer, "https://accounts.google.com");
    for component in [Component::Flanneld, Component::CniPlugins, Component::FlannelCni] {
        assert_eq!(policy(&settings, component), SignaturePolicy::Off, "{component}");
    }
    assert_eq!(settings.sources.rekor_url.as_str(), "https://rekor.sigstore.dev/");
}

#[test]
fn who_names_a_signer_requires_a_signature_unless_they_say_otherwise() {
    let settings = written(&format!("[sources.flanneld]\nminisign-key = \"{MINISIGN}\""));
    assert!(matches!(policy(&settings, Component::Flanneld), SignaturePolicy::Require(Signer::Minisign(_))));
    let settings = written(&format!("[sources.flanneld]\nminisign-key = \"{MINISIGN}\"\nsignature = \"if-available\""));
    assert!(matches!(policy(&settings, Component::Flanneld), SignaturePolicy::IfAvailable(_)));
    let settings = written("[sources.kubelet]\nsignature = \"off\"");
    assert_eq!(policy(&settings, Component::Kubelet), SignaturePolicy::Off);
    let settings = written("[sources.kubelet]\nsignature = \"require\"");
    assert!(matches!(policy(&settings, Component::Kubelet), SignaturePolicy::Require(Signer::Keyless { .. })));
    let text = "[sources.cni-plugins]\ncertificate-identity = \"a@b.c\"\ncertificate-oidc-issuer = \"https://d\"";
    let expected = Signer::Keyless { identity: "a@b.c".to_owned(), issuer: "https://d".to_owned() };
    assert_eq!(policy(&written(text), Component::CniPlugins), SignaturePolicy::Require(expected));
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwr\nkBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==\n-----END PUBLIC KEY-----\n";
    let settings = written(&format!("[sources.kubelet]\ncosign-key = \"\"\"\n{pem}\"\"\""));
    assert!(matches!(policy(&settings, Component::Kubelet), SignaturePolicy::Require(Signer::CosignKey(_))));
}

#[test]
fn a_demand_without_a_signer_and_half_a_signer_and_two_of_them_are_refused() {
    let says = |text: &str, expected: &[&str]| {
        let problem = problem(with(text)).to_string();
        for part in expected {
            assert!(problem.contains(part), "no {part:?} in:\n{problem}");
        }
    };
    says("[sources.flanneld]\nsignature = \"require\"", &["nobody says whose", "sources.flanneld.minisign-key"]);
    says("[sources.kubelet]\ncertificate-identity = \"a@b.c\"", &["says nothing without", "certificate-oidc-issuer"]);
    says("[sources.kubelet]\ncertificate-oidc-issuer = \"https://a\"", &["says nothing without", "certificate-identity"]);
    let two = format!(
        "[sources.kubelet]\nminisign-key = \"{MINISIGN}\"\ncertificate-identity = \"a\"\ncertificate-oidc-issuer = \"b\""
    );
    says(&two, &["two signers"]);
    says("[sources.kubelet]\nminisign-key = \"RWQ\"", &["the second line of minisign.pub"]);
    says("[sources.kubelet]\ncosign-key = \"x\"", &["BEGIN PUBLIC KEY"]);
    says("[sources.kubelet]\nsignature = \"requires\"", &["did you mean \"require\"?", "if-available"]);
    says("[sources]\nrekor-url = \"http://rekor\"", &["https://"]);
    says("[sources]\ntrust-root-file = \"root.json\"", &["trust-root-file"]);
}

#[test]
fn a_bundle_may_be_pinned_or_signed_and_vouch_for_what_nobody_else_knows() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let text =
        format!("[sources]\nbundle = \"/srv/node.bundle\"\nbundle-digest = \"{digest}\"\nbundle-minisign-key = \"{MINISIGN}\"");
    let bundle = written(&text).sources.bundle.unwrap();
    assert_eq!(bundle.path.to_str(), Some("/srv/node.bundle"));
    assert!(bundle.digest.is_some() && bundle.key.is_some());
    let unknown = "flannel.version=0.99.0".to_owned();
    let bundled = fragment(&format!("{}\n[sources]\nbundle = \"/srv/node.bundle\"", minimal()));
    config::parse(&[bundled], std::slice::from_ref(&unknown)).unwrap();
    config::parse(&[fragment(minimal())], &[unknown]).unwrap_err();
    let problem = problem(with(&format!("[sources]\nbundle-digest = \"{digest}\""))).to_string();
    assert!(problem.contains("sources.bundle is missing"), "{problem}");
}
