//! `signature` and who shall have signed, for one component.

use crate::{
    config::{
        given::Field,
        nouns::source_key,
        problems::Problems,
        raw::{RawSigner, SignatureMode},
    },
    model::{Component, SignaturePolicy, Signer},
};

/// Whom Kubernetes' binaries are signed by. Source: kubernetes.io, "Verify Signed Kubernetes Artifacts".
const KUBERNETES: (&str, &str) = ("krel-staging@k8s-releng-prod.iam.gserviceaccount.com", "https://accounts.google.com");

/// The policy. Who names a signer wants a signature; of what upstream signs, one is asked for where it can be had.
pub(super) fn policy(component: Component, mut raw: RawSigner, problems: &mut Problems<'_>) -> SignaturePolicy {
    let key = |name| source_key(component, name);
    let mode = problems.value(std::mem::take(&mut raw.signature));
    let named = !matches!(
        (&raw.certificate_identity, &raw.certificate_oidc_issuer, &raw.cosign_key, &raw.minisign_key),
        (Field::Absent, Field::Absent, Field::Absent, Field::Absent)
    );
    let signer = signer(component, raw, problems);
    match (mode, signer) {
        (Some(SignatureMode::Off), _) | (None, None) => SignaturePolicy::Off,
        (Some(SignatureMode::Require), Some(signer)) => SignaturePolicy::Require(signer),
        (None, Some(signer)) if named => SignaturePolicy::Require(signer),
        (None | Some(SignatureMode::IfAvailable), Some(signer)) => SignaturePolicy::IfAvailable(signer),
        (Some(_), None) => {
            let path = key("signature");
            let message = format!("a signature of {component} is asked for, and nobody says whose: upstream signs none");
            let problem = problems.add_at_key(&[&path], message);
            problem.help.push(format!("name the signer: {}, {}, or", key("minisign-key"), key("cosign-key")));
            problem.help.push(format!("{} with {}", key("certificate-identity"), key("certificate-oidc-issuer")));
            SignaturePolicy::Off
        }
    }
}

fn signer(component: Component, raw: RawSigner, problems: &mut Problems<'_>) -> Option<Signer> {
    let key = |name| source_key(component, name);
    let mut given = Vec::new();
    let (identity, issuer) = (text(raw.certificate_identity, problems), text(raw.certificate_oidc_issuer, problems));
    let default = (component == Component::Kubelet).then_some(KUBERNETES);
    match (identity, issuer) {
        (None, None) => {}
        (Some(identity), Some(issuer)) => {
            given.push(("certificate-identity", Signer::Keyless { identity, issuer }));
        }
        (identity, _) => {
            let (there, missing) = match identity {
                Some(_) => ("certificate-identity", "certificate-oidc-issuer"),
                None => ("certificate-oidc-issuer", "certificate-identity"),
            };
            let message = format!("{} says nothing without {}", key(there), key(missing));
            let problem = problems.add_at_key(&[&key(there)], message);
            problem.help.push("an identity counts only together with who vouches for it".to_owned());
        }
    }
    given.extend(problems.value(raw.cosign_key).map(|key| ("cosign-key", Signer::CosignKey(key))));
    given.extend(problems.value(raw.minisign_key).map(|key| ("minisign-key", Signer::Minisign(key))));
    if let [(first, _), (second, _), ..] = given.as_slice() {
        let message = format!("{component} has two signers, {} and {}", key(first), key(second));
        problems.add_at_key(&[&key(second)], message).help.push("one of them has to go".to_owned());
    }
    let fallback = || {
        let (identity, issuer) = default?;
        Some(Signer::Keyless { identity: identity.to_owned(), issuer: issuer.to_owned() })
    };
    given.into_iter().next().map(|(_, signer)| signer).or_else(fallback)
}

fn text(field: Field<String>, problems: &mut Problems<'_>) -> Option<String> {
    let (text, at) = problems.located(field)?;
    if text.trim().is_empty() {
        problems.add(&at, "it is empty");
        return None;
    }
    Some(text)
}
