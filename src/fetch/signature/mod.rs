//! Who signed a file: cosign keyless (sigstore), cosign with a key, and minisign.
//!
//! Promise: a file of which a signature is required gets no [`Verified`](super::Verified) without a signature that was
//! verified for its digest, and one whose signature is there and wrong gets none unless nothing was asked. Keyless means all
//! of it: the certificate's chain up to the trust root, its certificate timestamp, identity and issuer, an entry of just
//! this signature in the transparency log with inclusion proof and signed tree head, and a signing time, by the log's own
//! signature, within the certificate's minutes. All cryptography is `sigstore-verify`'s and `minisign-verify`'s.
//!
//! What sigstore and cosign sign is the digest, which is known before the first byte is asked for: their signatures are
//! verified before the download. What minisign signs is hashed otherwise (BLAKE2b): its signatures are verified when the file
//! is there, piece by piece, before it gets its name.
//!
//! The evidence is kept beside the file in the cache (`<sha256>.sigstore.json` and so on), in formats that cosign and minisign
//! read themselves, and goes into the store and into bundles: a node that has it asks no transparency log.
//!
//! Gaps: Rekor is asked over its first API only; entries of Rekor's second generation are taken where the publisher puts a
//! `.sigstore.json` beside the file. The trust root is not refreshed over TUF: a new hostlet or `sources.trust-root-file`
//! brings a new one.

mod authority;
mod evidence;
mod keyless;
mod material;
mod obtain;
mod problem;
mod public_key;
mod rekor;
mod source;

pub use authority::{Authority, TrustRootError};
pub use evidence::{Evidence, Vouched};
pub(super) use material::LIMIT;
pub(super) use obtain::{Candidate, Reach, Signatures};
pub use problem::{SignatureProblem, Wrong};
pub(super) use public_key::minisign_file;
