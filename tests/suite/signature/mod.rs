//! Signatures: made by a sigstore of our own and by the tools themselves, fetched from a real server, and each way in which
//! they can be wrong.

mod bench;
mod bundled;
mod keyless;
pub(crate) mod keys;
mod recorded;
mod rekor;
pub(crate) mod sigstore;
