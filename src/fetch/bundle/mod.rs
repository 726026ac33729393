//! Bundles: everything that a configuration needs in one file, for hosts without internet.
//!
//! A bundle is a plain tar archive, so that `tar tf` shows what is in it: `manifest.json` first, then each artifact and, behind
//! it, what proves its signature. The manifest says what the rest is: name, version, processor, size, digest, who vouched for
//! the digest, where it came from.
//!
//! Promise: before anything of a bundle is used, all of it was read once and found to be exactly what its manifest says: no
//! member more or less, in another place, of another kind or size, and nothing behind the end. What it says about itself
//! never outranks anybody: an artifact is taken for the digest that configuration, catalog or the node's own generation know;
//! a digest that only the bundle knows counts where the bundle itself is pinned (`sources.bundle-digest`) or signed
//! (`sources.bundle-minisign-key`), or where the artifact's signature proves it. It is written whole or not at all.
//!
//! Gap: a bundle that `tar` made from the same members may have them in another order, and is refused.

mod admit;
mod look;
mod manifest;
mod problem;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use admit::OpenBundle;
pub use look::{look, look_at_stream, peek};
pub use manifest::{Manifest, Record};
pub use problem::BundleError;
pub use read::Checked;
use read::check;
pub use write::{create, stream};
