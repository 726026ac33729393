//! A sigstore of our own, with real certificates and a real Merkle tree: Fulcio (a root, an authority below it), a certificate
//! log, and Rekor's log as its API tells of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use hostlet::model::Digest;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey,
};
use serde_json::{Value, json};

pub(crate) const IDENTITY: &str = "krel-staging@k8s-releng-prod.iam.gserviceaccount.com";
pub(crate) const ISSUER: &str = "https://accounts.google.com";

/// What a signature shall look like; by default as Kubernetes' look.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) identity: &'static str,
    pub(crate) issuer: &'static str,
    /// Seconds from the beginning of the certificate's ten minutes to the log's entry.
    pub(crate) logged_after: i64,
    /// Whether the certificate carries a certificate timestamp, and whether that is the certificate log's.
    pub(crate) timestamp: Option<bool>,
    /// Whether the certificate is for signing code.
    pub(crate) code_signing: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { identity: IDENTITY, issuer: ISSUER, logged_after: 5, timestamp: Some(true), code_signing: true }
    }
}

/// What a publisher puts beside a file, and what the log says of it.
pub(crate) struct Made {
    /// `.sig`
    pub(crate) signature: String,
    /// `.cert`
    pub(crate) certificate: String,
    /// The entry, by its UUID, as Rekor answers.
    pub(crate) entry: Value,
}

impl Made {
    /// Rekor's answer when it is asked for entries.
    pub(crate) fn answer(&self) -> String {
        json!([self.entry]).to_string()
    }

    /// The entry itself.
    pub(crate) fn entry_mut(&mut self) -> &mut Value {
        self.entry.as_object_mut().unwrap().values_mut().next().unwrap()
    }
}

/// All of its keys.
pub(crate) struct Sigstore {
    root: CertifiedIssuer<'static, KeyPair>,
    fulcio: CertifiedIssuer<'static, KeyPair>,
    certificate_log: KeyPair,
    log: KeyPair,
    /// Two years ago.
    begun: Timestamp,
}

impl Sigstore {
    pub(crate) fn new() -> Self {
        let authority = |name: &str, constraints| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(constraints);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let root = CertifiedIssuer::self_signed(authority("test root", BasicConstraints::Unconstrained), key()).unwrap();
        let fulcio =
            CertifiedIssuer::signed_by(authority("test fulcio", BasicConstraints::Constrained(0)), key(), &root).unwrap();
        let begun = Timestamp::now() - jiff::SignedDuration::from_hours(2 * 365 * 24);
        Self { root, fulcio, certificate_log: key(), log: key(), begun }
    }

    /// `trusted_root.json`
    pub(crate) fn trust_root(&self) -> String {
        let log = |url: &str, key: &KeyPair| {
            json!({
                "baseUrl": url, "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": { "start": self.begun.to_string() },
                },
                "logId": { "keyId": STANDARD.encode(log_id(key)) },
            })
        };
        let certificates = [&self.fulcio, &self.root].map(|authority| json!({ "rawBytes": STANDARD.encode(authority.der()) }));
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.test", &self.log)],
            "ctlogs": [log("https://ctfe.test", &self.certificate_log)],
            "certificateAuthorities": [{
                "subject": { "organization": "test", "commonName": "test fulcio" }, "uri": "https://fulcio.test",
                "certChain": { "certificates": certificates }, "validFor": { "start": self.begun.to_string() },
            }],
        })
        .to_string()
    }

    /// Signs content as `cosign sign-blob` does, and logs it.
    pub(crate) fn sign(&self, content: &[u8], wish: &Wish) -> Made {
        let key = key();
        // A year ago: the certificate is long expired, as it is for every release.
        let issued = Timestamp::now() - jiff::SignedDuration::from_hours(365 * 24);
        let pem = self.certificate(&key, issued, wish);
        let signature = STANDARD.encode(key.sign(content).unwrap());
        let body = json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": Digest::of(content).to_string() } },
                "signature": { "content": signature, "publicKey": { "content": STANDARD.encode(&pem) } },
            },
        })
        .to_string();
        let entry = self.logged(body.as_bytes(), issued.as_second() + wish.logged_after);
        Made { signature, certificate: STANDARD.encode(&pem), entry }
    }

    /// A certificate for ten minutes. Its timestamp is over the certificate without it: it is issued twice.
    fn certificate(&self, key: &KeyPair, issued: Timestamp, wish: &Wish) -> String {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.not_before = std::time::SystemTime::from(issued).into();
        params.not_after = (std::time::SystemTime::from(issued) + std::time::Duration::from_mins(10)).into();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::Rfc822Name(wish.identity.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![if wish.code_signing { ExtendedKeyUsagePurpose::CodeSigning } else { ExtendedKeyUsagePurpose::ServerAuth }];
        // Fulcio's object identifiers: the issuer as plain bytes, and as a UTF8String.
        let utf8 = [&[0x0c, u8::try_from(wish.issuer.len()).unwrap()], wish.issuer.as_bytes()].concat();
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 1], wish.issuer.as_bytes().to_vec()),
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], utf8),
        ];
        if let Some(of_the_log) = wish.timestamp {
            let before = params.clone().signed_by(key, &self.fulcio).unwrap();
            let signer = if of_the_log { &self.certificate_log } else { &self.log };
            let list = self.timestamp_list(signer, first_element(before.der()), issued);
            let octets = [&[0x04, u8::try_from(list.len()).unwrap()], list.as_slice()].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], octets));
        }
        params.signed_by(key, &self.fulcio).unwrap().pem()
    }

    /// Source: RFC 6962, sections 3.2 and 3.3.
    fn timestamp_list(&self, by: &KeyPair, to_be_signed: &[u8], issued: Timestamp) -> Vec<u8> {
        let time = u64::try_from(issued.as_millisecond()).unwrap().to_be_bytes();
        let authority = Digest::of(&self.fulcio.key().subject_public_key_info());
        let length = u32::try_from(to_be_signed.len()).unwrap().to_be_bytes();
        let covered = [&[0, 0], time.as_slice(), &[0, 1], authority.as_bytes(), &length[1..], to_be_signed, &[0, 0]].concat();
        let signature = by.sign(&covered).unwrap();
        let log = log_id(&self.certificate_log);
        let timestamp = [&[0], log.as_slice(), &time, &[0, 0, 4, 3], &two(signature.len()), &signature].concat();
        [two(timestamp.len() + 2).as_slice(), &two(timestamp.len()), &timestamp].concat()
    }

    /// Puts a body into a tree of five leaves, and tells of it as Rekor does.
    fn logged(&self, body: &[u8], at: i64) -> Value {
        let leaf = |content: &[u8]| *Digest::of(&[&[0], content].concat()).as_bytes();
        let leaves = [leaf(b"one"), leaf(b"two"), leaf(b"three"), leaf(body), leaf(b"five")];
        let (root, proof) = (tree(&leaves), path(3, &leaves));
        let (index, encoded, log) = (1_000_003, STANDARD.encode(body), log_id(&self.log));
        let promised = format!(r#"{{"body":"{encoded}","integratedTime":{at},"logID":"{}","logIndex":{index}}}"#, hex(&log));
        let note = format!("rekor.test - 1\n{}\n{}\n", leaves.len(), STANDARD.encode(root));
        let signature = [&log[..4], &self.log.sign(note.as_bytes()).unwrap()].concat();
        let checkpoint = format!("{note}\n\u{2014} rekor.test {}\n", STANDARD.encode(signature));
        let uuid = format!("{:016x}{}", 1, hex(&leaves[3]));
        json!({ uuid: {
            "body": encoded, "integratedTime": at, "logID": hex(&log), "logIndex": index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": checkpoint, "hashes": proof.iter().map(|hash| hex(hash)).collect::<Vec<_>>(),
                    "logIndex": 3, "rootHash": hex(&root), "treeSize": leaves.len(),
                },
                "signedEntryTimestamp": STANDARD.encode(self.log.sign(promised.as_bytes()).unwrap()),
            },
        }})
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn log_id(key: &KeyPair) -> [u8; 32] {
    *Digest::of(&key.subject_public_key_info()).as_bytes()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn two(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

/// The first element in a DER sequence, with its header: of a certificate, what is signed.
fn first_element(der: &[u8]) -> &[u8] {
    let header = |der: &[u8]| match usize::from(der[1]) {
        short @ ..0x80 => (2, short),
        long => {
            let count = long - 0x80;
            (2 + count, der[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    let inner = &der[header(der).0..];
    let (start, length) = header(inner);
    &inner[..start + length]
}

/// The hash of a tree. Source: RFC 6962, section 2.1.
fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    let [leaf] = leaves else {
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        return *Digest::of(&[&[1], tree(left).as_slice(), &tree(right)].concat()).as_bytes();
    };
    *leaf
}

/// The hashes beside the way from a leaf to the root. Source: RFC 6962, section 2.1.1.
fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(middle);
    let (mut inner, other) =
        if index < middle { (path(index, left), tree(right)) } else { (path(index - middle, right), tree(left)) };
    inner.push(other);
    inner
}
