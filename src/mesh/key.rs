//! The key that all nodes share, and what is made from it.
//!
//! Promise: the key signs and checks messages, and nothing else; it leaves the process in no form.

use aws_lc_rs::{hkdf, hmac, rand, rand::SecureRandom};

use crate::model::NodeName;

/// The length of a message's signature.
pub const SIGNATURE: usize = 32;

/// Numbers that are used once.
pub type Nonce = [u8; 16];

/// A node in a message: its name would not fit.
pub type NodeId = [u8; 8];

/// Signs and checks messages.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A key that is too short to keep anyone out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {0} bytes, and at least 16 are needed")]
pub struct TooShort(usize);

impl Key {
    /// From what is in the key file (without white space at its end) and the cluster's name.
    pub fn new(shared: &[u8], cluster_name: &str) -> Result<Self, TooShort> {
        let shared = shared.trim_ascii();
        if shared.len() < 16 {
            return Err(TooShort(shared.len()));
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, cluster_name.as_bytes());
        let secret = salt.extract(shared);
        let info: [&[u8]; 1] = [b"hostlet mesh v1"];
        // Expanding to the hash's own length cannot fail: RFC 5869 allows 255 times that.
        let expanded = secret.expand(&info, hmac::HMAC_SHA256).map(hmac::Key::from);
        Ok(Self(expanded.unwrap_or_else(|_| unreachable!("HKDF gives 32 bytes"))))
    }

    /// The signature of what the pieces make together.
    #[must_use]
    pub fn sign(&self, pieces: &[&[u8]]) -> [u8; SIGNATURE] {
        let mut context = hmac::Context::with_key(&self.0);
        for piece in pieces {
            context.update(piece);
        }
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(context.sign().as_ref());
        signature
    }

    /// Whether the signature is right; takes as long for a wrong one.
    #[must_use]
    pub fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, data, signature).is_ok()
    }

    /// A node's number in messages: strangers cannot tell the name from it.
    #[must_use]
    pub fn id(&self, name: &NodeName) -> NodeId {
        let signature = self.sign(&[b"node", name.as_str().as_bytes()]);
        let mut id = NodeId::default();
        id.copy_from_slice(&signature[..8]);
        id
    }
}

/// Fresh random bytes.
pub fn nonce() -> std::io::Result<Nonce> {
    let mut bytes = Nonce::default();
    rand::SystemRandom::new().fill(&mut bytes).map_err(|_| std::io::Error::other("the kernel gave no random bytes"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_cluster_or_file_signs_otherwise() {
        let key = |file: &str, cluster| Key::new(file.as_bytes(), cluster).unwrap();
        let one = key("0123456789abcdef\n", "kubernetes");
        let signature = one.sign(&[b"ab", b"c"]);
        assert!(one.verifies(b"abc", &signature));
        assert!(!one.verifies(b"abd", &signature) && !one.verifies(b"abc", &signature[1..]));
        assert!(key("0123456789abcdef", "kubernetes").verifies(b"abc", &signature));
        assert!(!key("0123456789abcdef", "other").verifies(b"abc", &signature));
        assert!(!key("0123456789abcdeg", "kubernetes").verifies(b"abc", &signature));
        assert_eq!(Key::new(b"0123456789abcde \n", "a").unwrap_err(), TooShort(15));
        assert_eq!(format!("{one:?}"), "[secret]");
    }
}
