//! Random, mutated and repeated datagrams at a responder: no answer, no crash, bounded memory.

use std::{
    env, fs,
    net::UdpSocket,
    time::{Duration, Instant},
};

use fastrand::Rng;
use hostlet::{
    config::Role,
    mesh::{Node, body::Body, key::Key, wire::Message},
};

use crate::{
    ns_mesh_world::{Wiring::Bridge, nodes, probe},
    ns_preflight_world::{on_a_fresh_host, printed},
};

/// In every run of the tests; HOSTLET_DATAGRAMS asks for more.
const DATAGRAMS: usize = 100_000;

/// From an address of a peer's, to the control port and to a port that is probed; prints how many answers came.
#[test]
#[ignore = "no test: a process that other tests start"]
fn a_process_that_floods() {
    let count: usize = env::var("HOSTLET_DATAGRAMS").unwrap().parse().unwrap();
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    let key = Key::new(&fs::read("/mnt/host/key").unwrap(), "kubernetes").unwrap();
    let name = |name: &str| key.id(&name.parse().unwrap());
    let joiner = Node { name: "n1".parse().unwrap(), addresses: vec!["10.9.0.1".parse().unwrap()], role: Role::ControlPlane };
    let sealed = |body| Message { session: [1; 16], from: name("n1"), to: name("n2"), body };
    // Signed rightly, and of no session: what somebody who listened could send again.
    let repeated = [
        sealed(Body::Done { cookie: [7; 16] }).to_bytes(&key, 160),
        sealed(Body::Ask { cookie: [7; 16], arrived: Vec::new(), late: 0, translated: None }).to_bytes(&key, 1232),
        sealed(Body::Arm { cookie: [7; 16], joiner: joiner.clone(), listening: Vec::new() }).to_bytes(&key, 1232),
    ];
    let hello = sealed(Body::Hello).to_bytes(&key, 160);
    let mut random = Rng::with_seed(0x5eed);
    for round in 0..count {
        let mut bytes = if round % 3 == 0 { repeated[random.usize(..3)].clone() } else { hello.clone() };
        match round % 3 {
            0 => {}
            1 => {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.usize(..8);
            }
            _ => {
                for byte in &mut bytes {
                    *byte = random.u8(..);
                }
                bytes.truncate(random.usize(..161));
            }
        }
        let port = if round % 2 == 0 { 7470 } else { 8472 };
        // A full queue is the flooder's own trouble.
        let _ = socket.send_to(&bytes, ("10.9.0.2", port));
    }
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answers = 0;
    while socket.recv(&mut [0; 2048]).is_ok() {
        answers += 1;
    }
    println!("answers: {answers}");
}

#[test]
fn ns_mesh_a_flood_of_bad_and_repeated_datagrams_gets_no_answer_and_bounded_memory() {
    on_a_fresh_host(|| {
        let count = env::var("HOSTLET_DATAGRAMS").unwrap_or_else(|_| DATAGRAMS.to_string());
        let cluster = nodes(2, Bridge);
        let others = cluster.others_respond();
        let pid = others[0].0.id();
        let status = |field: &str| -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = text.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        // User and system time in hundredths of a second, and what the sockets' queues did not hold.
        let cpu = || -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let dropped = || -> u64 {
            let sockets = printed("ip netns exec n2 cat /proc/net/udp");
            sockets.lines().skip(1).map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap()).sum()
        };
        let (before, cpu_before, begun) = (status("VmRSS:"), cpu(), Instant::now());
        let test = env::current_exe().unwrap();
        let command = format!(
            "HOSTLET_DATAGRAMS={count} ip netns exec n1 {} ns_mesh_flood::a_process_that_floods --exact --ignored --nocapture",
            test.display()
        );
        let said = printed(&command);
        assert!(said.contains("answers: 0"), "{said}");
        let after = status("VmRSS:");
        println!(
            "{count} datagrams in {:.1} s: {before} kB before, {after} kB after, {}0 ms of CPU, {} dropped in full queues",
            begun.elapsed().as_secs_f64(),
            cpu() - cpu_before,
            dropped()
        );
        assert!(after < before + 8 * 1024, "{before} kB, {after} kB");
        // And it still answers those who ask rightly.
        probe(1).is(&[], &["6 passed"]);
    });
}
