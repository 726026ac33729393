//! SHA-256 digests, and the hasher that makes them while bytes stream by.

use std::{fmt, io, str::FromStr};

use sha2::Digest as _;

use super::{Invalid, serde_as_text};

const EXPECTED: &str = "a SHA-256 digest of 64 hexadecimal characters";

/// A SHA-256 digest. Reads 64 hexadecimal characters, optionally behind `sha256:`; prints lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes that are in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 characters: enough to recognise, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(Invalid::new(text, EXPECTED));
        }
        let nibble = |c: u8| (c as char).to_digit(16).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

serde_as_text!(Digest, "a SHA-256 digest: 64 hexadecimal characters");

/// Hashes what is written to it.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashing_in_pieces_gives_the_published_digest() {
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish().to_string(), ABC);
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
    }

    #[test]
    fn digests_are_read_in_either_case_and_with_their_algorithm() {
        let expected = Digest::of(b"abc");
        assert_eq!(ABC.to_uppercase().parse(), Ok(expected));
        assert_eq!(format!("sha256:{ABC}").parse(), Ok(expected));
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        for text in ["", "abc", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "g"), &"é".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
