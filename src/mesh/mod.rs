//! Node to node: every port that the nodes need of each other, proved in both directions before anything is installed.
//!
//! Promise: the receiver decides. A port is reached when the receiver says, signed, that a probe came to its socket; a
//! lost answer is never taken for a lost probe. Nothing is answered but signed messages from the addresses of peers, with
//! no more bytes than were asked with.
//! Peers are those of the configuration and, where that says so, the cluster's Nodes; then whoever signs is answered though no
//! list has it, since a node that joins is no Node yet. Large clusters are probed by sample.
//! Gaps: an installed node leaves no responder behind (`hostlet respond` has to be run there); two nodes that join in the same
//! moment, and find their peers in the API server alone, do not know of each other; where a TCP packet was lost is told by
//! packets that are not signed, which is enough for a cause and never for a pass; and what the receiver drops before its taps see
//! it (tc, XDP, nftables' netdev hooks) looks as if the network had.

pub mod body;
mod bucket;
mod endpoint;
mod filter;
mod firewall;
mod joiner;
pub mod key;
mod ledger;
mod matrix;
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
