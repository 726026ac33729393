//! Which pairs of a large cluster are probed: every pair with a node of the control plane, and of the others a sample. Pure.
//!
//! Promise: every node draws the same pairs from the same list, and each end knows of each of its own: a pair of workers
//! belongs to the sample when it is among the [`Sample::size`] lightest of either of them (rendezvous hashing, so that a node
//! more or less changes few of the others' pairs). Each worker is therefore in that many pairs or more, and the pairs hold
//! all nodes together but once in very many clusters.
//! Gap: where two nodes' lists differ a pair may be known to one end only; who knows it asks, and the other one answers.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::requirement::Node;
use crate::config::{Role, Sample};

/// A cluster that is probed by sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sampled {
    /// How many nodes there are, this one included.
    pub nodes: usize,
    /// More than this many are probed by sample.
    pub threshold: u32,
    /// How many workers each worker draws.
    pub size: u32,
    /// How many pairs are probed: of this node, or of all.
    pub probed: usize,
}

/// Whether a cluster of so many nodes is probed by sample.
#[must_use]
pub fn is_sampled(nodes: usize, sample: Sample) -> bool {
    u32::try_from(nodes).unwrap_or(u32::MAX) > sample.threshold
}

/// The pairs of a cluster that are probed.
#[derive(Debug)]
pub struct Draw {
    /// Each node's number, and the weight up to which a pair is one of its lightest; none of the control plane, of which
    /// every pair is probed.
    nodes: Vec<Option<(u64, u64)>>,
}

impl Draw {
    /// Of these nodes.
    #[must_use]
    pub fn new<'n>(nodes: impl ExactSizeIterator<Item = &'n Node>, sample: Sample) -> Self {
        if !is_sampled(nodes.len(), sample) {
            return Self { nodes: vec![None; nodes.len()] };
        }
        let size = usize::try_from(sample.size).unwrap_or(usize::MAX);
        let places: Vec<Option<u64>> = nodes.map(|node| (node.role == Role::Worker).then(|| place(node))).collect();
        let workers: Vec<u64> = places.iter().copied().flatten().collect();
        let bound = |own: u64| (own, lightest(own, &workers, size));
        Self { nodes: places.into_iter().map(|place| place.map(bound)).collect() }
    }

    /// Whether the nodes at these two places are a pair to be probed.
    #[must_use]
    pub fn contains(&self, one: usize, other: usize) -> bool {
        match (self.nodes.get(one), self.nodes.get(other)) {
            (Some(Some((one, bound))), Some(Some((other, others)))) => weigh(*one, *other) <= *bound.max(others),
            _ => true,
        }
    }
}

/// For each peer whether this node and it are a pair to be probed.
#[must_use]
pub fn draw(this: &Node, peers: &[Node], sample: Sample) -> Vec<bool> {
    let nodes: Vec<&Node> = peers.iter().chain([this]).collect();
    let draw = Draw::new(nodes.into_iter(), sample);
    (0..peers.len()).map(|peer| draw.contains(peers.len(), peer)).collect()
}

/// The weight of the last of the `size` lightest pairs that a worker has with the others.
fn lightest(of: u64, others: &[u64], size: usize) -> u64 {
    let others = others.iter().filter(|other| **other != of);
    let mut weights: Vec<u64> = others.map(|other| weigh(of, *other)).collect();
    match size.checked_sub(1) {
        Some(last) if last < weights.len() => *weights.select_nth_unstable(last).1,
        _ => u64::MAX,
    }
}

/// A node's own number: the same on every machine.
fn place(node: &Node) -> u64 {
    let digest = Sha256::digest(node.name.as_str().as_bytes());
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// A pair's number, whichever end asks: splitmix64's finalizer, so that near sums have far numbers
/// (<https://doi.org/10.1145/2714064.2660195>).
const fn weigh(one: u64, other: u64) -> u64 {
    let mut mixed = one.wrapping_add(other);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster(nodes: usize, control_plane: usize, seed: u32) -> Vec<Node> {
        let node = |n: usize| Node {
            name: format!("node-{seed:x}-{n}").parse().unwrap(),
            addresses: vec![format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).parse().unwrap()],
            role: if n < control_plane { Role::ControlPlane } else { Role::Worker },
        };
        (0..nodes).map(node).collect()
    }

    /// Each node's own view of its pairs, whatever order its list has.
    fn views(nodes: &[Node], sample: Sample) -> Vec<Vec<bool>> {
        (0..nodes.len())
            .map(|this| {
                let mut peers: Vec<Node> = nodes.to_vec();
                peers.remove(this);
                let by = this % peers.len();
                peers.rotate_left(by);
                let mut drawn = draw(&nodes[this], &peers, sample);
                drawn.rotate_right(by);
                drawn.insert(this, false);
                drawn
            })
            .collect()
    }

    fn is_connected(nodes: usize, drawn: impl Fn(usize, usize) -> bool) -> bool {
        let (mut seen, mut next) = (vec![false; nodes], vec![0]);
        while let Some(node) = next.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                next.extend((0..nodes).filter(|other| *other != node && drawn(node, *other)));
            }
        }
        seen.into_iter().all(|seen| seen)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        #[test]
        fn both_ends_draw_the_same_pairs_and_each_node_is_in_enough(
            nodes in 101_usize..150, control_plane in 0_usize..4, size in 8_u32..30, seed: u32,
        ) {
            let nodes = cluster(nodes, control_plane, seed);
            let views = views(&nodes, Sample { threshold: 100, size });
            for (one, view) in views.iter().enumerate() {
                for (other, drawn) in view.iter().enumerate() {
                    prop_assert_eq!(*drawn, views[other][one]);
                    let with_control_plane = one < control_plane || other < control_plane;
                    prop_assert!(one == other || !with_control_plane || *drawn);
                }
                let pairs = view.iter().filter(|drawn| **drawn).count();
                prop_assert!(pairs >= control_plane.min(nodes.len() - 1) + size as usize - usize::from(one < control_plane));
            }
        }

        #[test]
        fn the_pairs_of_workers_alone_hold_all_of_them_together(nodes in 101_usize..400, seed: u32) {
            // The smallest sample that can be configured, and no control plane that would connect everybody.
            let draw = Draw::new(cluster(nodes, 0, seed).iter(), Sample { threshold: 100, size: 8 });
            prop_assert!(is_connected(nodes, |one, other| draw.contains(one, other)));
        }

        #[test]
        fn small_clusters_are_probed_whole(nodes in 2_usize..101, seed: u32) {
            let views = views(&cluster(nodes, 1, seed), Sample { threshold: 100, size: 8 });
            prop_assert!(views.iter().all(|view| view.iter().filter(|drawn| **drawn).count() == nodes - 1));
        }

        #[test]
        fn one_node_more_changes_few_pairs_of_the_others(nodes in 101_usize..200, seed: u32) {
            let sample = Sample { threshold: 100, size: 20 };
            let (all, more) = (cluster(nodes, 0, seed), cluster(nodes + 1, 0, seed));
            let (before, after) = (Draw::new(all.iter(), sample), Draw::new(more.iter(), sample));
            let pairs = || (0..nodes).flat_map(|one| (0..one).map(move |other| (one, other)));
            let drawn = |draw: &Draw, (one, other): &(usize, usize)| draw.contains(*one, *other);
            let gone = pairs().filter(|pair| drawn(&before, pair) && !drawn(&after, pair)).count();
            let come = pairs().filter(|pair| !drawn(&before, pair) && drawn(&after, pair)).count();
            prop_assert!(gone <= 60 && come == 0, "{gone} {come}");
        }
    }
}
