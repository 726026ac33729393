//! Who asks: by client certificate, by bootstrap token, by a ServiceAccount's token, or nobody.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rcgen::{CertifiedIssuer, KeyPair};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::{
        Decode,
        asn1::Utf8StringRef,
        oid::db::rfc4519::{CN, O},
    },
};

use super::{Controllers, FLANNEL_TOKEN, Request};

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
}

impl Identity {
    /// `None` where a credential is shown and nobody knows it: 401.
    pub(super) fn of(request: &Request, clients: &Clients, controllers: &Controllers) -> Option<Self> {
        if let Some(certificate) = &request.certificate {
            return clients.identity(certificate, controllers.now());
        }
        let new = |user: String, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            Self { user, groups }
        };
        if request.authorization.is_empty() {
            return Some(new("system:anonymous".to_owned(), &["system:unauthenticated"]));
        }
        let token = request.authorization.strip_prefix("Bearer ")?;
        if token == FLANNEL_TOKEN {
            let user = "system:serviceaccount:kube-flannel:flannel".to_owned();
            return Some(new(user, &["system:serviceaccounts", "system:authenticated"]));
        }
        let (id, _) = token.split_once('.').filter(|_| controllers.tokens.iter().any(|known| known == token))?;
        let groups = ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated"];
        Some(new(format!("system:bootstrap:{id}"), &groups))
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.is_in("system:authenticated")
    }

    /// The name of the node that it is.
    pub(super) fn node(&self) -> Option<&str> {
        self.user.strip_prefix("system:node:").filter(|_| self.is_in("system:nodes"))
    }
}

/// Client certificates, as `--client-ca-file` has them. The handshake takes any, as Go's does; who is not known gets a 401.
#[derive(Debug)]
pub(in crate::standin) struct Clients(Arc<dyn ClientCertVerifier>);

impl Clients {
    pub(super) fn of(authority: &CertifiedIssuer<'static, KeyPair>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).map_err(|error| error.to_string())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
        Ok(Self(verifier.map_err(|error| error.to_string())?))
    }

    fn identity(&self, der: &[u8], now: Timestamp) -> Option<Identity> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).ok()?));
        self.0.verify_client_cert(&CertificateDer::from(der), &[], now).ok()?;
        let certificate = Certificate::from_der(der).ok()?;
        let attributes = || certificate.tbs_certificate.subject.0.iter().flat_map(|relative| relative.0.iter());
        let text = |value: &x509_cert::attr::AttributeValue| {
            value
                .decode_as::<Utf8StringRef<'_>>()
                .map_or_else(|_| String::from_utf8_lossy(value.value()).into_owned(), |text| text.as_str().to_owned())
        };
        let user = attributes().find(|attribute| attribute.oid == CN).map(|attribute| text(&attribute.value))?;
        let mut groups: Vec<String> =
            attributes().filter(|attribute| attribute.oid == O).map(|attribute| text(&attribute.value)).collect();
        groups.push("system:authenticated".to_owned());
        Some(Identity { user, groups })
    }
}

/// Asks for a certificate and takes any: only that the client has its key is seen to.
#[derive(Debug)]
pub(in crate::standin) struct AnyClient(Arc<dyn ClientCertVerifier>);

impl AnyClient {
    pub(in crate::standin) fn of(authority: &CertifiedIssuer<'static, KeyPair>) -> Result<Self, String> {
        Ok(Self(Clients::of(authority)?.0))
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
