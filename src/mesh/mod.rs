//! Node to node: every port that the nodes need of each other, proved in both directions before anything is installed.
//!
//! Promise: the receiver decides. A port is reached when the receiver says, signed, that a probe came to its socket; a
//! lost answer is never taken for a lost probe. Nothing is answered but signed messages from the addresses of peers, with
//! no more bytes than were asked with.
//! Peers are those of the configuration and, where that says so, the cluster's Nodes; then whoever signs is answered though no
//! list has it, since a node that joins is no Node yet. Large clusters are probed by sample.
//! An installed node answers by hostlet-responder.socket and .service; where a run on it asks others meanwhile, the responder
//! goes on answering, and the run only asks.
//! Gaps: a responder opens a port that nobody holds for the second or two of a session; a service that starts in that very
//! moment has to be started again (the kubelet's and flannel's own it never opens on an installed node). Two nodes that join
//! in the same moment, and find their peers in the API server alone, do not know of each other. Where a TCP packet was lost is
//! told by packets that are not signed, which is enough for a cause and never for a pass. What the receiver drops before its
//! taps see it (tc, XDP, nftables' netdev hooks) looks as if the network had.

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
pub use report::{Ended, MeshReport, PairReport, State, Unroutable, WayOut};
pub use requirement::{Family, Framing, Node, Requirement, Rules, Service};
pub use roster::{Gap, Roster, Unusable, ask, flannel_credential};
pub use sample::Sampled;
