//! What proving the network costs as a cluster grows, computed: `cargo run --release --example simulate-mesh`.
//!
//! Draws the pairs and derives the ports as hostlet does, and counts packets and bytes as they are when nothing is lost. To be
//! held beside what `tests/measure-mesh growth` measures.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::time::Instant;

use anyhow::{Context, Result};
use hostlet::{
    config::{self, Fragment, Role},
    mesh::{
        Node, Rules,
        sample::{self, Draw},
        wire,
    },
    model::Protocol,
};

const CONTROL_PLANE: usize = 3;
/// IPv4 and UDP.
const HEADERS: usize = 28;
/// What the first answers are: a challenge, and how somebody listens.
const ANSWERS: usize = 89 + 120;
/// A question about what arrived is as long as the longest answer; a session without loss asks twice.
const QUESTIONS: usize = 2;
const TELL: usize = 140;
/// A connection with 160 bytes there and back: eight packets.
const CONNECTION: (usize, usize) = (8, 8 * 52 + 2 * wire::HELLO);
const SMALL: usize = 160;
const FULL: usize = 1500;

/// Of one session, both ends together.
#[derive(Default, Clone, Copy)]
struct Cost {
    probes: usize,
    packets: usize,
    bytes: usize,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.probes += other.probes;
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

fn session(rules: &Rules, one: &Node, other: &Node) -> Cost {
    let control = 2 + 2 + 2 * QUESTIONS + 2;
    let questions = 3 * wire::HELLO + wire::CONTROL + QUESTIONS * (wire::CONTROL + TELL) + ANSWERS;
    let mut cost = Cost { probes: 0, packets: control, bytes: questions + control * HEADERS };
    for requirement in rules.between(one, other).into_iter().chain(rules.between(other, one)) {
        cost += match requirement.protocol {
            Protocol::Udp => Cost { probes: 2, packets: 2, bytes: SMALL + FULL },
            Protocol::Tcp => Cost { probes: 1, packets: CONNECTION.0, bytes: CONNECTION.1 },
        };
    }
    cost
}

fn cluster(count: usize) -> Result<Vec<Node>> {
    let node = |n: usize| {
        let address = format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1);
        let role = if n < CONTROL_PLANE { Role::ControlPlane } else { Role::Worker };
        Ok(Node { name: format!("node-{n:04}").parse()?, addresses: vec![address.parse()?], role })
    };
    (0..count).map(node).collect()
}

fn main() -> Result<()> {
    let text = format!("{}\n[mesh]\npeers = [{{ name = \"a\", ip = \"10.0.0.1\" }}]", config::minimal());
    let settings = config::parse(&[Fragment { name: "simulation".to_owned(), text }], &[])?;
    let rules = Rules::of(&settings);
    let sample = settings.mesh.as_ref().context("there is [mesh]")?.sample;
    println!(
        "{CONTROL_PLANE} of the control plane, the others workers; all start at once, so that each pair is proved from both ends"
    );
    println!(
        "nodes         pairs of all      pairs probes packets      kB        pairs packets      kB   packets       MB   draw"
    );
    println!(
        "                             - one worker, mean -----------     - one of the control plane - all together -     ms"
    );
    for count in [5, 10, 20, 50, 100, 101, 200, 500, 1_000] {
        let nodes = cluster(count)?;
        let begun = Instant::now();
        let draw = Draw::new(nodes.iter(), sample);
        let took = begun.elapsed();
        let (mut pairs, mut costs, mut of) = (0, vec![Cost::default(); count], vec![0; count]);
        for one in 0..count {
            for other in (0..one).filter(|other| draw.contains(one, *other)) {
                pairs += 1;
                for end in [one, other] {
                    costs[end] += session(&rules, &nodes[one], &nodes[other]);
                    costs[end] += session(&rules, &nodes[other], &nodes[one]);
                    of[end] += 1;
                }
            }
        }
        let workers = count - CONTROL_PLANE;
        let mean = |number: usize| number.checked_div(workers).unwrap_or_default();
        let mut all = Cost::default();
        costs[CONTROL_PLANE..].iter().for_each(|cost| all += *cost);
        let worker_pairs: usize = of[CONTROL_PLANE..].iter().sum();
        let total: Cost = costs.iter().fold(Cost::default(), |mut sum, cost| {
            sum += *cost;
            sum
        });
        println!(
            "{count:>5} {:>7} {pairs:>9} {:>6} {:>10} {:>6} {:>7} {:>7} {:>12} {:>7} {:>7} {:>9} {:>8.1} {:>6.1}",
            if sample::is_sampled(count, sample) { "sampled" } else { "all" },
            count * (count - 1) / 2,
            mean(worker_pairs),
            mean(all.probes),
            mean(all.packets),
            mean(all.bytes) / 1_000,
            of[0],
            costs[0].packets,
            costs[0].bytes / 1_000,
            // Both ends were counted.
            total.packets / 2,
            f64::from(u32::try_from(total.bytes / 2_000).unwrap_or(u32::MAX)) / 1_000.0,
            took.as_secs_f64() * 1_000.0,
        );
    }
    Ok(())
}
