//! The values that only the configuration has, each with what is allowed. All are read from text.

use std::{
    fmt,
    path::{Component as PathComponent, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use super::{problem::nearest, settings::ProxyChoice};
use crate::model::{Component, Digest, Invalid, Port, Protocol};

/// Serde and a schema through `FromStr`, for nouns that are only ever read.
macro_rules! read_from_text {
    ($noun:ty, $expected:literal) => {
        impl<'de> Deserialize<'de> for $noun {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
        impl schemars::JsonSchema for $noun {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($noun).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $expected })
            }
        }
    };
}
pub(super) use read_from_text;

/// "a, b or c" is expected; the nearest of them is named.
pub(super) fn not_one_of(found: &str, noun: &str, allowed: &[&str]) -> Invalid {
    let meant = nearest(found, allowed.iter().copied());
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
    let list = match allowed.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => allowed.concat(),
    };
    Invalid::new(found, format!("{noun}: {list}{hint}"))
}

/// An absolute path without `..`, in the form it will be used in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl FromStr for AbsolutePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let path = Path::new(text);
        // A newline would end the line of a unit file, and a NUL the path.
        if !path.is_absolute() || text.chars().any(char::is_control) {
            return Err(Invalid::new(text, "an absolute path, such as /etc/kubernetes/pki/ca.crt"));
        }
        if path.components().any(|part| part == PathComponent::ParentDir) {
            return Err(Invalid::new(text, "a path without \"..\""));
        }
        if text.len() > 4095 {
            return Err(Invalid::new(text, "a path of at most 4095 bytes"));
        }
        Ok(Self(path.to_owned()))
    }
}

read_from_text!(AbsolutePath, "An absolute path.");

/// The path of a Unix socket, with or without `unix://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketPath(pub(super) PathBuf);

impl FromStr for SocketPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // sun_path holds 108 bytes with the final NUL: unix(7).
        const LONGEST: usize = 107;
        let example = "the path of a Unix socket, such as /run/containerd/containerd.sock, with or without unix:// before it";
        let path = text.strip_prefix("unix://").unwrap_or(text);
        let AbsolutePath(socket) = path.parse().map_err(|_| Invalid::new(text, example))?;
        if path.len() > LONGEST {
            return Err(Invalid::new(text, format!("a socket's path of at most {LONGEST} bytes (it has {})", path.len())));
        }
        if path.ends_with('/') {
            return Err(Invalid::new(text, example));
        }
        Ok(Self(socket))
    }
}

read_from_text!(SocketPath, "The path of a Unix socket, with or without unix:// before it.");

/// The hash of an authority's public key, in kubeadm's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKeyHash(pub(super) Digest);

impl FromStr for PublicKeyHash {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = "the hash of a public key, as kubeadm prints it: sha256: and 64 hexadecimal characters";
        let digest = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        digest.map(Self).ok_or_else(|| Invalid::new(text, expected))
    }
}

read_from_text!(PublicKeyHash, "sha256: and the SHA-256 of the authority's public key in 64 hexadecimal characters.");

/// The address of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServiceAddress(pub(super) std::net::IpAddr);

impl FromStr for ServiceAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parsed = text.parse::<std::net::IpAddr>().ok().filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
        parsed.map(Self).ok_or_else(|| Invalid::new(text, "an IP address of a service, such as 10.96.0.10"))
    }
}

read_from_text!(ServiceAddress, "An IP address.");

/// An etcd endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint(pub(super) Url);

impl FromStr for Endpoint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bare_url(text, &["https", "http"], "https://10.0.1.2:2379").map(Self)
    }
}

read_from_text!(Endpoint, "The URL of an etcd endpoint, such as https://10.0.1.2:2379.");

/// The API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server(pub(super) Url);

impl FromStr for Server {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bare_url(text, &["https"], "https://10.0.1.1:6443").map(Self)
    }
}

read_from_text!(Server, "The API server's https URL: a host and an optional port, no path.");

/// A URL of scheme, host and optional port, and nothing more.
fn bare_url(text: &str, schemes: &[&str], example: &str) -> Result<Url, Invalid> {
    let invalid = |what: &str| Invalid::new(text, format!("{what}; allowed is a URL such as {example}"));
    let url = Url::parse(text).map_err(|error| invalid(&format!("a URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(invalid(&format!("a URL that starts with {}://", schemes.join(":// or "))));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("a URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("a URL without user and password, which would be printed and logged"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a URL without a path, query or fragment"));
    }
    if url.port() == Some(0) {
        return Err(invalid("a URL with a port from 1 to 65535"));
    }
    Ok(url)
}

/// A DNS domain, such as `cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Domain(pub(super) String);

impl FromStr for Domain {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The rule of an RFC 1123 subdomain is the one that node names follow.
        let valid = text.parse::<crate::model::NodeName>().is_ok();
        valid
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| Invalid::new(text, "a DNS domain in lower case without a dot at its end, such as cluster.local"))
    }
}

read_from_text!(Domain, "A DNS domain, such as cluster.local.");

/// A network interface's name, or an address that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface(pub(super) String);

impl FromStr for Interface {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The kernel's dev_valid_name: at most 15 bytes, no slash, colon or white space, neither "." nor "..".
        let name = (1..=15).contains(&text.len())
            && !matches!(text, "." | "..")
            && text.chars().all(|c| c.is_ascii_graphic() && !"/:%'\"\\$".contains(c));
        let address = text.parse::<std::net::IpAddr>().is_ok();
        (name || address).then(|| Self(text.to_owned())).ok_or_else(|| {
            Invalid::new(text, "the name of a network interface (at most 15 characters, such as eth1) or its address")
        })
    }
}

read_from_text!(Interface, "A network interface's name, or an address that it has.");

/// A port with its protocol: `tcp/8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProtocolPort(pub(super) Protocol, pub(super) Port);

impl FromStr for ProtocolPort {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(text, "a protocol and a port from 1 to 65535, such as tcp/8080 or udp/514");
        let (protocol, number) = text.split_once('/').ok_or_else(invalid)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(invalid()),
        };
        let number: u16 =
            Some(number).filter(|n| n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse().ok()).ok_or_else(invalid)?;
        if number == 0 {
            return Err(invalid());
        }
        Ok(Self(protocol, Port::known(number)))
    }
}

read_from_text!(ProtocolPort, "A protocol and a port, such as tcp/8080.");

impl FromStr for ProxyChoice {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "direct" {
            return Ok(Self::Direct);
        }
        let url = bare_url(text, &["http", "https"], "http://proxy.example:3128")?;
        Ok(Self::Url(url))
    }
}

read_from_text!(ProxyChoice, "A proxy's URL, such as http://proxy.example:3128, or direct.");

/// An element of NO_PROXY: a host, a domain, an address or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyException(pub(super) String);

impl FromStr for ProxyException {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:/*[]".contains(c));
        plain.then(|| Self(text.to_owned())).ok_or_else(|| {
            Invalid::new(
                text,
                "a host, a domain, an address or a network, such as .example.org or 10.0.0.0/8, one in each element",
            )
        })
    }
}

read_from_text!(ProxyException, "A host, a domain, an address or a network, as in NO_PROXY.");

/// A duration: text such as `90s` or `1m 30s`, or an integer of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration such as \"90s\" or \"5m\", or an integer of seconds";
        let invalid = |found: &dyn fmt::Display| D::Error::custom(Invalid::new(found.to_string(), expected));
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Integer(seconds) => {
                u64::try_from(seconds).map(|seconds| Self(Duration::from_secs(seconds))).map_err(|_| invalid(&seconds))
            }
            toml::Value::String(text) => {
                let parsed = text.parse::<jiff::SignedDuration>().ok();
                parsed.and_then(|signed| Duration::try_from(signed).ok()).map(Self).ok_or_else(|| invalid(&text))
            }
            other => Err(invalid(&other)),
        }
    }
}

impl schemars::JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"], "description": "A duration such as 90s or 5m, or seconds." })
    }
}

/// The key of the source of a component, for messages: `sources.kubelet`.
pub(super) fn source_key(component: Component, field: &str) -> String {
    format!("sources.{component}.{field}")
}

/// `https://rekor.sigstore.dev`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RekorUrl(pub(super) Url);

impl FromStr for RekorUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bare_url(text, &["https"], "https://rekor.sigstore.dev").map(Self)
    }
}

read_from_text!(RekorUrl, "A transparency log's https URL: a host and an optional port, no path.");
