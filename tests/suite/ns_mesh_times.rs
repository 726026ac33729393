//! Node to node, when nodes do not start together: one that is late, one that is killed in the middle of a round, one that
//! never comes.

use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    ns_mesh_world::{Wiring::Bridge, begin, found, nodes, rules},
    ns_preflight_world::{on_a_fresh_host, printed, sh, until},
};

/// Seconds between starts in every run of the tests; HOSTLET_APART asks for more.
const APART: u64 = 2;

#[test]
fn ns_mesh_nodes_that_start_apart_one_killed_in_a_round_and_one_that_never_comes_are_each_judged_rightly() {
    on_a_fresh_host(|| {
        let apart = env::var("HOSTLET_APART").ok().and_then(|text| text.parse().ok()).unwrap_or(APART);
        let cluster = nodes(5, Bridge);
        // All wait until the same time.
        let wait = |node: u64| apart * (4 - node) + 8;
        for node in 1..=4 {
            cluster.configure(node, "", &format!("wait-timeout = {}", wait(node.try_into().unwrap())));
        }
        let begun = Instant::now();
        let first = begin(1);
        sleep(Duration::from_secs(apart));
        let second = begin(2);
        sleep(Duration::from_secs(apart));
        // What the others send to its overlay port does not come, so that their rounds with it last as long as rounds can.
        rules(3, "input", &["udp dport 8472 counter drop"]);
        let mut killed = begin(3);
        let dropped = || printed("ip netns exec n3 nft list ruleset");
        until("a round with the third node", || dropped().contains("counter packets") && !dropped().contains("packets 0 "));
        sleep(Duration::from_millis(300));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let killed_at = begun.elapsed();
        // Whoever comes to its ports meanwhile is refused; and then it is back, without what it knew.
        sleep(Duration::from_millis(700));
        sh("ip netns exec n3 nft flush ruleset");
        let third = begin(3);
        sleep(Duration::from_secs(apart));
        let fourth = begin(4);
        for (node, child) in [(1, first), (2, second), (3, third), (4, fourth)] {
            let found = found(&child.wait_with_output().unwrap());
            let took = found.mesh["duration-ms"].as_u64().unwrap();
            println!("n{node}: {took} ms; {}", found.text().lines().last().unwrap_or_default());
            assert_eq!(found.troubles(), Vec::<String>::new(), "n{node}: {}", found.text());
            for peer in (1..=4).filter(|peer| *peer != node) {
                assert_eq!(found.state(&format!("n{peer}")), "proved", "n{node}: {}", found.text());
            }
            // Its address answers to ARP, and nobody is there.
            assert_eq!(found.state("n5"), "not-started", "n{node}: {}", found.text());
            assert_eq!(found.finding["outcome"], "unknown");
            let least = wait(node) * 1_000;
            assert!((least..least + 5_000).contains(&took), "n{node}: {took} ms");
        }
        println!("{apart} s apart, killed after {} ms", killed_at.as_millis());
    });
}

#[test]
fn ns_mesh_a_peer_that_ends_in_the_middle_of_a_round_and_stays_away_is_no_failure_of_its_firewall() {
    on_a_fresh_host(|| {
        let cluster = nodes(2, Bridge);
        rules(2, "input", &["udp dport 8472 counter drop"]);
        let mut killed = crate::ns_mesh_world::respond(2);
        let looking = begin(1);
        let dropped = || printed("ip netns exec n2 nft list ruleset");
        until("a round", || dropped().contains("counter packets") && !dropped().contains("packets 0 "));
        killed.0.kill().unwrap();
        sh("ip netns exec n2 nft flush ruleset");
        let found = found(&looking.wait_with_output().unwrap());
        let troubles = found.troubles();
        assert!(!troubles.is_empty() && troubles.iter().all(|one| one.ends_with(": nothing-told")), "{}", found.text());
        assert_eq!(found.finding["outcome"], "unknown", "{}", found.text());
        assert!(found.text().contains("the peer vanished"), "{}", found.text());
        let _ = cluster;
    });
}
