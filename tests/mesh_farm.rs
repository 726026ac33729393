//! Many nodes in one process, for measuring what one node costs that has a thousand peers (tests/measure-mesh-peers).
//!
//! Arguments: `answer` or `ask`, how many peers, the first node's address, the key file. Node N of them has the address
//! 10.9.(N / 250).(N % 250 + 1), which must be this host's, and no peer but the first node, which is the control plane. They are true
//! endpoints, with the library's own sockets, but run without CAP_NET_RAW, since a thousand of them would each look at all packets.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use hostlet::{
    config::{self, Fragment},
    mesh::{Ended, Endpoint, Identity, Purpose, prove},
    model::{Architecture, NodeIdentity},
};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [mode, count, first, key] = arguments.as_slice() else { bail!("answer|ask COUNT ADDRESS KEY-FILE") };
    let asks = match mode.as_str() {
        "ask" => true,
        "answer" => false,
        other => bail!("{other} is neither answer nor ask"),
    };
    let mut nodes = Vec::new();
    for n in 0..count.parse()? {
        let (name, address) = (format!("p{n}"), format!("10.9.{}.{}", n / 250, n % 250 + 1));
        let text = format!(
            "{}\n[node]\nname = \"{name}\"\nip = \"{address}\"\n[mesh]\nwait-timeout = 60\nkey-file = \"{key}\"\n\
             peers = [{{ name = \"first\", ip = \"{first}\", role = \"control-plane\" }}]\n",
            config::minimal()
        );
        let settings = config::parse(&[Fragment { name: "farm".to_owned(), text }], &[])?;
        let mesh = settings.mesh.clone().context("there is [mesh]")?;
        let node = NodeIdentity { name: name.parse()?, addresses: vec![address.parse()?], architecture: Architecture::Amd64 };
        let identity = Identity::new(&settings, &mesh, &node)?;
        let purpose = if asks { Purpose::Prove } else { Purpose::Answer { sockets: Vec::new() } };
        nodes.push((Arc::new(Endpoint::open(identity, purpose).await?), mesh));
    }
    println!("{} nodes listen", nodes.len());
    if !asks {
        tokio::time::sleep(Duration::MAX).await;
    }
    let reports = join_all(nodes.into_iter().map(|(endpoint, mesh)| {
        // On all threads: one is not enough for a thousand.
        tokio::spawn(async move { prove(&endpoint, &mesh, |_| {}).await })
    }))
    .await;
    let mut passed = 0;
    for report in reports {
        let report = report?;
        passed += usize::from(report.ended() == Ended::Pass);
        if report.ended() != Ended::Pass {
            println!("{report}");
        }
    }
    println!("{passed} of {count} proved the first node");
    Ok(())
}
