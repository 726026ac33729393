//! What publishers put beside a file, read: signatures, certificates and sigstore's bundles, all of them small.

use sigstore_verify::{
    bundle::BundleV03,
    rekor::LogEntry,
    types::{Bundle, DerCertificate, KindVersion, PemContent, Sha256Hash, SignatureBytes},
};

use super::Wrong;
use crate::model::Digest;

/// None of these files is larger; a bundle with a long certificate chain has some 20 KB.
pub(in crate::fetch) const LIMIT: u64 = 256 * 1024;

/// The text of a small file that holds anything but a page for people.
pub(super) fn text<'a>(content: &'a [u8], what: &'static str) -> Result<&'a str, Wrong> {
    let malformed = |found: &str| Wrong::Malformed { what, found: found.to_owned() };
    let text = std::str::from_utf8(content).map_err(|_| malformed("is not text"))?.trim();
    if text.is_empty() { Err(malformed("is empty")) } else { Ok(text) }
}

/// Whether what came is a page for people: a captive portal's, or a server's for files that it does not have.
pub(super) fn is_html(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(b"<")
}

/// `.sig`: base64 of the signature.
pub(super) fn signature(content: &[u8]) -> Result<SignatureBytes, Wrong> {
    let text: String = text(content, "signature")?.lines().map(str::trim).collect();
    let malformed = |found: String| Wrong::Malformed { what: "signature", found };
    SignatureBytes::from_base64(&text).map_err(|error| malformed(format!("is not base64: {error}")))
}

/// `.cert`: a PEM certificate, or base64 of one, which is what `cosign sign-blob --output-certificate` writes. The PEM comes
/// back as it was signed into the log, with the certificate in it.
pub(super) fn certificate(content: &[u8]) -> Result<(String, DerCertificate), Wrong> {
    let malformed = |found: String| Wrong::Malformed { what: "certificate", found };
    let given = text(content, "certificate")?;
    let pem = if given.starts_with("-----BEGIN") {
        String::from_utf8_lossy(content).into_owned()
    } else {
        let plain: String = given.lines().map(str::trim).collect();
        let pem = PemContent::from_base64(&plain).map_err(|error| malformed(format!("is neither PEM nor base64: {error}")))?;
        String::from_utf8(pem.into_bytes()).map_err(|_| malformed("holds no PEM text".to_owned()))?
    };
    let der = DerCertificate::from_pem(&pem).map_err(|error| malformed(format!("cannot be read: {error}")))?;
    Ok((pem, der))
}

/// `.sigstore.json`: all of it in one.
pub(super) fn bundle(content: &[u8]) -> Result<Bundle, Wrong> {
    let malformed =
        |error: &dyn std::fmt::Display| Wrong::Malformed { what: "sigstore bundle", found: format!("cannot be read: {error}") };
    Bundle::from_json(text(content, "sigstore bundle")?).map_err(|error| malformed(&error))
}

/// Makes a bundle of signature, certificate and what the log has on both. It is as good as its parts: it is still to be
/// verified.
pub(super) fn assemble(
    digest: &Digest,
    signature: SignatureBytes,
    certificate: DerCertificate,
    entry: &LogEntry,
) -> Result<Bundle, Wrong> {
    let entry = entry
        .to_bundle_entry(KindVersion::HashedRekordV001)
        .map_err(|error| Wrong::Log(format!("it cannot be read: {error}")))?;
    let digest = Sha256Hash::new(*digest.as_bytes());
    Ok(BundleV03::with_certificate_and_signature(certificate, signature, digest).with_tlog_entry(entry).into_bundle())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem()
    }

    fn base64(bytes: &[u8]) -> String {
        SignatureBytes::from_bytes(bytes).to_base64()
    }

    #[test]
    fn a_certificate_is_read_as_pem_and_as_base64_of_pem() {
        let pem = pem();
        let encoded = base64(pem.as_bytes());
        let (first, second) = encoded.split_at(64);
        for given in [pem.clone(), encoded.clone(), format!("{encoded}\n"), format!("{first}\n{second}\n")] {
            let (text, der) = certificate(given.as_bytes()).unwrap();
            assert_eq!((text.as_str(), der), (pem.as_str(), DerCertificate::from_pem(&pem).unwrap()));
        }
    }

    #[test]
    fn what_is_no_signature_and_no_certificate_says_what_it_is() {
        for (content, expected) in [
            (b"".as_slice(), "is empty"),
            (b" \n", "is empty"),
            (b"\xff\xfe", "is not text"),
            (b"Not Found", "base64"),
            (b"!!!", "base64"),
        ] {
            assert!(signature(content).unwrap_err().to_string().contains(expected), "{content:?}");
            assert!(certificate(content).is_err(), "{content:?}");
        }
        let hollow = base64(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PUBLIC KEY-----\n");
        assert!(certificate(hollow.as_bytes()).unwrap_err().to_string().contains("cannot be read"));
        assert!(bundle(b"{}").unwrap_err().to_string().contains("the sigstore bundle cannot be read"));
        assert!(is_html(b"\n <!DOCTYPE html>") && !is_html(b"MEUC"));
    }

    proptest! {
        #[test]
        fn no_content_makes_a_reader_panic(content: Vec<u8>) {
            let _ = (signature(&content), certificate(&content), bundle(&content), is_html(&content));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "(-----BEGIN CERTIFICATE-----\n)?[A-Za-z0-9+/=\n{}\":,]{0,200}(-----END CERTIFICATE-----)?") {
            let _ = (signature(text.as_bytes()), certificate(text.as_bytes()), bundle(text.as_bytes()));
        }
    }
}
