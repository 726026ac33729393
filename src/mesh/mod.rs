//! Node to node: every port that the nodes need of each other, proved in both directions before anything is installed.
//!
//! Promise: the receiver decides. A port is reached when the receiver says, signed, that a probe came to its socket; a
//! lost answer is never taken for a lost probe. Nothing is answered but signed messages from the addresses of peers, with
//! no more bytes than were asked with.
//! Gaps: an installed node leaves no responder behind (`hostlet respond` has to be run there); peers come from the
//! configuration alone, not from an API server; clusters of more than a few hundred nodes are probed whole, not by sample.

pub mod body;
mod bucket;
mod doors;
mod endpoint;
mod filter;
mod firewall;
mod joiner;
pub mod key;
mod ledger;
mod matrix;
mod presence;
mod problem;
mod pulse;
mod receivers;
mod report;
pub mod requirement;
mod roster;
pub mod sample;
mod sender;
mod session;
mod table;
pub mod verdict;
pub mod wire;

pub use endpoint::{Counters, Endpoint, Identity, Purpose};
pub use joiner::prove;
pub use matrix::{Pair, Row, keep_drawn, matrix};
pub use problem::MeshError;
pub use report::{Ended, MeshReport, PairReport, State};
pub use requirement::{Family, Framing, Node, Requirement, Rules, Service};
pub use roster::{Gap, Roster, ask};
pub use sample::Sampled;
