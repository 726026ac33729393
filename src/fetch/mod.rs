//! Obtaining artifacts: sources, cache, resuming, verification, signatures, archives, bundles.
//!
//! Promise: a file gets its name in the cache, `<sha256>`, by one rename after all of its bytes were hashed, matched the
//! digest that was asked for, and were fsynced; a [`Verified`] exists only for a file whose digest matched and whose signature is
//! as the configuration asks ([`Vouched`]). It holds the file open, so that it can be used while it is being synced ([`Keeping`]),
//! and [`Verified::unpack`] hashes it once more, so that nothing which changed on the disk in between is installed. What is cut
//! off stays as `<sha256>.partial` and is resumed, by this run or the next.
//!
//! Memory: bytes stream. A download has 2 MiB of its own between network and disk, however busy the machine is, and
//! [`PARALLEL`] downloads run at once: four files of 100 MB take some 20 MiB in all (held below 32 MiB by a test).
//!
//! Sources: each is asked once before any is asked again. Who failed lately is asked last, by the next run, too. A partial
//! file goes on from another source: the digest at the end decides, and a resumed file that does not match is fetched once
//! more from its beginning. Credentials go to the origin they are for.
//!
//! Gaps: one file comes from one source at a time, also where several slow mirrors together would be faster; a file longer than
//! the source announces is cut by HTTP itself and then has another digest.

mod access;
mod archive;
mod body;
mod bundle;
mod cache;
mod client;
mod copying;
mod download;
mod error;
mod fetcher;
mod keeping;
mod netrc;
mod page;
mod partial;
mod probe;
mod problem;
mod proxy;
mod pump;
mod response;
mod rounds;
mod sidecar;
mod signature;
mod standing;
mod subject;
mod sweep;
mod trusted;
mod unpacking;
mod verified;

pub use bundle::{BundleError, Checked, Manifest, OpenBundle, Record, create, look, look_at_stream, peek, stream};
pub use error::{FetchError, SourceFailure};
pub use fetcher::{Fetched, Fetcher, PARALLEL, Request};
pub use keeping::Keeping;
pub use probe::{Answering, NoAnswer, Prober};
pub use problem::Problem;
pub use signature::{Authority, Evidence, SignatureProblem, TrustRootError, Vouched, Wrong};
pub use subject::redacted;
pub use sweep::sweep;
pub use trusted::{TrustedError, record_trusted, trusted_digest};
pub use unpacking::UnpackProblem;
pub use verified::{Unpacked, Verified};
