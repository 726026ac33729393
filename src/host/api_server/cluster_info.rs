//! What a cluster says of itself to those who know a bootstrap token: the ConfigMap `cluster-info`.
//!
//! The signature is a JSON web signature (RFC 7515) with the payload left out, HMAC-SHA-256 keyed with the token's secret
//! half. Source: kubernetes' design of discovery by token; kubeadm 1.36's `join`.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;

use super::NotDiscovered;

/// Where anybody may read it.
pub(super) const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
/// The key of the kubeconfig in it, and the beginning of those of its signatures.
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// A bootstrap token's halves: the public one that names it, and the secret one.
pub(super) struct Halves<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> Halves<'a> {
    /// Six characters, a dot, sixteen characters: lower-case letters and digits.
    pub(super) fn of(token: &'a str) -> Option<Self> {
        let (id, secret) = token.split_once('.')?;
        let good = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        (id.len() == 6 && secret.len() == 16 && good(id) && good(secret)).then_some(Self { id, secret })
    }
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// The kubeconfig in the ConfigMap, if the token signed it.
pub(super) fn verified(body: &[u8], token: &Halves<'_>) -> Result<String, NotDiscovered> {
    let unusable = |why: &str| NotDiscovered::Unusable(why.to_owned());
    let map: ConfigMap = serde_json::from_slice(body).map_err(|_| unusable("what it answers is no ConfigMap"))?;
    let mut data = map.data;
    let kubeconfig = data.remove(KUBECONFIG).ok_or_else(|| unusable("its ConfigMap cluster-info holds no kubeconfig"))?;
    let Some(signature) = data.get(&format!("{SIGNATURE}{}", token.id)) else {
        let others = data.keys().filter(|key| key.starts_with(SIGNATURE)).count();
        return Err(NotDiscovered::NotSigned { id: token.id.to_owned(), others });
    };
    if is_signed(&kubeconfig, signature, token) {
        Ok(kubeconfig)
    } else {
        Err(NotDiscovered::WrongSecret { id: token.id.to_owned() })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

fn is_signed(content: &str, signature: &str, token: &Halves<'_>) -> bool {
    let parts: Vec<&str> = signature.split('.').collect();
    let [header, "", signature] = parts.as_slice() else { return false };
    let (Ok(decoded), Ok(signature)) = (URL_SAFE_NO_PAD.decode(header), URL_SAFE_NO_PAD.decode(signature)) else {
        return false;
    };
    // The algorithm is ours to choose, not the answer's.
    let ours = serde_json::from_slice::<Header>(&decoded).is_ok_and(|header| header.alg == "HS256" && header.kid == token.id);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes());
    ours && hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Named {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(rename = "certificate-authority-data")]
    authority: Option<String>,
}

/// The authority in a kubeconfig of one cluster, as PEM.
pub(super) fn authority(kubeconfig: &str) -> Result<String, NotDiscovered> {
    let unusable = |why: &str| NotDiscovered::Unusable(why.to_owned());
    let parsed: Kubeconfig = serde_saphyr::from_str(kubeconfig).map_err(|_| unusable("its kubeconfig cannot be read"))?;
    let [Named { cluster }] =
        parsed.clusters.unwrap_or_default().try_into().map_err(|_| unusable("its kubeconfig has not one cluster"))?;
    let encoded = cluster.authority.ok_or_else(|| unusable("its kubeconfig has no certificate authority"))?;
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unusable("its certificate authority is not base64"))?;
    String::from_utf8(decoded).map_err(|_| unusable("its certificate authority is not PEM"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of kubernetes' own tests of bootstrap signing.
    const CONTENT: &str = "Hello from the other side. I must have called a thousand times.";
    const SIGNED: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8";

    #[test]
    fn kubernetes_own_example_is_taken_and_no_change_of_it() {
        let token = Halves { id: "joshua", secret: "my voice is my passcode" };
        assert!(is_signed(CONTENT, SIGNED, &token));
        assert!(!is_signed("Hello", SIGNED, &token));
        assert!(!is_signed(CONTENT, SIGNED, &Halves { id: "joshua", secret: "another" }));
        assert!(!is_signed(CONTENT, SIGNED, &Halves { id: "joshub", ..token }));
        for position in 0..SIGNED.len() {
            let mut changed = SIGNED.to_owned().into_bytes();
            changed[position] = if changed[position] == b'A' { b'Q' } else { b'A' };
            // The last character has bits that mean nothing, and base64 refuses those that are not zero.
            assert!(!is_signed(CONTENT, std::str::from_utf8(&changed).unwrap(), &token), "{position}");
        }
    }

    #[test]
    fn a_signature_that_says_it_needs_none_is_refused() {
        let token = Halves { id: "joshua", secret: "my voice is my passcode" };
        for header in [r#"{"alg":"none","kid":"joshua"}"#, r#"{"alg":"HS512","kid":"joshua"}"#, "{}"] {
            assert!(!is_signed(CONTENT, &format!("{}..", URL_SAFE_NO_PAD.encode(header)), &token), "{header}");
        }
    }

    #[test]
    fn a_token_has_two_halves_of_fixed_length() {
        assert!(Halves::of("abcdef.0123456789abcdef").is_some());
        for bad in ["abcdef", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef0", ""] {
            assert!(Halves::of(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(text in ".{0,200}") {
            let token = Halves { id: "abcdef", secret: "0123456789abcdef" };
            let _ = is_signed("x", &text, &token);
            let _ = verified(text.as_bytes(), &token);
            let _ = authority(&text);
        }
    }
}
