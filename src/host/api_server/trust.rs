//! Whom TLS trusts, and what its errors mean.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use url::{Host, Url};
use x509_cert::der::Decode;

use super::{Bound, OutOfTime, Unreachable, host, signing_request::name_of};
use crate::{host::files, model::Validity};

/// A kubelet's client certificate and its key.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A file that should hold a client certificate and its key does not.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCertificate {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// It holds something else.
    #[error("{0}")]
    Content(String),
}

impl ClientCertificate {
    /// Reads a file with both as PEM, as the kubelet keeps them.
    pub fn read(path: &Path) -> Result<Self, UnusableCertificate> {
        let pem = files::read(path)?;
        Self::parse(&pem, &pem).map_err(|why| UnusableCertificate::Content(format!("{}: {why}", path.display())))
    }

    /// What keeps it from being used: a key that is another one's, or its end.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        let provider = aws_lc_rs::default_provider();
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
            other => other.to_string(),
        })?;
        match self.validity() {
            None => Err("it is no X.509 certificate".to_owned()),
            Some(validity) if now > validity.not_after => Err(format!(
                "it has expired at {}; this host's clock: {}",
                validity.not_after,
                now.round(jiff::Unit::Second).unwrap_or(now)
            )),
            Some(_) => Ok(()),
        }
    }

    /// When the certificate itself is valid; none where it is no X.509 certificate.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.chain.first().and_then(|certificate| Validity::of_certificate(certificate))
    }

    /// Whom it is for: `system:node:node-07`. None where it is no X.509 certificate, or for nobody.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let certificate = x509_cert::Certificate::from_der(self.chain.first()?).ok()?;
        name_of(&certificate.tbs_certificate.subject)
    }

    /// Certificate and key as PEM.
    pub(in crate::host) fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        if chain.is_empty() {
            return Err("it holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("its key: {error}"))?;
        Ok(Self { chain, key })
    }
}

/// The pinned authorities, and their time.
pub(super) struct Authorities {
    roots: Arc<RootCertStore>,
    /// The one that is valid longest, where none is valid now: TLS does not look at the time of what it trusts, and Go does.
    pub(super) out_of_time: Option<Validity>,
}

impl Authorities {
    pub(super) fn parse(pem: &[u8], now: Timestamp) -> Result<Self, Unreachable> {
        let unusable = |error: &dyn std::fmt::Display| Unreachable::Authority(error.to_string());
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| unusable(&error))?;
        let validity = |certificate: &CertificateDer<'_>| Validity::of_certificate(certificate);
        let valid = |certificate: &CertificateDer<'_>| validity(certificate).is_none_or(|validity| validity.covers(now));
        let any = certificates.iter().any(valid);
        let out_of_time = if any { None } else { certificates.iter().filter_map(validity).max_by_key(|v| v.not_after) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates.into_iter().filter(|certificate| !any || valid(certificate)) {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"it holds no PEM certificate"));
        }
        Ok(Self { roots: Arc::new(roots), out_of_time })
    }

    /// Trusts them and nobody else; `at` is the time at which the server's certificate has to be valid, if not now.
    pub(super) fn client(
        &self,
        credential: Option<&ClientCertificate>,
        at: Option<Timestamp>,
    ) -> Result<ClientConfig, Unreachable> {
        let unusable = |error: &dyn std::fmt::Display| Unreachable::Authority(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| unusable(&error))?;
        let builder = match at {
            None => builder.with_root_certificates(Arc::clone(&self.roots)),
            Some(at) => {
                let verifier = AtTime::new(Arc::clone(&self.roots), &provider, at).map_err(|error| unusable(&error))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = match credential {
            None => builder.with_no_client_auth(),
            Some(ClientCertificate { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| Unreachable::Authority(format!("this node's client certificate: {error}")))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Trusts whoever answers: for what proves itself by a signature of its own.
pub(super) fn anyone() -> Result<ClientConfig, Unreachable> {
    let unusable = |error: &dyn std::fmt::Display| Unreachable::Authority(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Anyone(provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| unusable(&error))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Every certificate is good; who answers must have its key all the same.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// As the usual verification, at another time: what is told of a server that was verified so is only its clock.
#[derive(Debug)]
struct AtTime {
    usual: Arc<WebPkiServerVerifier>,
    time: UnixTime,
}

impl AtTime {
    fn new(roots: Arc<RootCertStore>, provider: &Arc<CryptoProvider>, at: Timestamp) -> Result<Self, Error> {
        let usual = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        Ok(Self { usual: usual.map_err(|error| Error::General(error.to_string()))?, time })
    }
}

impl ServerCertVerifier for AtTime {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, self.time)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// The name that the certificate has to be for.
pub(super) fn name(server: &Url) -> Result<ServerName<'static>, Unreachable> {
    match host(server) {
        Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::V4(ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::V6(ip))),
        Host::Domain(name) => ServerName::try_from(name.to_owned())
            .map_err(|error| Unreachable::NotAName { name: name.to_owned(), why: error.to_string() }),
    }
}

/// What a failed handshake means.
pub(super) fn meaning(error: &std::io::Error, server: &Url, address: SocketAddr) -> Unreachable {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        let why = if error.kind() == std::io::ErrorKind::UnexpectedEof {
            "it ended the connection".to_owned()
        } else {
            error.to_string()
        };
        return Unreachable::Handshake { address, why };
    };
    let out_of_time = |bound| {
        let whose = "the API server's certificate";
        Unreachable::OutOfTime(OutOfTime { whose, address, bound, ours: Timestamp::now(), theirs: None })
    };
    match tls {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            out_of_time(Bound::NotAfter(timestamp(*not_after)))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            out_of_time(Bound::NotBefore(timestamp(*not_before)))
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => Unreachable::WrongName {
            address,
            name: host(server).to_string(),
            presented: presented.iter().map(|name| bare(name).to_owned()).collect(),
        },
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Unreachable::ForeignAuthority { address, why: "unknown issuer".to_owned() }
        }
        // Another authority of the same name, such as that of another kubeadm cluster: all are called "kubernetes".
        Error::InvalidCertificate(CertificateError::BadSignature) => Unreachable::ForeignAuthority {
            address,
            why: "the issuer has the same name, and another key: another cluster's authority".to_owned(),
        },
        Error::InvalidCertificate(other) => Unreachable::ForeignAuthority { address, why: format!("{other:?}") },
        Error::InvalidMessage(_) => Unreachable::NotTls(address),
        other => Unreachable::Handshake { address, why: other.to_string() },
    }
}

/// `DnsName("localhost")`, as rustls shows the names in a certificate.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')')).trim_matches('"')
}

fn timestamp(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
}
